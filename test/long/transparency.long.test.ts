// Thousands of programs of any messages at all, in which nothing that is denied may run. A seed that fails is repeated with
// PGWEIR_TEST_SEED=<seed>. (That programs are answered as by the bare server: protocol-fuzz.long.test.ts.)

import { afterAll, beforeAll, test } from 'vitest';
import { type Proxies, searchForEvasions, startProxies } from '../relay/random-runs.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';

const PROGRAMS = Number(process.env.PGWEIR_TEST_PROGRAMS ?? 5_000);
const postgres = sharedPostgres();
let proxies: Proxies;

beforeAll(async () => {
  proxies = await startProxies(postgres);
});

afterAll(() => proxies?.stop());

test(`in ${PROGRAMS} wild programs no denied statement runs, and no client waits in vain`, async () => {
  await searchForEvasions(proxies, PROGRAMS);
}, 1_800_000);
