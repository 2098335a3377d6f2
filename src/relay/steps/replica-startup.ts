// A login on a replica begins with the settings that the primary has told the client: a replica may be configured otherwise,
// and what it gives then is not what the client expects, down to how strings and dates are read. RESET leads back to them, too.

import { addParameters } from '../../wire/startup.ts';

/** Settings that are told and that clients may make. */
const TOLD = [
  'client_encoding',
  'DateStyle',
  'IntervalStyle',
  'TimeZone',
  'standard_conforming_strings',
  'search_path',
];

export interface ReplicaStartup {
  readonly packet: Buffer;
  readonly parameters: ReadonlyMap<string, string>;
}

/** `told`: by ParameterStatus, at the login on the primary. */
export function makeReplicaStartup(
  packet: Buffer,
  parameters: ReadonlyMap<string, string>,
  told: ReadonlyMap<string, string>,
): ReplicaStartup {
  const given = new Set([...parameters.keys()].map((name) => name.toLowerCase()));
  const added = new Map<string, string>();
  for (const name of TOLD) {
    const value = told.get(name);
    if (value !== undefined && !given.has(name.toLowerCase())) added.set(name, value);
  }
  return { packet: addParameters(packet, added), parameters: new Map([...parameters, ...added]) };
}
