// What is said where pgweir cannot listen. The system's own words leave out which setting to change.

import { describeError } from './errors.ts';

/** One line for the operator: no fault of ours, but of a setting or of what else runs on this machine. */
export class ListenError extends Error {
  override readonly name = 'ListenError';

  /** @param setting its path, such as `listen.port`. */
  constructor(setting: string, reason: string, options?: ErrorOptions) {
    super(`${setting}: ${reason}`, options);
  }
}

/** The same promise; where it rejects, the error names the host or the port of that section of the settings. */
export async function nameListenSetting<T>(section: string, listening: Promise<T>): Promise<T> {
  try {
    return await listening;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : null;
    const key = code === 'EADDRINUSE' || code === 'EACCES' ? 'port' : 'host';
    throw new ListenError(`${section}.${key}`, describeError(error), { cause: error });
  }
}
