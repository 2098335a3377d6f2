// The world as a command sees it: writers, environment, signals, files. main.ts gives the process's own, tests theirs.

export interface CliWriter {
  write(text: string): void;
  /** Colours are for people. */
  readonly isTerminal: boolean;
}

export type StopSignal = 'SIGTERM' | 'SIGINT' | 'SIGHUP';

export interface CliIo {
  /** Data: what another program may want to read. */
  readonly stdout: CliWriter;
  /** Talk: progress, complaints, the log. */
  readonly stderr: CliWriter;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readStdin(): Promise<string>;
  /** The answer ends the subscription. */
  onSignal(signal: StopSignal, listener: () => void): () => void;
}

/** What a command's end means (`pgweir --help` says it too): 1 load or usage error, 2 failed rule cases, 3 lint. */
export const EXIT = { ok: 0, error: 1, failed: 2, lint: 3 } as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export type OutputFormat = 'text' | 'json';

/** A complaint that ends the command with an exit code, without a stack. */
export class CliError extends Error {
  override readonly name = 'CliError';
  readonly exitCode: ExitCode;

  constructor(message: string, exitCode: ExitCode = EXIT.error) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** Red, green or bold on a terminal, unless NO_COLOR (no-color.org) is set to anything. */
export function paint(io: CliIo, writer: CliWriter, text: string, style: 'red' | 'green' | 'bold'): string {
  const isPlain = !writer.isTerminal || (io.environment.NO_COLOR ?? '') !== '';
  return isPlain ? text : `\u001b[${STYLE_CODES[style]}m${text}\u001b[0m`;
}

const STYLE_CODES = { red: 31, green: 32, bold: 1 } as const;

export function writeJson(io: CliIo, value: unknown): void {
  io.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}
