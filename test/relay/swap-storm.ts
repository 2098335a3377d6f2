// Rule documents posted over real HTTP, one after another, good ones and bad ones, and a record of which version was
// active when.

import { setTimeout as sleep } from 'node:timers/promises';

/** Documents that mean different things; the rules of the workload itself stay, so that nothing it does is refused but `secret`. */
export function makeDocument(number: number): string {
  return `# document ${number}
traffic_control:
  rules:
    - name: no_secrets
      priority: 100
      match: { tables: [secret] }
      action: deny
      message: "document ${number}"
    - { name: "observed_${number % 7}", mode: observe, match: { query_class: write }, action: deny, message: "${number}" }
    - { name: kept_limit, match: { query_class: read }, action: rate_limit, rate_per_sec: 1000000 }
    - { name: killed_${number % 3}, match: { query_regex: 'never ${number}' }, action: kill_after_ms, timeout_ms: 1000 }
`;
}

/** Each is wrong in its own way, at a known line. */
const BAD_DOCUMENTS: readonly { readonly text: string; readonly line: number }[] = [
  { text: 'traffic_control:\n  rules:\n    - { name: a, action: explode }\n', line: 3 },
  {
    text: 'traffic_control:\n  rules:\n    - name: a\n      action: deny\n      match: { query_regex: "(" }\n',
    line: 5,
  },
  { text: 'traffic_control:\n  rules:\n    - { name: a, action: deny }\n    - { name: a, action: deny }\n', line: 4 },
  { text: 'traffic_control:\n  ruels: []\n', line: 2 },
  { text: 'traffic_control: {\n', line: 2 },
  { text: 'traffic_control:\n  rules:\n    - { name: a, action: deny, match: { client_ip: 10.0.0.0/99 } }\n', line: 3 },
];

/** One version's time in force. The swap happened between the two moments that bound each end. */
export interface ActiveSpan {
  readonly version: string;
  readonly document: number;
  readonly fromMs: number;
  toMs: number;
}

export interface StormRecord {
  readonly spans: ActiveSpan[];
  readonly bad: number;
  /** One line for each answer that was not as it must be. */
  readonly wrong: string[];
}

interface ProblemAnswer {
  readonly problems?: readonly { readonly line?: number; readonly column?: number }[];
}

/** Posts `posts` documents with a pause between them; every `badEvery`th is a bad one. */
export async function storm(
  adminUrl: string,
  options: { readonly posts: number; readonly pauseMs: number; readonly badEvery: number },
): Promise<StormRecord> {
  const wrong: string[] = [];
  const spans: ActiveSpan[] = [];
  let bad = 0;
  const activeVersion = async (): Promise<string> =>
    ((await fetch(`${adminUrl}/rules`)).headers.get('etag') ?? '').replaceAll('"', '');
  spans.push({ version: await activeVersion(), document: 0, fromMs: 0, toMs: Number.POSITIVE_INFINITY });
  for (let number = 1; number <= options.posts; number++) {
    await sleep(options.pauseMs);
    const isBad = number % options.badEvery === 0;
    const badDocument = BAD_DOCUMENTS[bad % BAD_DOCUMENTS.length] ?? { text: '', line: 0 };
    const sentAtMs = performance.now();
    const answer = await fetch(`${adminUrl}/rules`, {
      method: 'POST',
      headers: { 'content-type': 'application/yaml' },
      body: isBad ? badDocument.text : makeDocument(number),
    });
    const answeredAtMs = performance.now();
    const last = spans.at(-1);
    if (isBad) {
      bad++;
      const { problems } = (await answer.json()) as ProblemAnswer;
      const [problem] = problems ?? [];
      if (answer.status < 400 || answer.status > 499) wrong.push(`bad document: status ${answer.status}`);
      if (problem?.line !== badDocument.line || !((problem.column ?? 0) > 0))
        wrong.push(`bad document: ${JSON.stringify(problem)} instead of line ${badDocument.line}`);
      if ((await activeVersion()) !== last?.version) wrong.push('a bad document changed the version');
      continue;
    }
    const { outcome, version } = (await answer.json()) as { outcome?: string; version?: string };
    if (answer.status !== 200 || outcome !== 'swapped' || version === undefined) {
      wrong.push(`document ${number}: status ${answer.status}, ${outcome}`);
      continue;
    }
    if (last !== undefined) last.toMs = answeredAtMs;
    spans.push({ version, document: number, fromMs: sentAtMs, toMs: Number.POSITIVE_INFINITY });
  }
  return { spans, bad, wrong };
}

/** Was that version in force at some moment between the two? */
export function wasActive(spans: readonly ActiveSpan[], version: string, fromMs: number, toMs: number): boolean {
  return spans.some((span) => span.version === version && span.fromMs <= toMs && span.toMs >= fromMs);
}
