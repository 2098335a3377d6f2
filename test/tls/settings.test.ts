// The TLS sections of the settings: what they become, and how each thing that is wrong with them or with their files is told.

import { afterAll, expect, test } from 'vitest';
import { loadSettings, SettingsError } from '../../src/config/load.ts';
import { CertificateFolder } from '../support/certificate-folder.ts';
import { lockKey, makeAuthority } from '../support/certificates.ts';

const folder = new CertificateFolder();
afterAll(() => folder.remove());

folder.writeText('locked.key', lockKey(folder.server.key, 'secret'));
folder.writeText('other.key', makeAuthority('other').key);
folder.writeText('words.txt', 'no PEM in here\n');
folder.writeText('broken.crt', folder.server.cert.replace('\nMI', '\nAA'));

function problemsOf(text: string): string[] {
  try {
    loadSettings({ file: folder.writeText('pgweir.yaml', text) });
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    return error.problems.map(({ path, message }) => `${path} ${message}`);
  }
  return [];
}

test('paths are relative to the settings file, and what is left out has its default', () => {
  const file = folder.writeText(
    'pgweir.yaml',
    `listen: { tls: { mode: require, certificate_file: server.crt, key_file: server.key, client_ca_file: ca.crt, client_certificate: optional } }
targets: { tls: { mode: verify-full, ca_file: ca.crt, min_version: TLSv1.3, negotiation: direct, server_name: db } }
`,
  );
  const { listen, targets } = loadSettings({ file });
  expect(listen.tls).toEqual({
    mode: 'require',
    certificateFile: `${folder.path}/server.crt`,
    keyFile: `${folder.path}/server.key`,
    clientCaFile: `${folder.path}/ca.crt`,
    clientCertificate: 'optional',
    minVersion: 'TLSv1.2',
  });
  expect(targets.tls).toEqual({
    mode: 'verify-full',
    caFile: `${folder.path}/ca.crt`,
    certificateFile: null,
    keyFile: null,
    negotiation: 'direct',
    minVersion: 'TLSv1.3',
    serverName: 'db',
  });
});

test('verify-full without authorities of its own trusts the public ones', () => {
  expect(problemsOf('targets: { tls: { mode: verify-full } }\n')).toEqual([]);
});

const DOOR = 'mode: allow, certificate_file: server.crt, key_file: server.key';
test.each([
  ['a door without a certificate', 'listen: { tls: { mode: allow } }', 'listen.tls.certificate_file mode allow needs'],
  ['a key alone', 'targets: { tls: { mode: require, key_file: server.key } }', 'targets.tls.key_file there is no cert'],
  [
    'a certificate alone',
    'listen: { tls: { mode: allow, certificate_file: server.crt } }',
    'listen.tls.key_file is needed',
  ],
  [
    'client certificates without authorities',
    `listen: { tls: { ${DOOR}, client_certificate: optional } }`,
    'listen.tls.client_ca_file client_certificate optional needs',
  ],
  [
    'client certificates required of clients without TLS',
    `listen: { tls: { ${DOOR}, client_certificate: require, client_ca_file: ca.crt } }`,
    'listen.tls.client_certificate require needs mode require',
  ],
  [
    'verify-ca without authorities',
    'targets: { tls: { mode: verify-ca } }',
    'targets.tls.ca_file mode verify-ca needs',
  ],
  [
    'authorities that nothing is verified by',
    'targets: { tls: { mode: require, ca_file: ca.crt } }',
    'targets.tls.ca_file mode require verifies nothing',
  ],
  [
    'direct without a must',
    'targets: { tls: { mode: prefer, negotiation: direct } }',
    'targets.tls.negotiation direct leaves no way back',
  ],
  [
    'a key behind a passphrase',
    'listen: { tls: { mode: allow, certificate_file: server.crt, key_file: locked.key } }',
    'listen.tls.key_file is protected by a passphrase',
  ],
  [
    "another certificate's key",
    'listen: { tls: { mode: allow, certificate_file: server.crt, key_file: other.key } }',
    `listen.tls.key_file is not the key of the certificate in ${folder.path}/server.crt`,
  ],
  [
    'a file that is not there',
    'targets: { tls: { mode: verify-ca, ca_file: missing.crt } }',
    'targets.tls.ca_file cannot be read: ENOENT',
  ],
  [
    'no certificate in the file',
    'targets: { tls: { mode: verify-ca, ca_file: words.txt } }',
    'targets.tls.ca_file holds no certificate in PEM form',
  ],
  [
    'no key in the file',
    'listen: { tls: { mode: allow, certificate_file: server.crt, key_file: words.txt } }',
    'listen.tls.key_file holds no private key in PEM form',
  ],
  [
    'a certificate that is none',
    'listen: { tls: { mode: allow, certificate_file: broken.crt, key_file: server.key } }',
    'listen.tls.certificate_file cannot be used',
  ],
  ['a mode of another program', 'targets: { tls: { mode: allow } }', 'targets.tls.mode'],
  ['an old version', `listen: { tls: { ${DOOR}, min_version: TLSv1.1 } }`, 'listen.tls.min_version'],
])('%s is told with its place', (_name, text, expected) => {
  const problems = problemsOf(`${text}\n`);
  expect(problems).toHaveLength(1);
  expect(problems[0]).toContain(expected);
});

test('files are not looked into where TLS is off', () => {
  expect(problemsOf('listen: { tls: { mode: disable, certificate_file: no.crt, key_file: no.key } }\n')).toEqual([]);
});
