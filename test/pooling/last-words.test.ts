// A server process that is ended while pgweir itself talks to it: its last words then stand right behind its answer, and come
// in one read with that.

import { connect, createServer, type Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { waitFor } from '../support/deadline.ts';
import { listenOnLoopback } from '../support/loopback.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { ConnectionEnded } from '../support/wire-client.ts';
import { type PoolGround, startPoolGround } from './pool-ground.ts';

const FIELDS = 'SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0';
const LAST_WORDS = Buffer.from(`E\0\0\0\0${FIELDS}`, 'latin1');
LAST_WORDS.writeInt32BE(FIELDS.length + 4, 1);
const READY = Buffer.from('Z\0\0\0\x05I', 'latin1');

interface Ender {
  readonly host: string;
  readonly port: number;
  /** Ends the connection on which pgweir says something with those words in it, behind the answer; once. */
  endBehind(words: string): void;
  /** Ends all that there are now. */
  endAll(): void;
  stop(): Promise<void>;
}

/** Stands between pgweir and a real server. */
async function startEnder(target: { readonly host: string; readonly port: number }): Promise<Ender> {
  const sockets = new Set<Socket>();
  let words: string | null = null;
  const server = createServer({ noDelay: true }, (near) => {
    const far = connect({ host: target.host, port: target.port, noDelay: true });
    let isEnding = false;
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
    }
    near.on('data', (chunk: Buffer) => {
      if (words !== null && chunk.includes(words)) {
        words = null;
        isEnding = true;
      }
      far.write(chunk);
    });
    far.on('data', (chunk: Buffer) => {
      if (!isEnding || !chunk.subarray(-READY.length).equals(READY)) near.write(chunk);
      else {
        near.end(Buffer.concat([chunk, LAST_WORDS]));
        far.destroy();
      }
    });
    near.on('close', () => far.destroy());
    far.on('close', () => near.end());
  });
  return {
    ...(await listenOnLoopback(server, sockets)),
    endBehind(said) {
      words = said;
    },
    endAll() {
      for (const socket of sockets) socket.destroy();
    },
  };
}

const postgres = sharedPostgres();
let ender: Ender | null = null;
let ground: PoolGround | null = null;
afterEach(async () => {
  await ground?.stop();
  await ender?.stop();
  ground = null;
  ender = null;
});

test('behind a login they hold up nobody who has waited for it', async () => {
  ender = await startEnder({ host: postgres.host, port: postgres.primaryPort });
  ground = await startPoolGround(ender, { size: 1 });
  const { wire } = await ground.login();
  await wire.rows('SELECT 1');
  ender.endAll();
  const { pool } = ground;
  await waitFor(
    () => pool().connections.idle === 0,
    5_000,
    () => JSON.stringify(pool()),
  );
  ender.endBehind('database\0');
  await expect(wire.rows('SELECT 1')).rejects.toBeInstanceOf(ConnectionEnded);
  const { wire: next } = await ground.login();
  expect(await next.rows('SELECT 1')).toEqual([['1']]);
  await ground.checkLedger();
});

test('behind what makes a connection ready for a client they only cost that connection', async () => {
  ender = await startEnder({ host: postgres.host, port: postgres.primaryPort });
  ground = await startPoolGround(ender, { size: 1 });
  const { wire: one } = await ground.login();
  const { wire: other } = await ground.login();
  await one.rows("SET work_mem = '5MB'");
  await other.rows('SELECT 1');
  ender.endBehind("'work_mem'");
  expect(await one.rows('SHOW work_mem')).toEqual([['5MB']]);
  expect(await other.rows('SHOW work_mem')).toEqual([['4MB']]);
  await ground.checkLedger();
});
