// Settings that are each well formed but do not go together, or that would open a door wider than their author may think.

import { isIP } from 'node:net';
import type { DocumentProblem, ValuePath } from '../base/yaml-document.ts';
import { findAuthContradictions } from './auth-contradictions.ts';
import { findPoolContradictions } from './pool-settings.ts';
import type { RawSettings } from './raw-settings.ts';
import { findTlsContradictions } from './tls-settings.ts';
import { complainOfToken } from './token-keeper.ts';

type ProblemAt = (path: ValuePath, message: string) => DocumentProblem;

/** Every contradiction found; empty when the settings hold together. */
export function findContradictions(raw: RawSettings, problemAt: ProblemAt): DocumentProblem[] {
  return [
    ...findOpenDoors(raw, problemAt),
    ...findDoubleAnswers(raw, problemAt),
    ...findSharedNames(raw, problemAt),
    ...findSharedPorts(raw, problemAt),
    ...findLoops(raw, problemAt),
    ...findCrossedBounds(raw, problemAt),
    ...findTlsContradictions(raw, problemAt),
    ...findAuthContradictions(raw, problemAt),
    ...findPoolContradictions(raw, problemAt),
  ];
}

/** 127.0.0.0/8, ::1 (RFC 6890) and the name `localhost`. Any other name may lead anywhere. */
export function isLoopbackHost(host: string): boolean {
  const bare = host.replace(/^\[(.*)\]$/, '$1').toLowerCase();
  if (bare === 'localhost') return true;
  const family = isIP(bare);
  if (family === 4) return bare.startsWith('127.');
  return family === 6 && /^(0{0,4}:){1,7}:?0{0,3}1$/.test(bare);
}

function findOpenDoors(raw: RawSettings, problemAt: ProblemAt): DocumentProblem[] {
  const problems: DocumentProblem[] = [];
  if (raw.auth.mode === 'trust' && !isLoopbackHost(raw.listen.host) && !raw.auth.allow_remote_trust) {
    const message = `trust would let anyone who reaches ${raw.listen.host} log in as any user; listen on loopback, use passthrough, or set auth.allow_remote_trust: true`;
    problems.push(problemAt(['auth', 'mode'], message));
  }
  const hasToken = raw.admin.token !== null || raw.admin.token_file !== null;
  if (!isLoopbackHost(raw.admin.host) && !hasToken) {
    problems.push(
      problemAt(['admin', 'host'], `${raw.admin.host} is not loopback: set admin.token or admin.token_file`),
    );
  }
  const complaint = raw.admin.token === null ? null : complainOfToken(raw.admin.token);
  if (complaint !== null) problems.push(problemAt(['admin', 'token'], complaint));
  return problems;
}

function findDoubleAnswers(raw: RawSettings, problemAt: ProblemAt): DocumentProblem[] {
  const problems: DocumentProblem[] = [];
  if (raw.rules.file !== null && raw.traffic_control !== undefined) {
    problems.push(problemAt(['rules', 'file'], 'there are rules under traffic_control too: keep one of the two'));
  }
  if (raw.rules.on_invalid_start === 'last_good' && raw.state_directory === null) {
    problems.push(
      problemAt(['rules', 'on_invalid_start'], 'the last good rules are kept in state_directory: set it too'),
    );
  }
  if (raw.admin.token !== null && raw.admin.token_file !== null) {
    problems.push(problemAt(['admin', 'token_file'], 'there is a token too: keep one of the two'));
  }
  raw.auth.credentials.forEach((credential, index) => {
    if (credential.password !== undefined && credential.password_file !== undefined) {
      const path = ['auth', 'credentials', index, 'password_file'];
      problems.push(problemAt(path, 'there is a password too: keep one of the two'));
    }
  });
  return problems;
}

function findSharedNames(raw: RawSettings, problemAt: ProblemAt): DocumentProblem[] {
  const problems: DocumentProblem[] = [];
  const names = new Set(['primary']);
  raw.targets.replicas.forEach((replica, index) => {
    const name = replica.name ?? `replica${index + 1}`;
    if (names.has(name))
      problems.push(problemAt(['targets', 'replicas', index, 'name'], `"${name}" names two targets`));
    names.add(name);
  });
  const users = new Set<string>();
  raw.auth.credentials.forEach((credential, index) => {
    if (users.has(credential.user)) {
      problems.push(problemAt(['auth', 'credentials', index, 'user'], `"${credential.user}" has two credentials`));
    }
    users.add(credential.user);
  });
  return problems;
}

function findSharedPorts(raw: RawSettings, problemAt: ProblemAt): DocumentProblem[] {
  const problems: DocumentProblem[] = [];
  const sections = ['listen', 'admin', 'health'] as const;
  sections.forEach((section, index) => {
    const { port } = raw[section];
    const taken = sections.slice(0, index).find((other) => raw[other].port === port && port !== 0);
    if (taken !== undefined) problems.push(problemAt([section, 'port'], `${port} is the port of ${taken} too`));
  });
  return problems;
}

/** A target that is pgweir itself: the first client would make connections until there are no more. */
function findLoops(raw: RawSettings, problemAt: ProblemAt): DocumentProblem[] {
  const { host, port } = raw.listen;
  const isOwn = (target: { readonly host: string; readonly port: number }): boolean =>
    target.port === port && (target.host === host || (isLoopbackHost(target.host) && isReachedByLoopback(host)));
  const problems: DocumentProblem[] = [];
  const message = 'is the address that pgweir itself listens on';
  if (isOwn(raw.targets.primary)) problems.push(problemAt(['targets', 'primary'], message));
  raw.targets.replicas.forEach((replica, index) => {
    if (isOwn(replica)) problems.push(problemAt(['targets', 'replicas', index], message));
  });
  return problems;
}

function isReachedByLoopback(host: string): boolean {
  return isLoopbackHost(host) || host === '0.0.0.0' || host === '::';
}

function findCrossedBounds(raw: RawSettings, problemAt: ProblemAt): DocumentProblem[] {
  const { max_analyzed_bytes, max_statement_bytes } = raw.limits;
  if (max_analyzed_bytes <= max_statement_bytes) return [];
  const message = `${max_analyzed_bytes} is above limits.max_statement_bytes (${max_statement_bytes}), so it would never count`;
  return [problemAt(['limits', 'max_analyzed_bytes'], message)];
}
