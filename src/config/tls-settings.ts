// The TLS sections of the settings: paths made absolute, the files they name looked into.

import type { DocumentProblem, ValuePath } from '../base/yaml-document.ts';
import type { ListenTls, TargetsTls } from '../tls/settings.ts';
import { inspectTlsFiles, type TlsFiles } from '../tls/tls-files.ts';
import type { RawListenTls, RawSettings, RawTargetsTls } from './raw-settings.ts';

/** What the loader knows of one section. */
export interface TlsFilePaths {
  resolve(key: string, file: string | null): string | null;
  refuse(key: string, message: string): void;
}

export function buildListenTls(raw: RawListenTls, paths: TlsFilePaths): ListenTls {
  const tls: ListenTls = {
    mode: raw.mode,
    certificateFile: paths.resolve('certificate_file', raw.certificate_file),
    keyFile: paths.resolve('key_file', raw.key_file),
    clientCaFile: paths.resolve('client_ca_file', raw.client_ca_file),
    clientCertificate: raw.client_certificate,
    minVersion: raw.min_version,
  };
  if (tls.mode !== 'disable') inspect(listenTlsFiles(tls), 'client_ca_file', paths);
  return tls;
}

export function buildTargetsTls(raw: RawTargetsTls, paths: TlsFilePaths): TargetsTls {
  const tls: TargetsTls = {
    mode: raw.mode,
    caFile: paths.resolve('ca_file', raw.ca_file),
    certificateFile: paths.resolve('certificate_file', raw.certificate_file),
    keyFile: paths.resolve('key_file', raw.key_file),
    negotiation: raw.negotiation,
    minVersion: raw.min_version,
    serverName: raw.server_name,
  };
  if (tls.mode !== 'disable') inspect(tls, 'ca_file', paths);
  return tls;
}

export function listenTlsFiles(tls: ListenTls): TlsFiles {
  return { certificateFile: tls.certificateFile, keyFile: tls.keyFile, caFile: tls.clientCaFile };
}

function inspect({ certificateFile, keyFile, caFile }: TlsFiles, caKey: string, paths: TlsFilePaths): void {
  const keys = { certificateFile: 'certificate_file', keyFile: 'key_file', caFile: caKey } as const;
  const { problems } = inspectTlsFiles({ certificateFile, keyFile, caFile });
  for (const { file, message } of problems) paths.refuse(keys[file], message);
}

type ProblemAt = (path: ValuePath, message: string) => DocumentProblem;

/** Parts of the two sections that do not go together. */
export function findTlsContradictions({ listen, targets }: RawSettings, problemAt: ProblemAt): DocumentProblem[] {
  const problems: DocumentProblem[] = [];
  const refuse = (section: 'listen' | 'targets', key: string, message: string): void => {
    problems.push(problemAt([section, 'tls', key], message));
  };
  const { tls: door } = listen;
  if (door.mode !== 'disable' && door.certificate_file === null)
    refuse('listen', 'certificate_file', `mode ${door.mode} needs a certificate`);
  if (door.client_certificate !== 'none' && door.client_ca_file === null)
    refuse(
      'listen',
      'client_ca_file',
      `client_certificate ${door.client_certificate} needs the authorities that sign them`,
    );
  if (door.client_certificate === 'require' && door.mode !== 'require')
    refuse('listen', 'client_certificate', 'require needs mode require: without TLS nobody can show a certificate');
  const { tls: way } = targets;
  if (way.mode === 'verify-ca' && way.ca_file === null)
    refuse('targets', 'ca_file', 'mode verify-ca needs the authorities that sign server certificates');
  if (way.ca_file !== null && (way.mode === 'prefer' || way.mode === 'require'))
    refuse(
      'targets',
      'ca_file',
      `mode ${way.mode} verifies nothing: use verify-ca or verify-full, or leave ca_file out`,
    );
  if (way.negotiation === 'direct' && (way.mode === 'disable' || way.mode === 'prefer'))
    refuse(
      'targets',
      'negotiation',
      `direct leaves no way back to a connection without TLS: mode ${way.mode} cannot have it`,
    );
  for (const [section, tls] of [
    ['listen', door],
    ['targets', way],
  ] as const) {
    if (tls.certificate_file === null && tls.key_file !== null)
      refuse(section, 'key_file', 'there is no certificate_file that this could be the key of');
    if (tls.certificate_file !== null && tls.key_file === null)
      refuse(section, 'key_file', 'is needed where there is a certificate_file');
  }
  return problems;
}
