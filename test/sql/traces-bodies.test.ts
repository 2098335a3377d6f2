// Reading the code of functions and of DO: every word of it, what its statements do to the session, and which settings they
// name; of what cannot be read, the worst.

import { describe, expect, test } from 'vitest';
import { scanBody, scanCoarsely, scanForeignBody } from '../../src/sql/body-scan.ts';
import { readTokens } from '../../src/sql/body-tokens.ts';
import { builtinTraces, LEAVING_NAMES } from '../../src/sql/builtin-traces.ts';
import { classOfFunction } from '../../src/sql/function-class.ts';
import { nameTraces } from '../../src/sql/traces.ts';

const names = (body: string): string => nameTraces(scanBody(body).traces).join(' ');

describe('the tokens of a body', () => {
  test.each<[string, readonly string[]]>([
    ['Select A.b', ['select', 'a', '.', 'b']],
    ['"Se""t" x$1', ['Se"t', 'x$1']],
    ["'it''s' E'a\\'b\\n' N'c'", ["it's", "a'bn", 'n', 'c']],
    ['a -- b\nc /* d /* e */ f */ g', ['a', 'c', 'g']],
    ['$$a$$ $x$ $$b$$ $x$ $1', ['a', ' $$b$$ ', '0']],
    ['1.5e10 .5 0x1F', ['0', '0', '0']],
    ['a||b', ['a', '|', '|', 'b']],
    ['ÄÖ_é', ['ÄÖ_é']],
  ])('of %s', (text, expected) => {
    expect(readTokens(text).map((token) => token.text)).toEqual(expected);
  });

  test.each(["'never ends", '"never ends', '$$never ends', `U&"set\\005fconfig"`, "E'\\x41'", "U&'\\0041'"])(
    'that cannot be read are called so: %s',
    (text) => expect(readTokens(text).map(({ kind }) => kind)).toContain('unreadable'),
  );

  test('names are cut as the server cuts them, at a character', () => {
    const [long, wide] = readTokens(`${'a'.repeat(70)} "${'é'.repeat(40)}"`);
    expect(long?.text).toBe('a'.repeat(63));
    expect(wide?.text).toBe('é'.repeat(31));
  });
});

describe('a body', () => {
  test.each([
    ['', 'BEGIN UPDATE t SET a = 1; INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 2; RETURN NEW; END'],
    ['', 'DECLARE set int; BEGIN set := 1; END'],
    ['', 'BEGIN SET LOCAL work_mem = 1; SET TRANSACTION READ ONLY; SET CONSTRAINTS ALL IMMEDIATE; END'],
    ['', "BEGIN RAISE NOTICE 'set work_mem = 1; listen a'; END"],
    ['', 'BEGIN -- set work_mem = 1\n NULL; /* listen a */ END'],
    ['settings', 'BEGIN SET work_mem = 1; END'],
    ['settings', 'BEGIN IF a THEN SET work_mem = 1; ELSE NULL; END IF; END'],
    ['settings', 'BEGIN <<here>> SET work_mem = 1; END'],
    ['settings', 'BEGIN LOOP RESET ALL; END LOOP; END'],
    ['settings', 'BEGIN SET SESSION AUTHORIZATION x; END'],
    ['settings', 'SELECT 1; SET ROLE x'],
    ['settings', 'BEGIN SET LOCAL app.x = 1; END'],
    ['settings opaque_setting', "BEGIN PERFORM set_config(name, 'x', true); END"],
    ['settings', "BEGIN PERFORM pg_catalog.set_config('work_mem', f(1, ','), false); END"],
    ['', "BEGIN PERFORM set_config('work_mem', f(1, ','), true); END"],
    ['hidden', 'BEGIN EXECUTE $1; END'],
    ['hidden seed opaque_setting', 'BEGIN PERFORM U&"set\\0073eed"(0.5); END'],
    ['hidden definition', 'BEGIN CREATE TABLE x (a int); END'],
    ['hidden temporary', 'SELECT * INTO TEMP x FROM t'],
    ['hidden temporary', 'SELECT * INTO pg_temp.x FROM t'],
    ['hidden temporary', 'SELECT * INTO "pg_temp".x FROM t'],
    ['held_cursor', 'DECLARE c CURSOR WITH HOLD FOR SELECT 1'],
    ['listen', 'BEGIN LISTEN a; END'],
    ['advisory_lock', 'SELECT pg_advisory_lock(1)'],
    ['sequence', "BEGIN NEW.id := nextval('s'); RETURN NEW; END"],
    ['seed', 'BEGIN PERFORM "setseed"(0.5); END'],
    ['seed', 'BEGIN SET seed = 0.5; END'],
    ['library', "BEGIN LOAD 'x'; END"],
    ['prepared_sql', 'SELECT 1; DEALLOCATE a'],
  ])('leaves "%s": %s', (expected, body) => {
    expect(names(body)).toBe(expected);
  });

  test('has the words of its code, not those of its strings and comments', () => {
    const { words, strings } = scanBody(`BEGIN PERFORM f("G", 'h i'); /* j */ END`);
    expect([...words]).toEqual(['begin', 'perform', 'f', 'G', 'end']);
    expect([...(strings?.words ?? [])]).toEqual(['h', 'i']);
  });

  test('is read again in its strings, as deep as they go', () => {
    const { strings } = scanBody(`BEGIN EXECUTE 'DO $$BEGIN PERFORM setseed(0.1); END$$'; END`);
    expect(nameTraces(strings?.strings?.traces ?? 0)).toEqual(['seed']);
  });

  test('names the settings that it sets, wherever they stand, and no others', () => {
    const body = `BEGIN SET app.a = 1; SET LOCAL "App"."B" TO 2; RESET app.z; EXECUTE 'SET app.c = 3';
      PERFORM set_config('app.d', 'app.e', true), current_setting('app.f'); RAISE 'app.g'; END`;
    expect(scanBody(body).customNames).toEqual(['app.a', 'app.b', 'app.d', 'app.c']);
  });

  test('that goes on with a statement in a later string is no statement of its own', () => {
    expect(nameTraces(scanBody("EXECUTE 'UPDATE t' || ' SET ' || c").strings?.traces ?? 0)).toEqual([]);
    expect(nameTraces(scanBody("EXECUTE 'SET ' || c").strings?.traces ?? 0)).toEqual(['settings', 'opaque_setting']);
  });
});

describe('other texts', () => {
  test('are searched for what no question finds', () => {
    const coarse = (text: string): string => nameTraces(scanCoarsely(text).traces).join(' ');
    expect(coarse('nothing at all')).toBe('hidden');
    expect(coarse('x; set local "seed" = 1')).toBe('hidden seed');
    expect(coarse("load 'x'")).toBe('hidden library');
    expect(coarse('the load of it')).toBe('hidden');
    expect(coarse("set_config('a', 1)")).toBe('hidden');
    expect(coarse('set_config(a, 1)')).toBe('hidden opaque_setting');
    expect(scanCoarsely('set a.b = 1; set local "c" . d to 2; set_config(\'e.f\', x); set g.h').customNames).toEqual([
      'e.f',
      'a.b',
      'c.d',
    ]);
  });

  test.each([
    ['hidden', 'plpython3u', 'return plpy.execute("select 1")'],
    ['hidden extension', 'plpython3u', 'GD["x"] = 1'],
    ['hidden definition', 'plpython3u', 'plpy.execute("create table t (a int)")'],
    ['hidden extension', 'plperl', '$_SHARED{x} = 1'],
    ['hidden', 'plperl', 'my $x = 1'],
    ['hidden extension', 'plv8', 'return 1'],
  ])('leave "%s" in %s: %s', (expected, language, body) => {
    expect(nameTraces(scanForeignBody(body, language).traces).join(' ')).toBe(expected);
  });
});

describe('built-ins', () => {
  test('that leave something are none that only read', () => {
    for (const name of LEAVING_NAMES) expect([name, builtinTraces(name) === 0]).toEqual([name, false]);
  });

  test('are told from names that nobody knows', () => {
    expect(builtinTraces('now')).toBe(0);
    expect(builtinTraces('pg_reload_conf')).toBe(0);
    expect(builtinTraces('no_such_function')).toBeNull();
    expect(classOfFunction(['no_such_function'])).toBe('unknown');
  });
});
