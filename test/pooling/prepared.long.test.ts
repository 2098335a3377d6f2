// Prepared statements follow their clients over shared connections. PGWEIR_POOL_STEPS says how many steps (100,000), PGWEIR_TEST_SEED repeats a run.

import { definePreparedTests } from './prepared-suite.ts';

definePreparedTests(Number(process.env.PGWEIR_POOL_STEPS ?? 100_000));
