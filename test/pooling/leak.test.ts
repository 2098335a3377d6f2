// Nothing that one client leaves in its session is ever seen by another. PGWEIR_POOL_STEPS says how many steps (2,400), PGWEIR_TEST_SEED repeats a run.

import { defineLeakTests } from './leak-suite.ts';

defineLeakTests(Number(process.env.PGWEIR_POOL_STEPS ?? 2_400));
