// The certificates in use: read at the start, followed when their files change, kept where what the files hold is no good.

import { readFileSync } from 'node:fs';
import type { Log } from '../base/log.ts';
import { TlsAcceptor } from '../tls/acceptor.ts';
import { TlsConnector } from '../tls/connector.ts';
import { readTlsFiles, type TlsFiles, type TlsMaterial } from '../tls/tls-files.ts';
import type { Settings } from './settings.ts';
import { listenTlsFiles } from './tls-settings.ts';
import { FileWatcher } from './watch.ts';

const NO_FILES: TlsFiles = { certificateFile: null, keyFile: null, caFile: null };

export class CertificateKeeper {
  /** Null where clients are offered no TLS. */
  readonly acceptor: TlsAcceptor | null;
  readonly connector: TlsConnector;
  readonly #watchers: readonly FileWatcher[];

  /** Throws TlsFileError where a file cannot serve. */
  constructor({ listen, targets }: Settings, log: Log) {
    const doorFiles = listen.tls.mode === 'disable' ? NO_FILES : listenTlsFiles(listen.tls);
    const wayFiles = targets.tls.mode === 'disable' ? NO_FILES : targets.tls;
    const door = readWithWarning(doorFiles, log);
    const acceptor = listen.tls.mode === 'disable' ? null : new TlsAcceptor(listen.tls, door);
    const connector = new TlsConnector(targets.tls, readWithWarning(wayFiles, log));
    this.acceptor = acceptor;
    this.connector = connector;
    this.#watchers = [
      ...watchFiles(doorFiles, 'clients', log, (material) => acceptor?.useMaterial(material)),
      ...watchFiles(wayFiles, 'targets', log, (material) => connector.useMaterial(material)),
    ];
  }

  start(): void {
    for (const watcher of this.#watchers) watcher.start();
  }

  /** SIGHUP: reads the files again, even where nothing seems to have changed. */
  async reload(): Promise<void> {
    await Promise.all(this.#watchers.map((watcher) => watcher.check(true)));
  }

  stop(): void {
    for (const watcher of this.#watchers) watcher.stop();
  }
}

/** The files belong together: when one changes all are read, and used only where they fit each other. */
function watchFiles(
  files: TlsFiles,
  side: 'clients' | 'targets',
  log: Log,
  use: (material: TlsMaterial) => void,
): FileWatcher[] {
  const paths = [...new Set([files.certificateFile, files.keyFile, files.caFile])].filter((path) => path !== null);
  return paths.map(
    (file) =>
      new FileWatcher({
        file,
        knownText: readFileSync(file, 'utf8'),
        onText: () => {
          use(readWithWarning(files, log));
          log.info({ side, file }, 'certificates were read from their files');
        },
        onError: (reason) =>
          log.error({ side, file, reason }, 'certificates were not reloaded; the old ones stay in use'),
      }),
  );
}

/** Like PostgreSQL, uses a certificate that is out of date: its peers may not care. Throws TlsFileError. */
function readWithWarning(files: TlsFiles, log: Log): TlsMaterial {
  const material = readTlsFiles(files);
  if (material.expiresAtMs !== undefined && material.expiresAtMs < Date.now()) {
    const expiredAt = new Date(material.expiresAtMs).toISOString();
    log.warn({ file: files.certificateFile, expiredAt }, 'the certificate has expired');
  }
  return material;
}
