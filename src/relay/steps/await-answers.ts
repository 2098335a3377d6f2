// A message whose meaning depends on answers that are still to come waits for them.

import { FLUSH } from '../../wire/writer.ts';
import type { Connection } from '../connection.ts';
import { GATE } from '../gate.ts';

/** Closes the gate: the message is offered again when all that was sent has been answered. Something must be owed. */
export function awaitAnswers({ active, gate }: Connection): void {
  active.outlet.write(FLUSH);
  gate.close(GATE.names);
}
