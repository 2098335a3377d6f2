// Writes the `default`s of a JSON Schema into a value that lacks them. Ajv could, but would have to compile the whole
// schema a second time for it, which is a tenth of the time from the start of the process to its first client.

/** The parts of JSON Schema (draft-07) that say what is missing. */
export interface DefaultingSchema {
  readonly type?: unknown;
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, DefaultingSchema>>;
  readonly items?: DefaultingSchema;
}

/** Changes `value` in place, at every depth that it has or that a default gives it. */
export function fillDefaults(schema: DefaultingSchema, value: unknown): void {
  if (Array.isArray(value)) {
    if (schema.items !== undefined) for (const item of value) fillDefaults(schema.items, item);
    return;
  }
  if (!isRecord(value)) return;
  for (const [key, node] of Object.entries(schema.properties ?? {})) {
    if (value[key] === undefined && node.default !== undefined) value[key] = structuredClone(node.default);
    fillDefaults(node, value[key]);
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
