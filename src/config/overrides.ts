// Single settings given from outside the file: environment variables and flags, by the path of a setting in the schema.

import type { DocumentProblem } from '../base/yaml-document.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** The parts of JSON Schema that a settings leaf is made of. */
interface SchemaNode {
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, SchemaNode>>;
}

/** A setting that one word can give: a string, a number, or true/false. */
export interface SettingLeaf {
  /** `limits.max_clients` */
  readonly path: string;
  /** `PGWEIR_LIMITS_MAX_CLIENTS` */
  readonly variable: string;
  readonly types: readonly string[];
}

export interface Override {
  readonly path: string;
  readonly value: string | number | boolean | null;
  /** `PGWEIR_LIMITS_MAX_CLIENTS` or `flag for limits.max_clients`: named where the value is wrong. */
  readonly origin: string;
}

const PREFIX = 'PGWEIR_';

/** Every leaf of the schema; lists and open maps have none. */
export function listSettingLeaves(schema: SchemaNode, path: readonly string[] = []): SettingLeaf[] {
  if (schema.properties !== undefined) {
    return Object.entries(schema.properties).flatMap(([key, node]) => listSettingLeaves(node, [...path, key]));
  }
  const types = schema.enum !== undefined ? ['string'] : [schema.type ?? []].flat();
  if (types.includes('array') || types.includes('object')) return [];
  return [{ path: path.join('.'), variable: PREFIX + path.join('_').toUpperCase(), types }];
}

/** The overrides that an environment holds. Kubernetes' service links (`PGWEIR_ADMIN_PORT=tcp://…`) are none. */
export function readEnvironment(leaves: readonly SettingLeaf[], environment: Environment): Override[] {
  return leaves.flatMap((leaf) => {
    const text = environment[leaf.variable];
    if (text === undefined || isServiceLink(leaf.variable, text)) return [];
    return [{ path: leaf.path, value: readWord(text, leaf.types), origin: leaf.variable }];
  });
}

/** Flags as they come, by path. A path that the schema does not know becomes a problem. */
export function readFlags(
  leaves: readonly SettingLeaf[],
  flags: Readonly<Record<string, string | number | boolean>>,
): { overrides: Override[]; problems: DocumentProblem[] } {
  const overrides: Override[] = [];
  const problems: DocumentProblem[] = [];
  for (const [path, given] of Object.entries(flags)) {
    const leaf = leaves.find((candidate) => candidate.path === path);
    const origin = `flag for ${path}`;
    if (leaf === undefined)
      problems.push({ message: 'there is no such setting', path, line: 1, column: 1, source: origin });
    else overrides.push({ path, value: typeof given === 'string' ? readWord(given, leaf.types) : given, origin });
  }
  return { overrides, problems };
}

/** Variables that look like settings and are none: worth a warning, as a slip of the pen would otherwise go unseen. */
export function findUnknownVariables(leaves: readonly SettingLeaf[], environment: Environment): string[] {
  const known = new Set(leaves.map((leaf) => leaf.variable));
  return Object.keys(environment)
    .filter((name) => name.startsWith(PREFIX) && !known.has(name) && !isServiceLink(name, environment[name] ?? ''))
    .sort();
}

/** Puts the overrides into a plain settings value, making the sections that it lacks. */
export function applyOverrides(value: Record<string, unknown>, overrides: readonly Override[]): void {
  for (const override of overrides) {
    const steps = override.path.split('.');
    const last = steps.pop() ?? '';
    let section = value;
    for (const step of steps) {
      const next = section[step];
      if (typeof next === 'object' && next !== null && !Array.isArray(next)) {
        section = next as Record<string, unknown>;
      } else {
        const made: Record<string, unknown> = {};
        section[step] = made;
        section = made;
      }
    }
    section[last] = override.value;
  }
}

/** A word that cannot be read as the leaf's type stays text, and the schema then says what is wrong with it. */
function readWord(text: string, types: readonly string[]): string | number | boolean | null {
  if (types.includes('integer') && /^-?\d{1,15}$/.test(text)) return Number(text);
  if (types.includes('boolean') && /^(true|false)$/.test(text)) return text === 'true';
  if (types.includes('null') && text === '') return null;
  return text;
}

function isServiceLink(variable: string, text: string): boolean {
  return /^(tcp|udp|sctp):\/\//.test(text) || /_SERVICE_(HOST|PORT)(_|$)|_PORT_\d+_(TCP|UDP|SCTP)(_|$)/.test(variable);
}
