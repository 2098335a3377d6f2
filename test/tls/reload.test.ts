// Certificates change while pgweir runs: new connections see the new ones, those that are up stay up, and files that are no
// good change nothing.

import { rmSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { createLog } from '../../src/base/log.ts';
import { CertificateFolder } from '../support/certificate-folder.ts';
import { type Certified, makeAuthority } from '../support/certificates.ts';
import { waitFor } from '../support/deadline.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';
import { spawnWeir, startTestWeir, type TestWeir } from '../support/weir.ts';
import { WireClient } from '../support/wire-client.ts';

const folder = new CertificateFolder();
let postgres: TestPostgres;
let weir: TestWeir | null = null;
let logged = '';

beforeAll(async () => {
  postgres = await startPostgres(folder.postgresTls());
}, 60_000);

afterEach(async () => {
  await weir?.stop();
  weir = null;
  logged = '';
});

afterAll(async () => {
  await postgres.stop();
  folder.remove();
});

function issueFor(name: string): Certified {
  return folder.authority.issue({ commonName: name, dnsNames: [name] });
}

async function start(door: Certified, way: string): Promise<TestWeir> {
  weir = await startTestWeir({
    postgres,
    log: createLog('info', { write: (text: string) => (logged += text) }),
    settings: {
      listen: { tls: folder.listenTls(folder.write('door', door)) },
      targets: { tls: folder.targetsTls('verify-ca', { caFile: way }) },
    },
  });
  return weir;
}

/** The CN that a new client is shown. */
async function readShownName(place: { host: string; port: number }): Promise<unknown> {
  const client = await WireClient.connect({ host: place.host, port: place.port, tls: { negotiation: 'require' } });
  try {
    const certificate: unknown = Reflect.get(client.socket, 'getPeerCertificate').call(client.socket);
    const subject: unknown = Reflect.get(Object(certificate), 'subject');
    return Reflect.get(Object(subject), 'CN');
  } finally {
    client.destroy();
  }
}

async function waitForLog(words: string): Promise<void> {
  await waitFor(
    () => logged.includes(words),
    8_000,
    () => logged,
  );
}

test('a new certificate is shown to new clients; who is in stays in', async () => {
  const { host, port } = await start(issueFor('first'), `${folder.path}/ca.crt`);
  const early = await WireClient.login({ host, port, tls: { negotiation: 'require' } });
  expect(await readShownName({ host, port })).toBe('first');
  folder.write('door', issueFor('second'));
  await waitFor(
    async () => (await readShownName({ host, port })) === 'second',
    8_000,
    () => logged,
  );
  expect(await early.rows('SELECT 1')).toEqual([['1']]);
  await early.end();
  await (await WireClient.login({ host, port, tls: { negotiation: 'require' } })).end();
});

test.each<[string, () => void, string]>([
  [
    "another certificate's key",
    () => folder.writeText('door.key', issueFor('other').key),
    'is not the key of the certificate',
  ],
  ['a file that is no certificate', () => folder.writeText('door.crt', 'nothing\\n'), 'holds no certificate'],
  ['a file that is gone', () => rmSync(`${folder.path}/door.crt`), 'ENOENT'],
])('%s keeps the old certificate in use, and is told', async (_what, spoil, reason) => {
  const { host, port } = await start(issueFor('first'), `${folder.path}/ca.crt`);
  spoil();
  await waitForLog(reason);
  expect(logged).toContain('certificates were not reloaded; the old ones stay in use');
  expect(logged).not.toContain('PRIVATE KEY');
  expect(await readShownName({ host, port })).toBe('first');
  folder.write('door', issueFor('mended'));
  await waitFor(
    async () => (await readShownName({ host, port })) === 'mended',
    8_000,
    () => logged,
  );
});

test('new authorities decide which servers are trusted from then on', async () => {
  const way = folder.writeText('way.crt', folder.authority.cert);
  const place = await start(issueFor('door'), way);
  const early = await WireClient.login(place);
  folder.writeText('way.crt', makeAuthority('stranger').cert);
  await waitForLog('"side":"targets"');
  await expect(WireClient.login(place)).rejects.toMatchObject({ code: '08001' });
  expect(await early.rows('SELECT 1')).toEqual([['1']]);
  await early.end();
  folder.writeText('way.crt', folder.authority.cert);
  await waitFor(
    () => logged.split('"side":"targets"').length === 3,
    8_000,
    () => logged,
  );
  await (await WireClient.login(place)).end();
});

test('a certificate that has expired is used and told; one that has not is not', async () => {
  const place = await start(
    folder.authority.issue({ commonName: 'late', notAfter: new Date(Date.now() - 60_000) }),
    `${folder.path}/ca.crt`,
  );
  expect(logged).toContain('the certificate has expired');
  expect(await readShownName(place)).toBe('late');
  logged = '';
  folder.write('door', issueFor('young'));
  await waitForLog('certificates were read from their files');
  expect(logged).not.toContain('has expired');
});

test('SIGHUP reads the certificates again', async () => {
  folder.write('hup', issueFor('first'));
  const spawned = await spawnWeir({
    postgres,
    configuration: {
      listen: {
        tls: { mode: 'allow', certificate_file: `${folder.path}/hup.crt`, key_file: `${folder.path}/hup.key` },
      },
    },
  });
  try {
    spawned.signal('SIGHUP');
    await waitFor(
      () => spawned.log().includes('certificates were read from their files'),
      8_000,
      () => spawned.log(),
    );
    expect(await readShownName(spawned)).toBe('first');
  } finally {
    await spawned.stop();
  }
});
