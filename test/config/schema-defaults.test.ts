// Defaults from the schema, against Ajv's own; and that the shipped schemas are schemas, which no start checks.

import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { Ajv } from 'ajv';
import { expect, test } from 'vitest';
import { fillDefaults } from '../../src/config/schema-defaults.ts';

const readSchema = (name: string): Record<string, unknown> =>
  JSON.parse(readFileSync(resolve(import.meta.dirname, '../../schemas', name), 'utf8')) as Record<string, unknown>;

test.each(['settings.schema.json', 'rules.schema.json', 'cases.schema.json'])('%s is a JSON Schema', (name) => {
  const ajv = new Ajv();
  expect([ajv.validateSchema(readSchema(name)), ajv.errors]).toEqual([true, null]);
  expect(ajv.validateSchema({ type: 'objekt' })).toBe(false);
});

test.each([
  [{}],
  [{ listen: { port: 1 } }],
  [{ targets: { replicas: [{ host: 'a' }, { host: 'b', port: 7 }] }, auth: { credentials: [{ user: 'u' }] } }],
  [{ state_directory: null, health: {} }],
])('the defaults of the settings are filled in as Ajv would: %j', (value) => {
  const schema = readSchema('settings.schema.json');
  const byAjv = structuredClone(value);
  expect(new Ajv({ useDefaults: true, strict: false }).compile(schema)(byAjv)).toBe(true);
  const byUs = structuredClone(value);
  fillDefaults(schema, byUs);
  expect(byUs).toEqual(byAjv);
});

test('a value that is there stays, and a default is not shared between two values', () => {
  const schema = { properties: { list: { default: [] }, port: { default: 5 } } };
  const [first, second]: { list?: unknown[]; port?: number | null }[] = [{ port: null }, {}];
  fillDefaults(schema, first);
  fillDefaults(schema, second);
  expect([first, second]).toEqual([
    { port: null, list: [] },
    { port: 5, list: [] },
  ]);
  expect(first?.list).not.toBe(second?.list);
});
