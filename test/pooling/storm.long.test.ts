// PGWEIR_STORM_SECONDS says how long each lasts (120).

import { defineStormTest } from './storm-suite.ts';

const seconds = Number(process.env.PGWEIR_STORM_SECONDS ?? 120);
defineStormTest({ size: null, clients: 40, seconds });
defineStormTest({ size: 2, clients: 40, seconds });
defineStormTest({ size: 8, clients: 40, seconds });
