// Every match dimension of the rule language. A new one is a file in this folder, a line here and a property in the schema.

import type { MatchDocument } from '../rule.ts';
import { applicationName } from './application-name.ts';
import { clientIp } from './client-ip.ts';
import { columns } from './columns.ts';
import { database } from './database.ts';
import type { Condition, Dimension, MatchTools } from './dimension.ts';
import { fingerprint } from './fingerprint.ts';
import { fingerprintRegex } from './fingerprint-regex.ts';
import { functions } from './functions.ts';
import { inTransaction } from './in-transaction.ts';
import { missingWhere } from './missing-where.ts';
import { queryClass } from './query-class.ts';
import { queryRegex } from './query-regex.ts';
import { statement } from './statement.ts';
import { tables } from './tables.ts';
import { tags } from './tags.ts';
import { user } from './user.ts';

export type DimensionKey = Exclude<keyof MatchDocument, 'not'>;

/** In the order in which `explain` tells them. */
const DIMENSIONS: { readonly [Key in DimensionKey]: Dimension<NonNullable<MatchDocument[Key]>> } = {
  user,
  database,
  application_name: applicationName,
  client_ip: clientIp,
  query_class: queryClass,
  statement,
  fingerprint,
  tables,
  functions,
  columns,
  missing_where: missingWhere,
  fingerprint_regex: fingerprintRegex,
  in_transaction: inTransaction,
  tags,
  query_regex: queryRegex,
};

export const DIMENSION_KEYS = Object.keys(DIMENSIONS) as DimensionKey[];

/** The condition of one dimension, or null where the match does not name it. */
export function compileDimension<Key extends DimensionKey>(
  key: Key,
  match: Pick<MatchDocument, Key>,
  tools: MatchTools,
): Condition | null {
  const value: MatchDocument[Key] | undefined = match[key];
  if (value === undefined) return null;
  const dimension: Dimension<NonNullable<MatchDocument[Key]>> = DIMENSIONS[key];
  return dimension.compile(value, tools);
}
