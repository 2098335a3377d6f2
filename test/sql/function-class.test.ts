// What a call may do, by name.

import { expect, test } from 'vitest';
import { classOfFunction } from '../../src/sql/function-class.ts';

test.each([
  ['lower', 'read'],
  ['pg_catalog.lower', 'read'],
  ['count', 'read'],
  ['pg_sleep', 'read'],
  ['random', 'read'],
  ['set_config', 'session'],
  ['pg_try_advisory_xact_lock', 'session'],
  ['nextval', 'write'],
  ['pg_catalog.nextval', 'write'],
  ['pg_current_xact_id', 'write'],
  ['lo_put', 'write'],
  ['pg_terminate_backend', 'unknown'],
  ['pg_read_file', 'unknown'],
  ['query_to_xml', 'unknown'],
  ['table_to_xml', 'unknown'],
  ['ts_stat', 'unknown'],
  ['my_function', 'unknown'],
  ['public.lower', 'unknown'],
  ['db.pg_catalog.lower', 'unknown'],
  ['LOWER', 'unknown'],
  ['constructor', 'unknown'],
  ['__proto__', 'unknown'],
  ['', 'unknown'],
])('%s is %s', (name, expected) => {
  expect(classOfFunction(name === '' ? [] : name.split('.'))).toBe(expected);
});
