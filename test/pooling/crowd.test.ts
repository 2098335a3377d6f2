// PGWEIR_CROWD_SECONDS says how long (6), with 200 clients.

import { defineCrowdTests } from './crowd-suite.ts';

defineCrowdTests({ clients: 200, seconds: Number(process.env.PGWEIR_CROWD_SECONDS ?? 6) });
