// `npm run demo`: a PostgreSQL with a standby, pgweir in front of it, and a small migration from Oracle told step by step.
// Ends 0 when all that was expected was seen. `-- --keep` leaves it running.

import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { type SpawnedWeir, spawnWeir } from '../support/weir.ts';
import { Stage } from './stage.ts';
import * as steps from './steps.ts';

const STORY = [
  steps.countOnly,
  steps.flipToEnforce,
  steps.refuseInTransaction,
  steps.cancelRunaway,
  steps.limitApplication,
  steps.routeReads,
  steps.showObservations,
];

const GIVE_UP_AFTER_MS = 80_000;

async function tellStory(isKept: boolean): Promise<boolean> {
  const startedAt = performance.now();
  let postgres: TestPostgres | null = null;
  let weir: SpawnedWeir | null = null;
  const overdue = setTimeout(() => {
    process.stderr.write(`the demo takes longer than ${GIVE_UP_AFTER_MS / 1_000} s: given up\n`);
    process.exit(1);
  }, GIVE_UP_AFTER_MS);
  try {
    process.stdout.write('Starting PostgreSQL (a primary and a standby) and pgweir …\n');
    postgres = await startPostgres({ standbys: 1 });
    weir = await spawnWeir({ postgres, rules: await readFile(join(import.meta.dirname, 'demo-rules.yaml'), 'utf8') });
    const stage = new Stage(postgres, weir, process.stdout.isTTY === true && process.env.NO_COLOR === undefined);
    stage.say(
      `PostgreSQL ${postgres.version} on port ${postgres.port}, its standby on ${postgres.standbys[0]?.port}; pgweir on ${weir.port}.`,
    );
    await steps.prepareShop(stage);
    for (const step of STORY) await step(stage);
    const isGood = stage.conclude();
    stage.say(`${((performance.now() - startedAt) / 1_000).toFixed(1)} s in all.`);
    clearTimeout(overdue);
    if (isKept) await keepRunning(stage);
    return isGood;
  } finally {
    clearTimeout(overdue);
    await weir?.stop();
    await postgres?.stop();
  }
}

async function keepRunning(stage: Stage): Promise<void> {
  const { postgres, weir } = stage;
  stage.title('Left running until Ctrl-C');
  stage.say(
    `through pgweir   postgresql://app@${weir.host}:${weir.port}/${postgres.database}?application_name=webshop`,
  );
  stage.say(`past pgweir      postgresql://${postgres.user}@${postgres.host}:${postgres.port}/${postgres.database}`);
  for (const standby of postgres.standbys) {
    stage.say(`the standby      postgresql://${standby.user}@${standby.host}:${standby.port}/${standby.database}`);
  }
  stage.say(`admin API        ${weir.adminUrl}/rules  ${weir.adminUrl}/observations?format=text`);
  stage.say(`metrics          ${weir.healthUrl}/metrics`);
  stage.say(`rules            ${weir.rulesPath}`);
  const alive = setInterval(() => undefined, 60_000);
  await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
  clearInterval(alive);
}

const { values } = parseArgs({ options: { keep: { type: 'boolean', default: false } } });
try {
  process.exitCode = (await tellStory(values.keep)) ? 0 : 1;
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
