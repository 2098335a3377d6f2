// MD5 password authentication, for old verifiers. Source: PostgreSQL documentation, "Message Flow",
// AuthenticationMD5Password.

import { createHash, timingSafeEqual } from 'node:crypto';

function md5(...parts: (string | Buffer)[]): string {
  const hash = createHash('md5');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
}

/** What a server keeps of the password, without the leading `md5`. */
export function hashMd5Password(user: string, password: string): string {
  return md5(password, user);
}

/** The answer to AuthenticationMD5Password with that salt. */
export function makeMd5Answer(passwordHash: string, salt: Buffer): string {
  return `md5${md5(passwordHash, salt)}`;
}

/** Whether a client's answer proves the password. The time taken does not depend on where it is wrong. */
export function isMd5Answer(answer: string, passwordHash: string, salt: Buffer): boolean {
  const expected = Buffer.from(makeMd5Answer(passwordHash, salt));
  const given = Buffer.from(answer);
  return given.length === expected.length && timingSafeEqual(given, expected);
}
