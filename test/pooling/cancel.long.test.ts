// PGWEIR_CANCEL_RACES says how many races (100,000), PGWEIR_TEST_SEED repeats the choices.

import { defineCancelTests } from './cancel-suite.ts';

defineCancelTests(Number(process.env.PGWEIR_CANCEL_RACES ?? 100_000));
