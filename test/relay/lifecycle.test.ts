// The life of the process as clients and operators see it: real signals to a real process, drains that cut nobody's
// transaction, a second signal, a rule file that changes under it, and ends that leave nothing on the server.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readlinkSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { Agent, get, type IncomingMessage } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { waitFor, withDeadline } from '../support/deadline.ts';
import * as frontend from '../support/frontend-messages.ts';
import { sharedPostgres } from '../support/shared-postgres.ts';
import { readFields } from '../support/transcript.ts';
import { spawnWeir, startTestWeir } from '../support/weir.ts';
import { WireClient } from '../support/wire-client.ts';

const postgres = sharedPostgres();
const DENY = 'traffic_control: { rules: [{ name: no_ones, match: { query_regex: "select 1$" }, action: deny }] }';

async function lastError(client: WireClient): Promise<Record<string, string>> {
  const messages = await client.readUntilEnd();
  client.destroy();
  return readFields(messages.findLast((message) => message.type === 'E')?.body ?? Buffer.alloc(0));
}

/** What a file descriptor of that process is; nothing where it has been closed meanwhile. */
function readFd(pid: number, fd: string): string {
  try {
    return readlinkSync(`/proc/${pid}/fd/${fd}`);
  } catch {
    return '';
  }
}

describe('SIGTERM', () => {
  test('sends idle clients home with 57P01, busy ones after their transaction, and ends 0', async () => {
    const weir = await spawnWeir({ postgres });
    try {
      const idle = await WireClient.login(weir);
      const busy = await WireClient.login(weir);
      await busy.query('BEGIN');
      weir.signal('SIGTERM');
      expect(await lastError(idle)).toMatchObject({ S: 'FATAL', C: '57P01' });
      expect(await busy.rows('SELECT 5')).toEqual([['5']]);
      await expect(WireClient.login(weir)).rejects.toThrow();
      busy.send(frontend.query('COMMIT'));
      const messages = await busy.readUntilReady();
      expect(messages.map((message) => message.type)).toEqual(['C', 'Z']);
      expect(await lastError(busy)).toMatchObject({ C: '57P01' });
      expect(await weir.exit()).toBe(0);
    } finally {
      await weir.stop();
    }
  });

  test('waits no longer than drain_ms', async () => {
    const weir = await spawnWeir({ postgres, configuration: { limits: { drain_ms: 300 } } });
    try {
      const busy = await WireClient.login(weir);
      await busy.query('BEGIN');
      weir.signal('SIGTERM');
      expect(await lastError(busy)).toMatchObject({ S: 'FATAL', C: '57P01' });
      expect(await weir.exit()).toBe(0);
    } finally {
      await weir.stop();
    }
  });

  test('is not ready, but welcomes new clients until min_sigterm_delay_ms is over', async () => {
    const weir = await spawnWeir({ postgres, configuration: { limits: { min_sigterm_delay_ms: 2_500 } } });
    try {
      const early = await WireClient.login(weir);
      weir.signal('SIGTERM');
      await expect.poll(async () => (await fetch(`${weir.healthUrl}/readiness`)).status, { timeout: 2_000 }).toBe(503);
      expect((await fetch(`${weir.healthUrl}/startup`)).status).toBe(200);
      const late = await WireClient.login(weir);
      expect(await late.rows('SELECT 6')).toEqual([['6']]);
      expect(await early.rows('SELECT 7')).toEqual([['7']]);
      expect(await Promise.all([lastError(early), lastError(late)])).toMatchObject([{ C: '57P01' }, { C: '57P01' }]);
      expect(await weir.exit()).toBe(0);
      await expect(WireClient.login(weir)).rejects.toThrow();
    } finally {
      await weir.stop();
    }
  });

  test('sends home at the end of their work who was killed, cancelled while waiting, or has flushed and not synced', async () => {
    const rules = stringify({
      traffic_control: {
        rules: [
          { name: 'slow', match: { query_regex: 'late' }, action: 'kill_after_ms', timeout_ms: 1_500 },
          { name: 'rare', match: { query_regex: 'rare' }, action: 'rate_limit', rate_per_sec: 0.02, wait_ms: 60_000 },
        ],
      },
    });
    const weir = await spawnWeir({ postgres, rules, configuration: { limits: { drain_ms: 60_000 } } });
    try {
      const idle = await WireClient.login(weir);
      const killed = await WireClient.login(weir);
      const waiting = await WireClient.login(weir);
      const flushing = await WireClient.login(weir);
      await waiting.query('SELECT 1 AS rare');
      waiting.send(frontend.query('SELECT 2 AS rare'));
      await waitFor(
        async () => (await (await fetch(`${weir.adminUrl}/sessions?state=waiting`)).text()).includes('"total":1'),
        5_000,
        () => 'nobody waits',
      );
      flushing.send(Buffer.concat([frontend.parse('SELECT 3'), frontend.bind(), frontend.execute(), frontend.flush()]));
      await flushing.readUntil('C');
      killed.send(frontend.query('SELECT pg_sleep(60) AS late'));
      weir.signal('SIGTERM');
      expect(await lastError(idle)).toMatchObject({ C: '57P01' });
      const late = await killed.readUntilReady();
      expect(readFields(late.find((message) => message.type === 'E')?.body ?? Buffer.alloc(0)).C).toBe('57014');
      expect(await lastError(killed)).toMatchObject({ C: '57P01' });
      const list = (await (await fetch(`${weir.adminUrl}/sessions?state=waiting`)).json()) as {
        sessions: { id: number }[];
      };
      await fetch(`${weir.adminUrl}/sessions/${list.sessions[0]?.id}/cancel`, { method: 'POST' });
      expect((await waiting.readUntilReady()).map((message) => message.type)).toEqual(['E', 'Z']);
      expect(await lastError(waiting)).toMatchObject({ C: '57P01' });
      flushing.send(frontend.sync());
      expect((await flushing.readUntilReady()).map((message) => message.type)).toEqual(['Z']);
      expect(await lastError(flushing)).toMatchObject({ C: '57P01' });
      expect(await weir.exit()).toBe(0);
    } finally {
      await weir.stop();
    }
  });

  test('does not cut off what a client has not read yet of the answer to its last statement', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'weir-sock-'));
    const listen = { unix_socket_directory: folder };
    const weir = await spawnWeir({ postgres, configuration: { listen, limits: { drain_ms: 60_000 } } });
    const clients: WireClient[] = [];
    /** Whether pgweir has taken the whole answer of so many rows from the server, though its client reads nothing. */
    const isTaken = async (rows: number): Promise<boolean> => {
      const client = await WireClient.login({ host: folder, port: weir.port });
      clients.push(client);
      client.socket.pause();
      client.send(frontend.query(`SELECT repeat('x', 16000) FROM generate_series(1, ${rows})`));
      for (let turn = 0; turn < 20; turn++) {
        await sleep(25);
        const { sessions } = (await (await fetch(`${weir.adminUrl}/sessions`)).json()) as {
          sessions: { state: string }[];
        };
        if (sessions.at(-1)?.state === 'idle') return true;
      }
      client.destroy();
      clients.pop();
      return false;
    };
    try {
      // The longest of them is taken by no system whole: its end is kept in pgweir.
      let rows = 1;
      while (await isTaken(rows)) rows++;
      weir.signal('SIGTERM');
      await sleep(1_000);
      const answers = clients.map(async (client) => {
        client.socket.resume();
        const messages = await client.readUntilEnd();
        return messages.map(({ type }) => type).join('');
      });
      const whole = clients.map((_, index) => `T${'D'.repeat(index + 1)}CZE`);
      expect(await Promise.all(answers)).toEqual(whole);
      expect(await weir.exit()).toBe(0);
    } finally {
      for (const client of clients) client.destroy();
      await weir.stop();
      await rm(folder, { recursive: true, force: true });
    }
  });

  test('a second one ends it at once', async () => {
    const weir = await spawnWeir({ postgres, configuration: { limits: { drain_ms: 60_000 } } });
    try {
      const busy = await WireClient.login(weir);
      await busy.query('BEGIN');
      weir.signal('SIGTERM');
      await expect.poll(async () => (await fetch(`${weir.healthUrl}/readiness`)).status, { timeout: 5_000 }).toBe(503);
      weir.signal('SIGTERM');
      expect(await weir.exit(5_000)).toBe(0);
      busy.destroy();
    } finally {
      await weir.stop();
    }
  });
});

describe('rules', () => {
  test('come anew from their file when it changes, and on SIGHUP; a bad file keeps the old ones', async () => {
    const weir = await spawnWeir({ postgres });
    const client = await WireClient.login(weir);
    const isRefused = async (): Promise<boolean> => (await client.query('select 1'))[0]?.type === 'E';
    try {
      expect(await isRefused()).toBe(false);
      await writeFile(weir.rulesPath, DENY);
      await waitFor(isRefused, 5_000, () => 'the new rules are not in force');
      await writeFile(weir.rulesPath, 'traffic_control: { rules: [{ name: broken }] }');
      weir.signal('SIGHUP');
      await waitFor(
        () => weir.log().includes('not reloaded'),
        5_000,
        () => weir.log(),
      );
      expect(await isRefused()).toBe(true);
      const metrics = await (await fetch(`${weir.healthUrl}/metrics`)).text();
      expect(metrics).toContain('pgweir_rules_last_reload_successful 0');
    } finally {
      client.destroy();
      await weir.stop();
    }
  });
});

describe('rules that were posted', () => {
  test.each(['SIGKILL', 'SIGTERM'] as const)('are there after a %s right behind the answer', async (signal) => {
    const stateDirectory = await mkdtemp(join(tmpdir(), 'pgweir-state-'));
    const options = { postgres, environment: { PGWEIR_STATE_DIRECTORY: stateDirectory } };
    try {
      const weir = await spawnWeir(options);
      const headers = { 'content-type': 'application/yaml' };
      const answer = await fetch(`${weir.adminUrl}/rules`, { method: 'POST', headers, body: DENY });
      weir.signal(signal);
      expect(answer.status).toBe(200);
      await weir.exit();
      await weir.stop();
      const next = await spawnWeir(options);
      const text = await (await fetch(`${next.adminUrl}/rules`)).text();
      await next.stop();
      expect(text.trim()).toBe(DENY.trim());
    } finally {
      await rm(stateDirectory, { recursive: true, force: true });
    }
  });
});

describe('starts', () => {
  test('rules that are no good end it with 1 and the place of the mistake, before a client could come', async () => {
    const broken = 'traffic_control: { rules: [{ name: broken }] }';
    await expect(spawnWeir({ postgres, rules: broken })).rejects.toThrow(
      /ended at its start: 1\n[\s\S]*rules\.yaml:1:\d+: traffic_control\.rules\[0\]/,
    );
  });

  test('a stale Unix socket is removed, one on which somebody listens is not', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'weir-sock-'));
    const listen = { unixSocketDirectory: folder };
    try {
      const first = await startTestWeir({ postgres, settings: { listen } });
      const path = join(folder, `.s.PGSQL.${first.port}`);
      const second = startTestWeir({
        postgres,
        settings: { listen: { ...listen, host: '127.0.0.2', port: first.port } },
      });
      await expect(second).rejects.toThrow('another process listens on');
      const client = await WireClient.login({ ...first, host: folder });
      expect(await client.rows('SELECT 1')).toEqual([['1']]);
      await client.end();
      await first.stop();
      await leaveStaleSocket(path);
      const third = await startTestWeir({ postgres, settings: { listen: { ...listen, port: first.port } } });
      const again = await WireClient.login({ ...third, host: folder });
      expect(await again.rows('SELECT 1')).toEqual([['1']]);
      await again.end();
      await third.stop();
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

/** As a process leaves it that was killed. */
async function leaveStaleSocket(path: string): Promise<void> {
  const script = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  const child = spawn(process.execPath, ['-e', script], { stdio: 'ignore' });
  await withDeadline(once(child, 'exit'), 10_000, () => 'the process that leaves a socket does not end');
  expect(existsSync(path)).toBe(true);
}

test.skipIf(!existsSync('/usr/bin/prlimit'))(
  'metrics that could not be loaded for want of a file descriptor are there when there are some again',
  async () => {
    const weir = await spawnWeir({ postgres });
    const limitFiles = async (count: number): Promise<void> => {
      const child = spawn('/usr/bin/prlimit', ['--pid', String(weir.pid), `--nofile=${count}:`]);
      await withDeadline(once(child, 'exit'), 5_000, () => 'prlimit does not end');
    };
    // Over a connection that is kept: a new one could not come in.
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const ask = async (path: string): Promise<number | undefined> => {
      const [response] = (await withDeadline(
        once(get(`${weir.healthUrl}${path}`, { agent }), 'response'),
        5_000,
        () => 'no answer',
      )) as [IncomingMessage];
      await once(response.resume(), 'end');
      return response.statusCode;
    };
    try {
      expect(await ask('/liveness')).toBe(200);
      await limitFiles(readdirSync(`/proc/${weir.pid}/fd`).length);
      const idle = await Promise.all(Array.from({ length: 20 }, () => WireClient.connect(weir)));
      await sleep(300);
      expect(await ask('/metrics')).toBe(500);
      for (const client of idle) client.destroy();
      await limitFiles(1_000);
      expect(await ask('/metrics')).toBe(200);
    } finally {
      agent.destroy();
      await weir.stop();
    }
  },
);

describe('ends', () => {
  test('a port that is taken is said, and nothing is left listening', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => taken.once('listening', resolve));
    const address = taken.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    try {
      await expect(startTestWeir({ postgres, settings: { listen: { port } } })).rejects.toThrow(/EADDRINUSE/);
    } finally {
      await new Promise((resolve) => taken.close(resolve));
    }
    const weir = await startTestWeir({ postgres, settings: { listen: { port } } });
    expect(weir.port).toBe(port);
    await weir.stop();
  });

  test('an administrator ends a session: its client hears 57P01, its statement ends on the server', async () => {
    const weir = await startTestWeir({ postgres });
    try {
      const client = await WireClient.login(weir, { parameters: { application_name: 'to be ended' } });
      const other = await WireClient.login(weir);
      client.send(frontend.query('SELECT pg_sleep(60)'));
      const running = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'to be ended' AND state = 'active'";
      await waitFor(
        async () => (await postgres.query(running)).rows.length === 1,
        5_000,
        () => 'it does not run',
      );
      const session = weir.control.sessions().find((candidate) => candidate.applicationName === 'to be ended');
      expect(session).toMatchObject({ state: 'active', statement: 'SELECT pg_sleep(?)', target: 'primary' });
      const answer = await fetch(`${weir.adminUrl}/sessions/${session?.id}`, { method: 'DELETE' });
      expect(answer.ok).toBe(true);
      expect(await lastError(client)).toMatchObject({ S: 'FATAL', C: '57P01' });
      await waitFor(
        async () => (await postgres.query(running)).rows.length === 0,
        5_000,
        () => 'it still runs',
      );
      expect((await fetch(`${weir.adminUrl}/sessions/${session?.id}`, { method: 'DELETE' })).status).toBe(404);
      expect(await other.rows('SELECT 1')).toEqual([['1']]);
      await other.end();
    } finally {
      await weir.stop();
    }
  });

  test('a session that is ended leaves no socket behind, though its client reads nothing', async () => {
    const weir = await spawnWeir({ postgres });
    const countSockets = (): number =>
      readdirSync(`/proc/${weir.pid}/fd`).filter((fd) => readFd(weir.pid, fd).startsWith('socket:')).length;
    try {
      const before = countSockets();
      // More of them than the connections of HTTP that come and go.
      const clients = await Promise.all(Array.from({ length: 8 }, () => WireClient.login(weir)));
      for (const client of clients) {
        client.send(frontend.query("SELECT repeat('x', 1000000) FROM generate_series(1, 100)"));
        await client.readMessage();
        client.socket.pause();
      }
      for (const id of clients.keys()) {
        const answer = await fetch(`${weir.adminUrl}/sessions/${id + 1}`, { method: 'DELETE' });
        expect(answer.ok).toBe(true);
      }
      await waitFor(
        () => countSockets() <= before,
        20_000,
        () => `${countSockets()} sockets, before ${before}`,
      );
      for (const client of clients) client.destroy();
    } finally {
      await weir.stop();
    }
  });

  test('a server process that ends is told once, in its own words, and the next login works', async () => {
    const weir = await startTestWeir({ postgres });
    try {
      const client = await WireClient.login(weir);
      const [[pid] = []] = await client.rows('SELECT pg_backend_pid()');
      await postgres.query(`SELECT pg_terminate_backend(${pid})`);
      const messages = await client.readUntilEnd();
      expect(messages.map((message) => message.type)).toEqual(['E']);
      expect(readFields(messages[0]?.body ?? Buffer.alloc(0))).toMatchObject({ S: 'FATAL', C: '57P01' });
      client.destroy();
      const next = await WireClient.login(weir);
      expect(await next.rows('SELECT 1')).toEqual([['1']]);
      await next.end();
    } finally {
      await weir.stop();
    }
  });
});
