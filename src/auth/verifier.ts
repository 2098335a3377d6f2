// What is kept of a password: the forms of pg_authid.rolpassword, and the bare password of an old PgBouncer file.

import { createHash, createHmac, pbkdf2, randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { preparePassword } from './saslprep.ts';

/** In the thread pool: a storm of logins must not stop the relay. */
const deriveKey = promisify(pbkdf2);
const KEY_BYTES = 32;
/** As PostgreSQL makes them (SCRAM_DEFAULT_SALT_LEN, SCRAM_SHA_256_DEFAULT_ITERATIONS). */
export const SALT_BYTES = 16;
const USUAL_ITERATIONS = 4096;

export interface ScramVerifier {
  readonly type: 'scram';
  readonly iterations: number;
  /** Base64, as it stands in the verifier: it goes to clients unchanged. */
  readonly salt: string;
  readonly storedKey: Buffer;
  readonly serverKey: Buffer;
}

export type Verifier =
  | ScramVerifier
  /** `hash`: 32 hex digits. */
  | { readonly type: 'md5'; readonly hash: string }
  | { readonly type: 'plain'; readonly password: string };

/** What pgweir has to prove a user's identity to a server with; each may be missing. */
export interface LoginSecret {
  readonly password: string | null;
  /** As an md5 verifier has it. */
  readonly md5Hash: string | null;
  readonly keys: ScramKeys | null;
}

/** Enough to log in as a user whose verifier has this salt and this count, without the password. */
export interface ScramKeys {
  readonly salt: string;
  readonly iterations: number;
  readonly clientKey: Buffer;
  readonly serverKey: Buffer;
}

export const NO_SECRET: LoginSecret = Object.freeze({ password: null, md5Hash: null, keys: null });

/** Of both a server says the same. */
export function isSameSecret(one: LoginSecret, other: LoginSecret): boolean {
  if (one.password !== other.password || one.md5Hash !== other.md5Hash) return false;
  const [near, far] = [one.keys, other.keys];
  if (near === null || far === null) return near === far;
  return near.salt === far.salt && near.iterations === far.iterations && near.clientKey.equals(far.clientKey);
}

/** Reads a verifier; null where it looks like a SCRAM verifier and is none. Source: PostgreSQL, get_password_type(). */
export function parseVerifier(text: string): Verifier | null {
  if (/^md5[0-9a-f]{32}$/.test(text)) return { type: 'md5', hash: text.slice(3) };
  if (!text.startsWith('SCRAM-SHA-256$')) return { type: 'plain', password: text };
  const parts = /^SCRAM-SHA-256\$(\d{1,9}):([^$:]+)\$([^$:]+):([^$:]+)$/.exec(text);
  if (parts === null) return null;
  const [, count = '', salt = '', stored = '', server = ''] = parts;
  const iterations = Number(count);
  const storedKey = decodeBase64(stored);
  const serverKey = decodeBase64(server);
  if (iterations < 1 || decodeBase64(salt) === null) return null;
  if (storedKey?.length !== KEY_BYTES || serverKey?.length !== KEY_BYTES) return null;
  return { type: 'scram', iterations, salt, storedKey, serverKey };
}

/** Strict: padding where it belongs and nothing else, as PostgreSQL's pg_b64_decode; null for anything else. */
export function decodeBase64(text: string): Buffer | null {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return null;
  return Buffer.from(text, 'base64');
}

export function hmac(key: Buffer, text: string | Buffer): Buffer {
  return createHmac('sha256', key).update(text).digest();
}

export function sha256(bytes: Buffer): Buffer {
  return createHash('sha256').update(bytes).digest();
}

/** Byte by byte; both are of one length. */
export function xor(left: Buffer, right: Buffer): Buffer {
  const result = Buffer.allocUnsafe(left.length);
  for (let at = 0; at < left.length; at++) result[at] = (left[at] ?? 0) ^ (right[at] ?? 0);
  return result;
}

/** ClientKey and ServerKey of a password. Source: RFC 5802, section 3. */
export async function deriveKeys(
  password: string,
  salt: Buffer,
  iterations: number,
): Promise<{ clientKey: Buffer; serverKey: Buffer }> {
  const salted = await deriveKey(preparePassword(password), salt, iterations, KEY_BYTES, 'sha256');
  return { clientKey: hmac(salted, 'Client Key'), serverKey: hmac(salted, 'Server Key') };
}

/** A verifier for a password that is known as it is. */
export async function makeScramVerifier(password: string): Promise<ScramVerifier> {
  const salt = randomBytes(SALT_BYTES);
  const { clientKey, serverKey } = await deriveKeys(password, salt, USUAL_ITERATIONS);
  return {
    type: 'scram',
    iterations: USUAL_ITERATIONS,
    salt: salt.toString('base64'),
    storedKey: sha256(clientKey),
    serverKey,
  };
}

/**
 * The verifier shown for a user who has none. Its salt is the same each time, as a real one is; no proof ever fits it.
 * Source: PostgreSQL, mock_scram_secret().
 */
export function makeMockVerifier(user: string, mockKey: Buffer): ScramVerifier {
  return {
    type: 'scram',
    iterations: USUAL_ITERATIONS,
    salt: hmac(mockKey, user).subarray(0, SALT_BYTES).toString('base64'),
    storedKey: Buffer.alloc(KEY_BYTES),
    serverKey: Buffer.alloc(KEY_BYTES),
  };
}
