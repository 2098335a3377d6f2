// Settings follow their clients over shared connections. PGWEIR_POOL_STEPS says how many steps (100,000), PGWEIR_TEST_SEED repeats a run.

import { defineSettingsTests } from './settings-suite.ts';

defineSettingsTests(Number(process.env.PGWEIR_POOL_STEPS ?? 100_000));
