// What the program says of itself: JSON lines, one event each, to the writer it is given (stderr in main.ts: stdout is
// for data). Literals of statements never come here, and credentials are struck out even when someone passes them.

import type { Logger } from 'pino';
import { pino } from 'pino';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';
export type LogFields = Readonly<Record<string, unknown>>;

export interface Log {
  debug(fields: LogFields, message: string): void;
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
  /** A log whose every line carries these fields too. */
  with(fields: LogFields): Log;
}

export interface LogWriter {
  write(line: string): void;
}

/** Keys whose values are never written, at the top of a line's fields and one level down. */
const SECRET_KEYS = ['password', 'token', 'secret', 'authorization', 'cookie', 'secretKey', 'verifier'];

/** @param writer receives whole lines, newline included. */
export function createLog(level: LogLevel, writer: LogWriter): Log {
  const logger = pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: SECRET_KEYS.flatMap((key) => [key, `*.${key}`, `*[*].${key}`]), censor: '[redacted]' },
    },
    writer,
  );
  return new PinoLog(logger);
}

/** For tests and for tools that must not speak. */
export const silentLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  with: () => silentLog,
};

class PinoLog implements Log {
  readonly #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  debug(fields: LogFields, message: string): void {
    this.#logger.debug(fields, message);
  }

  info(fields: LogFields, message: string): void {
    this.#logger.info(fields, message);
  }

  warn(fields: LogFields, message: string): void {
    this.#logger.warn(fields, message);
  }

  error(fields: LogFields, message: string): void {
    this.#logger.error(fields, message);
  }

  with(fields: LogFields): Log {
    return new PinoLog(this.#logger.child(fields));
  }
}
