// Reads certificates, keys and authorities from their files, and says what is wrong with them before any client meets it.

import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { describeError } from '../base/errors.ts';

/** Absolute paths. */
export interface TlsFiles {
  readonly certificateFile: string | null;
  readonly keyFile: string | null;
  readonly caFile: string | null;
}

/** What the files hold, as PEM; to be handed to node:tls as it is. */
export interface TlsMaterial {
  readonly cert?: string;
  readonly key?: string;
  readonly ca?: readonly string[];
  /** Where there is a certificate: until when it is valid. */
  readonly expiresAtMs?: number;
}

export interface TlsFileProblem {
  readonly file: keyof TlsFiles;
  /** Says nothing of what the file holds. */
  readonly message: string;
}

/** Some of the files cannot serve. */
export class TlsFileError extends Error {
  override readonly name = 'TlsFileError';

  constructor(files: TlsFiles, problems: readonly TlsFileProblem[]) {
    super(problems.map(({ file, message }) => `${files[file]} ${message}`).join('; '));
  }
}

const CERTIFICATES = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** Reads the files, or throws TlsFileError. */
export function readTlsFiles(files: TlsFiles): TlsMaterial {
  const { material, problems } = inspectTlsFiles(files);
  if (problems.length > 0) throw new TlsFileError(files, problems);
  return material;
}

/** Reads the files and tells everything that is wrong with them. */
export function inspectTlsFiles(files: TlsFiles): { material: TlsMaterial; problems: readonly TlsFileProblem[] } {
  const problems: TlsFileProblem[] = [];
  const read = <T>(file: keyof TlsFiles, parse: (text: string) => T): { text: string; parsed: T } | null => {
    const path = files[file];
    if (path === null) return null;
    try {
      const text = readFileSync(path, 'utf8');
      return { text, parsed: parse(text) };
    } catch (error) {
      problems.push({ file, message: describeFailure(error) });
      return null;
    }
  };
  const certificate = read('certificateFile', (text) => new X509Certificate(findCertificates(text)[0] ?? ''));
  const key = read('keyFile', readPrivateKey);
  const authorities = read('caFile', (text) => {
    const blocks = findCertificates(text);
    for (const block of blocks) new X509Certificate(block);
    return blocks;
  });
  if (certificate !== null && key !== null && !certificate.parsed.checkPrivateKey(key.parsed))
    problems.push({ file: 'keyFile', message: `is not the key of the certificate in ${files.certificateFile}` });
  const material: TlsMaterial = {
    ...(certificate !== null && key !== null
      ? { cert: certificate.text, key: key.text, expiresAtMs: certificate.parsed.validToDate.getTime() }
      : {}),
    ...(authorities === null ? {} : { ca: authorities.parsed }),
  };
  if (problems.length === 0) problems.push(...tryMaterial(material));
  return { material, problems };
}

/** OpenSSL refuses what is well formed but too weak, such as a key of 512 bits. */
function tryMaterial(material: TlsMaterial): TlsFileProblem[] {
  try {
    createSecureContext(forNode(material));
    return [];
  } catch (error) {
    return [{ file: material.cert === undefined ? 'caFile' : 'certificateFile', message: describeFailure(error) }];
  }
}

/** node:tls wants to own its lists. */
export function forNode(material: TlsMaterial): { cert?: string; key?: string; ca?: string[] } {
  const { cert, key, ca } = material;
  return {
    ...(cert === undefined || key === undefined ? {} : { cert, key }),
    ...(ca === undefined ? {} : { ca: [...ca] }),
  };
}

function findCertificates(text: string): string[] {
  const blocks = text.match(CERTIFICATES) ?? [];
  if (blocks.length === 0) throw new Error('holds no certificate in PEM form');
  return [...blocks];
}

function readPrivateKey(text: string): KeyObject {
  try {
    return createPrivateKey(text);
  } catch (error) {
    const isLocked = error instanceof Error && 'code' in error && error.code === 'ERR_MISSING_PASSPHRASE';
    if (isLocked || /ENCRYPTED/.test(text))
      throw new Error('is protected by a passphrase, and pgweir has nobody to ask for it: store the key without one');
    throw new Error('holds no private key in PEM form');
  }
}

function describeFailure(error: unknown): string {
  const message = describeError(error);
  if (/^(holds|is) /.test(message)) return message;
  const isUnread = error instanceof Error && 'syscall' in error;
  return isUnread ? `cannot be read: ${message}` : `cannot be used: ${message}`;
}
