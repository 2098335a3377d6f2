// The key behind the salts that are shown for users who do not exist. Kept in the state directory, so that such a salt is
// the same after a restart as before, as a real one is; a copy of the file makes two instances agree.

import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describeError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Settings } from './settings.ts';

const KEY_FILE = 'mock-key';
const KEY_BYTES = 32;

/** The kept key, or a new one that is kept where there is a state directory. Never throws: without it logins still work. */
export function keepMockKey({ stateDirectory, auth }: Settings, log: Log): Buffer {
  const made = randomBytes(KEY_BYTES);
  if (stateDirectory === null || (auth.mode !== 'scram' && auth.mode !== 'md5')) return made;
  const file = join(stateDirectory, KEY_FILE);
  try {
    mkdirSync(stateDirectory, { recursive: true, mode: 0o700 });
    try {
      writeFileSync(file, made, { flag: 'wx', mode: 0o600 });
      return made;
    } catch {
      // It is there already, or cannot be written: reading it tells which.
    }
    const kept = readFileSync(file);
    if (kept.length !== KEY_BYTES) throw new Error(`it does not hold ${KEY_BYTES} bytes`);
    return kept;
  } catch (error) {
    log.warn({ file, reason: describeError(error) }, 'salts of unknown users will change with the next restart');
    return made;
  }
}
