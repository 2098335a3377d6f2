// `pgweir serve [CONFIG]`: settings, log, start, signals, stop. What is started comes from outside, so that this room need
// not know the composition root.

import { describeError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import { createLog } from '../base/log.ts';
import { listUnknownVariables, loadSettings } from '../config/load.ts';
import type { Settings } from '../config/settings.ts';
import type { CliIo, ExitCode } from './io.ts';
import { EXIT } from './io.ts';
import { readSource } from './sources.ts';

/** A pgweir that runs, as far as its signals go. */
export interface StartedWeir {
  /** Resolves when it has stopped, whoever asked for that (POST /quitquitquit too); rejects when stopping failed. */
  readonly ended: Promise<void>;
  /** SIGHUP. */
  reload(): Promise<void>;
  /** SIGTERM and SIGINT: resolves when the last client has been drained and everything is closed. */
  stop(): Promise<void>;
}

export type StartWeir = (settings: Settings, log: Log) => Promise<StartedWeir>;

export interface ServeOptions {
  readonly config?: string | undefined;
  /** By path of a setting. */
  readonly overrides: Readonly<Record<string, string>>;
}

/** Names the settings file where the command line does not. */
const CONFIG_VARIABLE = 'PGWEIR_CONFIG';

/**
 * Runs until a signal ends it. The first SIGTERM or SIGINT drains; the second returns at once, and main.ts ends the
 * process then. Throws SettingsError, RuleDocumentError, ListenError and CliError when it cannot start.
 */
export async function runServe(io: CliIo, options: ServeOptions, startWeir: StartWeir): Promise<ExitCode> {
  const settings = await readSettings(io, options);
  const log = createLog(settings.log.level, io.stderr);
  const unknown = listUnknownVariables(io.environment).filter((name) => name !== CONFIG_VARIABLE);
  if (unknown.length > 0) log.warn({ variables: unknown }, 'variables name no setting and are ignored');
  const ending = watchSignals(io);
  try {
    const weir = await startWeir(settings, log);
    ending.follow(weir, log);
    await ending.ended;
    return EXIT.ok;
  } finally {
    ending.close();
  }
}

/** As serve reads them; for the commands that speak to a pgweir that serves by them. */
export async function readSettings(io: CliIo, options: ServeOptions): Promise<Settings> {
  const path = options.config ?? io.environment[CONFIG_VARIABLE];
  const given = { environment: io.environment, overrides: options.overrides };
  if (path === undefined || path === '') return loadSettings(given);
  if (path !== '-') return loadSettings({ ...given, file: path });
  const { text, name } = await readSource(io, path);
  return loadSettings({ ...given, text, source: name });
}

interface Ending {
  /** Resolves when pgweir has stopped, or on the second signal; rejects when stopping fails. */
  readonly ended: Promise<void>;
  /** From now on signals reach this pgweir; one that came before stops it at once. */
  follow(weir: StartedWeir, log: Log): void;
  close(): void;
}

/** Listens from the first moment on, as a signal may come while the start is still under way. */
function watchSignals(io: CliIo): Ending {
  const { promise: ended, resolve, reject } = Promise.withResolvers<void>();
  let stopRequests = 0;
  let followed: { readonly weir: StartedWeir; readonly log: Log } | null = null;
  const stop = (): void => {
    stopRequests += 1;
    if (stopRequests > 1) resolve();
    else followed?.weir.stop().then(resolve, reject);
  };
  const reload = (): void => {
    const { weir, log } = followed ?? {};
    weir?.reload().catch((error: unknown) => log?.error({ reason: describeError(error) }, 'the reload failed'));
  };
  const closers = [io.onSignal('SIGTERM', stop), io.onSignal('SIGINT', stop), io.onSignal('SIGHUP', reload)];
  return {
    ended,
    follow: (weir, log) => {
      followed = { weir, log };
      weir.ended.then(resolve, reject);
      if (stopRequests > 0) weir.stop().then(resolve, reject);
    },
    close: () => {
      for (const close of closers) close();
    },
  };
}
