// JSON Schemas as functions. The bundle has this file's work done beforehand (bundle.ts puts its own in place of this one),
// because compiling takes a third of a start.

import type { ValidateFunction } from 'ajv';
import { Ajv } from 'ajv';

export type SchemaName = 'settings' | 'rules' | 'cases';

/** Errors come all, with the schema and the data that they are about: findSchemaProblems needs both. */
export const AJV_OPTIONS = {
  allErrors: true,
  verbose: true,
  allowUnionTypes: true,
  // That the schema is one is for tests to see, not for every start.
  validateSchema: false,
  strictTypes: false,
  strictRequired: false,
} as const;

/** @param schema schemas/<name>.schema.json. */
export function compileSchema<T = unknown>(_name: SchemaName, schema: object): ValidateFunction<T> {
  return new Ajv(AJV_OPTIONS).compile<T>(schema);
}
