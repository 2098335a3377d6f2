// What probes and scrapes are answered, whichever listener they come to.

import type { Registry } from 'prom-client';
import { describeError } from '../base/errors.ts';
import type { ControlPlane } from './control.ts';

export interface HealthAnswer {
  readonly status: 200 | 503;
  readonly type: string;
  readonly body: string;
}

/** A check of the database that takes longer is a failed one. */
const UPSTREAM_DEADLINE_MS = 5000;

/** 200 once rules are compiled and the data port is bound. */
export function answerStartup(control: ControlPlane): HealthAnswer {
  const lifecycle = control.lifecycle();
  return say(lifecycle !== 'starting', lifecycle);
}

/** 200 while new clients are welcome; the database is asked only where `isUpstreamChecked`. Never rejects. */
export async function answerReadiness(control: ControlPlane, isUpstreamChecked: boolean): Promise<HealthAnswer> {
  const lifecycle = control.lifecycle();
  if (lifecycle !== 'ready' || !isUpstreamChecked) return say(lifecycle === 'ready', lifecycle);
  const complaint = await askUpstream(control);
  return say(complaint === null, complaint ?? 'ready, and the primary answers');
}

/** 200 while the event loop answers. */
export function answerLiveness(): HealthAnswer {
  return say(true, 'alive');
}

export async function answerMetrics(metrics: Registry): Promise<HealthAnswer> {
  return { status: 200, type: metrics.contentType, body: await metrics.metrics() };
}

function say(isGood: boolean, words: string): HealthAnswer {
  return { status: isGood ? 200 : 503, type: 'text/plain; charset=utf-8', body: `${words}\n` };
}

/** Null when the primary answers, otherwise why not. */
async function askUpstream(control: ControlPlane): Promise<string | null> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<string>((resolve) => {
    timer = setTimeout(
      () => resolve(`the primary has not answered in ${UPSTREAM_DEADLINE_MS} ms`),
      UPSTREAM_DEADLINE_MS,
    );
  });
  try {
    return await Promise.race([control.checkUpstream(), deadline]);
  } catch (error) {
    return describeError(error);
  } finally {
    clearTimeout(timer);
  }
}
