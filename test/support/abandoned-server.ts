// Starts a server, says where, and waits to be killed: run by postgres.test.ts, which then looks for what is left.

import { dirname } from 'node:path';
import { startPostgres } from './postgres.ts';

const postgres = await startPostgres();
process.stdout.write(`${dirname(postgres.socketDirectory)}\n`);
setTimeout(() => postgres.stop().catch(() => undefined), 60_000);
