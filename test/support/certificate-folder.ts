// A folder with certificates as pgweir's settings name them, and the settings that name them.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Settings } from '../../src/config/settings.ts';
import { type Authority, type CertificateRequest, type Certified, makeAuthority } from './certificates.ts';
import { NO_LISTEN_TLS, NO_TARGETS_TLS } from './weir.ts';

type ListenTls = Settings['listen']['tls'];
type TargetsTls = Settings['targets']['tls'];

export class CertificateFolder {
  readonly path = mkdtempSync(join(tmpdir(), 'weir-tls-'));
  readonly authority: Authority;
  readonly server: Certified;

  /** `localhost` and 127.0.0.1, by an authority of its own. */
  constructor(authority = makeAuthority('test authority')) {
    this.authority = authority;
    this.server = authority.issue({ commonName: 'localhost', dnsNames: ['localhost'], addresses: ['127.0.0.1'] });
    this.write('server', this.server);
    this.writeText('ca.crt', authority.cert);
  }

  /** Writes `<name>.crt` and `<name>.key`. */
  write(name: string, { cert, key }: Certified): { certificateFile: string; keyFile: string } {
    return { certificateFile: this.writeText(`${name}.crt`, cert), keyFile: this.writeText(`${name}.key`, key) };
  }

  /** Answers the file's path. */
  writeText(name: string, text: string): string {
    const path = join(this.path, name);
    writeFileSync(path, text);
    return path;
  }

  issue(name: string, request: CertificateRequest): { certificateFile: string; keyFile: string } {
    return this.write(name, this.authority.issue(request));
  }

  listenTls(overrides: Partial<ListenTls> = {}): ListenTls {
    return {
      ...NO_LISTEN_TLS,
      mode: 'allow',
      certificateFile: join(this.path, 'server.crt'),
      keyFile: join(this.path, 'server.key'),
      ...overrides,
    };
  }

  targetsTls(mode: TargetsTls['mode'], overrides: Partial<TargetsTls> = {}): TargetsTls {
    const isVerifying = mode === 'verify-ca' || mode === 'verify-full';
    return { ...NO_TARGETS_TLS, mode, caFile: isVerifying ? join(this.path, 'ca.crt') : null, ...overrides };
  }

  /** For startPostgres: a server with this folder's certificate that trusts this folder's authority. */
  postgresTls(): { settings: Record<string, string>; files: Record<string, string> } {
    return {
      settings: { ssl: 'on', ssl_ca_file: 'root.crt' },
      files: { 'server.crt': this.server.cert, 'server.key': this.server.key, 'root.crt': this.authority.cert },
    };
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
