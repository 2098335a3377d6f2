// A rule document of 100 rules for the benches: 25 by regular expression, 25 by fingerprint, 25 by user, application or
// client prefix, 25 by table. None matches what pgbench sends, and none can be left out without looking at the statement
// or the subject.

import { createHash } from 'node:crypto';

const VERBS = ['select', 'insert\\s+into', 'update', 'delete\\s+from', 'merge\\s+into'];
const SCHEMAS = ['billing', 'ledger', 'crm', 'warehouse', 'hr'];

/** The document as YAML. */
export function makeHundredRules(): string {
  const lines = ['traffic_control:', '  default_action: allow', '  rules:'];
  for (let index = 0; index < 25; index += 1) {
    const pattern = `(?i)\\b${VERBS[index % 5]}\\b.{0,20}\\blegacy_${SCHEMAS[index % 5]}_${index}\\b`;
    lines.push(
      `    - name: regex_${index}`,
      `      priority: ${400 - index}`,
      // Every second one as plain as the patterns people write, the others with a bounded gap.
      `      match: { query_regex: '${index % 2 === 0 ? pattern : `(?i)\\bfrom\\s+legacy_${index}\\b`}' }`,
      '      action: deny',
      `      message: "legacy_${index} is gone"`,
    );
  }
  for (let index = 0; index < 25; index += 1) {
    const fingerprint = createHash('sha256').update(`bench ${index}`).digest('hex').slice(0, 16);
    lines.push(
      `    - name: fingerprint_${index}`,
      `      priority: ${300 - index}`,
      `      match: { fingerprint: '${fingerprint}' }`,
      '      action: deny',
    );
  }
  for (let index = 0; index < 25; index += 1) {
    const match = [
      `{ user: 'batch_${index}_*' }`,
      `{ application_name: ['tool-${index}', 'tool-${index}-*'] }`,
      `{ client_ip: ['198.51.${index}.0/24', '2001:db8:${index}::/48'] }`,
    ][index % 3];
    lines.push(
      `    - name: subject_${index}`,
      `      priority: ${200 - index}`,
      `      match: ${match}`,
      ...(index % 2 === 0
        ? ['      action: deny']
        : ['      action: rate_limit', '      rate_per_sec: 50', '      per: user']),
    );
  }
  for (let index = 0; index < 25; index += 1) {
    lines.push(
      `    - name: tables_${index}`,
      `      priority: ${100 - index}`,
      `      match: { tables: ['${SCHEMAS[index % 5]}.t${index}_*', 'secret_${index}'] }`,
      ...(index % 2 === 0 ? ['      action: deny'] : ['      action: kill_after_ms', '      timeout_ms: 5000']),
    );
  }
  return `${lines.join('\n')}\n`;
}
