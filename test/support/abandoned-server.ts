// Starts a server and a proxy, says where, and waits to be killed: run by postgres.test.ts, which then looks for what is
// left.

import { dirname } from 'node:path';
import { startPostgres } from './postgres.ts';
import { spawnWeir } from './weir.ts';

const postgres = await startPostgres();
const weir = await spawnWeir({ postgres });
process.stdout.write(`${dirname(postgres.socketDirectory)} ${weir.pid}\n`);
setTimeout(() => process.exit(1), 60_000);
