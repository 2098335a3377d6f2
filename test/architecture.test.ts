// The house rules that a reviewer should not have to look for: one direction of imports, no cycles, small files.

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '../src');

/** A room imports only from itself and from rooms above it in this list. */
const RANK = [
  'base',
  'wire',
  'sql',
  'auth',
  'tls',
  'session',
  'policy',
  'audit',
  'config',
  'pool',
  'relay',
  'admin',
  'cli',
];
const TOP_FILES = ['app.ts', 'main.ts'];
const MAX_LINES = 400;

interface SourceFile {
  readonly name: string;
  readonly room: string;
  readonly text: string;
  readonly imports: readonly string[];
}

const files: SourceFile[] = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => {
    const text = readFileSync(join(root, name), 'utf8');
    const imports = [...text.matchAll(/^(?:import|export)\b[^'"]*?from\s+'(\.[^']+)'/gms)].map((match) =>
      relative(root, resolve(root, dirname(name), match[1] ?? '')),
    );
    return { name, room: name.includes('/') ? (name.split('/')[0] ?? '') : '', text, imports };
  });

const roomOf = (name: string): string => (name.includes('/') ? (name.split('/')[0] ?? '') : '');

test('every file is in a room that the rank names', () => {
  const strays = files.filter((file) =>
    file.room === '' ? !TOP_FILES.includes(file.name) : !RANK.includes(file.room),
  );
  expect(strays.map((file) => file.name)).toEqual([]);
});

test('no room imports from a room below it', () => {
  const upward = files.flatMap((file) =>
    file.imports
      .filter((target) => {
        if (file.room === '') return false;
        const targetRoom = roomOf(target);
        return targetRoom === '' || RANK.indexOf(targetRoom) > RANK.indexOf(file.room);
      })
      .map((target) => `${file.name} imports ${target}`),
  );
  expect(upward).toEqual([]);
});

test('no file reaches itself through its imports', () => {
  const byName = new Map(files.map((file) => [file.name, file]));
  const cycles: string[] = [];
  const done = new Set<string>();
  const visit = (name: string, trail: readonly string[]): void => {
    if (trail.includes(name)) {
      cycles.push([...trail.slice(trail.indexOf(name)), name].join(' -> '));
      return;
    }
    if (done.has(name)) return;
    for (const target of runtimeImports(byName.get(name))) visit(target, [...trail, name]);
    done.add(name);
  };
  for (const file of files) visit(file.name, []);
  expect(cycles).toEqual([]);
});

test(`no file is longer than ${MAX_LINES} lines`, () => {
  const long = files.filter((file) => file.text.split('\n').length - 1 > MAX_LINES);
  expect(long.map((file) => `${file.name} (${file.text.split('\n').length - 1})`)).toEqual([]);
});

test('only main.ts reads arguments, environment or stdin, listens to signals, or ends the process', () => {
  const readers = files.filter(
    (file) => file.name !== 'main.ts' && /\bprocess\.(argv|env|on|exit|stdin)\b/.test(file.text),
  );
  expect(readers.map((file) => file.name)).toEqual([]);
});

/** Type-only imports vanish before the program runs, so two files may name each other's types. */
function runtimeImports(file: SourceFile | undefined): string[] {
  if (file === undefined) return [];
  return [...file.text.matchAll(/^(?:import|export)\s+(?!type\b)[^'"]*?from\s+'(\.[^']+)'/gms)].map((match) =>
    relative(root, resolve(root, dirname(file.name), match[1] ?? '')),
  );
}
