// The end of a unit of work as nearly all drivers send it: Bind of the portal without a name, Describe of it or not, Execute of
// all its rows, Sync (PostgreSQL documentation, "Extended Query"). Seen as one, it is carried for the price of one message.

import { FRONTEND, NAMED } from './codes.ts';
import { readInt32 } from './reader.ts';

const DESCRIBE_BYTES = 7;
const EXECUTE_BYTES = 10;
const SYNC_BYTES = 5;

/**
 * Offset behind the Sync, where `buffer[bindEnd, limit)` begins with such an end of a unit, for the Bind of a portal without a name;
 * 0 where it does not, or where not all of it is there.
 */
export function findUsualEnd(buffer: Buffer, bindEnd: number, limit: number): number {
  const executeAt = isDescribe(buffer, bindEnd, limit) ? bindEnd + DESCRIBE_BYTES : bindEnd;
  const syncAt = executeAt + EXECUTE_BYTES;
  const end = syncAt + SYNC_BYTES;
  const isUsual =
    end <= limit &&
    buffer[executeAt] === FRONTEND.execute &&
    readInt32(buffer, executeAt + 1) === EXECUTE_BYTES - 1 &&
    buffer[executeAt + 5] === 0 &&
    readInt32(buffer, executeAt + 6) === 0 &&
    buffer[syncAt] === FRONTEND.sync &&
    readInt32(buffer, syncAt + 1) === SYNC_BYTES - 1;
  return isUsual ? end : 0;
}

function isDescribe(buffer: Buffer, at: number, limit: number): boolean {
  return (
    at + DESCRIBE_BYTES <= limit &&
    buffer[at] === FRONTEND.describe &&
    readInt32(buffer, at + 1) === DESCRIBE_BYTES - 1 &&
    buffer[at + 5] === NAMED.portal &&
    buffer[at + 6] === 0
  );
}
