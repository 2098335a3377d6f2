// PGWEIR_CROWD_SECONDS says how long (600), with 1,000 clients.

import { defineCrowdTests } from './crowd-suite.ts';

defineCrowdTests({ clients: 1_000, seconds: Number(process.env.PGWEIR_CROWD_SECONDS ?? 600) });
