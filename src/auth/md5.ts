// MD5 password authentication, for servers that still hold md5 verifiers. Source: PostgreSQL documentation, "Message Flow",
// AuthenticationMD5Password.

import { createHash } from 'node:crypto';

function md5(...parts: (string | Buffer)[]): string {
  const hash = createHash('md5');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
}

/** The answer to AuthenticationMD5Password with that salt. */
export function makeMd5Answer(user: string, password: string, salt: Buffer): string {
  return `md5${md5(md5(password, user), salt)}`;
}
