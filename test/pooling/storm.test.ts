// PGWEIR_STORM_SECONDS says how long (10).

import { defineStormTest } from './storm-suite.ts';

const seconds = Number(process.env.PGWEIR_STORM_SECONDS ?? 10);
defineStormTest({ size: 4, clients: 20, seconds });
