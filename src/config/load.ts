// From a settings file, the environment and flags to complete Settings, or to a list of everything that is wrong.

import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { ValidateFunction } from 'ajv';
import settingsSchema from '../../schemas/settings.schema.json' with { type: 'json' };
import { parseUsersFile } from '../auth/users-file.ts';
import { describeError } from '../base/errors.ts';
import { compileSchema } from '../base/schema-check.ts';
import type { DocumentProblem, ValuePath } from '../base/yaml-document.ts';
import { findSchemaProblems, formatProblem, PositionedDocument } from '../base/yaml-document.ts';
import { findContradictions } from './contradictions.ts';
import type { Environment, Override } from './overrides.ts';
import { applyOverrides, findUnknownVariables, listSettingLeaves, readEnvironment, readFlags } from './overrides.ts';
import { buildPoolSettings } from './pool-settings.ts';
import type { RawSettings } from './raw-settings.ts';
import { fillDefaults } from './schema-defaults.ts';
import { trimSecret } from './secrets.ts';
import type { Credential, Settings } from './settings.ts';
import { buildListenTls, buildTargetsTls, type TlsFilePaths } from './tls-settings.ts';
import { complainOfToken } from './token-keeper.ts';

export interface SettingsSources {
  /** Path of the settings file; or `text`, with `source` as its name. Neither: defaults, environment and flags only. */
  readonly file?: string | undefined;
  readonly text?: string | undefined;
  readonly source?: string | undefined;
  readonly environment?: Environment;
  /** Flags, by the path of a setting: `{ 'listen.port': 6433 }`. */
  readonly overrides?: Readonly<Record<string, string | number | boolean>>;
}

/** All that is wrong with the settings as far as they could be read: where the schema fails, no file is looked for. */
export class SettingsError extends Error {
  override readonly name = 'SettingsError';
  readonly problems: readonly DocumentProblem[];

  constructor(problems: readonly DocumentProblem[]) {
    super(problems.map(formatProblem).join('\n'));
    this.problems = problems;
  }
}

/** An allow-all rule document, for a pgweir that is given none. */
const NO_RULES = 'traffic_control: {}\n';

/**
 * Reads and checks the settings. Files (settings, rules, secrets) are read once, here. Throws SettingsError; its
 * problems name file, line, column and path, or the variable or flag that is wrong.
 */
export function loadSettings(sources: SettingsSources): Settings {
  const source = sources.source ?? sources.file ?? 'settings';
  const text = sources.text ?? (sources.file === undefined ? '' : readSettingsFile(sources.file));
  const document = new PositionedDocument(text.trim() === '' ? '{}' : text, source);
  refuse(document.problems);
  const validate = compileSchema<RawSettings>('settings', settingsSchema);
  const isOnlyComments = document.value === null;
  if (!isOnlyComments) refuse(findSchemaProblems(document, validate));
  const leaves = listSettingLeaves(settingsSchema);
  const flags = readFlags(leaves, sources.overrides ?? {});
  refuse(flags.problems);
  const overrides = [...readEnvironment(leaves, sources.environment ?? {}), ...flags.overrides];
  const value = structuredClone(isOnlyComments ? {} : document.value) as Record<string, unknown>;
  applyOverrides(value, overrides);
  const raw = completeSettings(value, overrides, validate);
  const problemAt = (path: ValuePath, message: string): DocumentProblem => locate(document, overrides, path, message);
  refuse(findContradictions(raw, problemAt));
  return new SettingsBuilder(raw, document, sources.file ?? null, overrides).build();
}

/** The rules that stand in a settings file now, or null for none. Throws SettingsError where it cannot be read. */
export function readInlineRules(file: string): string | null {
  const document = new PositionedDocument(readSettingsFile(file), file);
  refuse(document.problems);
  return document.isolateTopLevel('traffic_control');
}

/** `PGWEIR_` variables that name no setting. */
export function listUnknownVariables(environment: Environment): string[] {
  return findUnknownVariables(listSettingLeaves(settingsSchema), environment);
}

/** Resolves paths and reads the files that settings point to; gathers what cannot be read. */
class SettingsBuilder {
  readonly #raw: RawSettings;
  readonly #document: PositionedDocument;
  /** Null for settings that came as text, or from outside any file. */
  readonly #file: string | null;
  readonly #overrides: readonly Override[];
  readonly #problems: DocumentProblem[] = [];

  constructor(raw: RawSettings, document: PositionedDocument, file: string | null, overrides: readonly Override[]) {
    this.#raw = raw;
    this.#document = document;
    this.#file = file;
    this.#overrides = overrides;
  }

  build(): Settings {
    const { listen, targets, auth, limits, pool, admin, health, observations, state_directory, log } = this.#raw;
    const settings: Settings = {
      listen: {
        host: listen.host,
        port: listen.port,
        unixSocketDirectory: listen.unix_socket_directory,
        tls: buildListenTls(listen.tls, this.#tlsPaths(['listen', 'tls'])),
      },
      targets: {
        primary: { name: 'primary', ...targets.primary },
        replicas: targets.replicas.map(({ name, host, port }, index) => ({
          name: name ?? `replica${index + 1}`,
          host,
          port,
        })),
        tls: buildTargetsTls(targets.tls, this.#tlsPaths(['targets', 'tls'])),
      },
      auth: this.#readAuth(auth),
      limits: {
        maxClients: limits.max_clients,
        maxStatementBytes: limits.max_statement_bytes,
        maxAnalyzedBytes: limits.max_analyzed_bytes,
        loginTimeoutMs: limits.login_timeout_ms,
        connectTimeoutMs: limits.connect_timeout_ms,
        drainMs: limits.drain_ms,
        minSigtermDelayMs: limits.min_sigterm_delay_ms,
      },
      pool: buildPoolSettings(pool),
      admin: {
        host: admin.host,
        port: admin.port,
        token: this.#readSecret(['admin', 'token_file'], admin.token_file) ?? admin.token,
        ...(admin.token_file === null
          ? {}
          : { tokenFile: this.#resolvePath(['admin', 'token_file'], admin.token_file) }),
      },
      health: { host: health.host, port: health.port },
      rules: this.#readRules(),
      observations: { maxCells: observations.max_cells, maxDecisions: observations.max_decisions },
      stateDirectory: state_directory === null ? null : this.#resolvePath(['state_directory'], state_directory),
      log: { level: log.level },
    };
    refuse(this.#problems);
    return settings;
  }

  #tlsPaths(section: ValuePath): TlsFilePaths {
    return {
      resolve: (key, file) => (file === null ? null : this.#resolvePath([...section, key], file)),
      refuse: (key, message) => this.#problems.push(this.#problemAt([...section, key], message)),
    };
  }

  #readAuth(auth: RawSettings['auth']): Settings['auth'] {
    const { user, database, text, cache_ms, max_cached_users } = auth.query;
    return {
      mode: auth.mode,
      isRemoteTrustAllowed: auth.allow_remote_trust,
      credentials: auth.credentials.map((credential, index): Credential => {
        const path = ['auth', 'credentials', index, 'password_file'];
        const { password_file } = credential;
        if (password_file === undefined) return { user: credential.user, password: credential.password ?? null };
        const password = this.#readSecret(path, password_file);
        return { user: credential.user, password, passwordFile: this.#resolvePath(path, password_file) };
      }),
      usersFile: this.#readUsersFile(['auth', 'users_file'], auth.users_file),
      query: user === null ? null : { user, database, text, cacheMs: cache_ms, maxCachedUsers: max_cached_users },
      certificateUsers: auth.certificate_users.map((entry) => ({ commonName: entry.common_name, user: entry.user })),
    };
  }

  /** Its problems are named by line, and never show what stands there. */
  #readUsersFile(path: ValuePath, file: string | null): Settings['auth']['usersFile'] {
    if (file === null) return null;
    const resolved = this.#resolvePath(path, file);
    const text = this.#readFile(path, resolved);
    if (text === null) return null;
    for (const { line, message } of parseUsersFile(text).problems)
      this.#problems.push({ message, path: path.join('.'), line, column: 1, source: resolved });
    return { path: resolved, text };
  }

  #readRules(): Settings['rules'] {
    const { file, on_invalid_start: onInvalidStart } = this.#raw.rules;
    if (file !== null) {
      const path = this.#resolvePath(['rules', 'file'], file);
      return { file: path, text: this.#readFile(['rules', 'file'], path) ?? NO_RULES, source: path, onInvalidStart };
    }
    const inline = this.#document.isolateTopLevel('traffic_control');
    const source = inline === null ? 'no rules' : this.#document.source;
    const rules = { file: null, text: inline ?? NO_RULES, source, onInvalidStart };
    return this.#file === null ? rules : { ...rules, settingsFile: resolve(this.#file) };
  }

  #readSecret(path: ValuePath, file: string | null | undefined): string | null {
    if (file === null || file === undefined) return null;
    const text = this.#readFile(path, this.#resolvePath(path, file));
    const secret = text === null ? null : trimSecret(text);
    if (secret !== null) {
      const complaint = path[0] === 'admin' ? complainOfToken(secret) : secret === '' ? 'it is empty' : null;
      if (complaint !== null) this.#problems.push(this.#problemAt(path, complaint));
    }
    return secret;
  }

  /** Paths in the file are relative to the file, paths from the environment and from flags to the working directory. */
  #resolvePath(path: ValuePath, file: string): string {
    const isFromOutside = this.#overrides.some((override) => override.path === path.join('.'));
    const folder = this.#file === null ? '.' : dirname(this.#file);
    return isFromOutside ? resolve(file) : resolve(folder, file);
  }

  #readFile(path: ValuePath, file: string): string | null {
    try {
      return readFileSync(file, 'utf8');
    } catch (error) {
      this.#problems.push(this.#problemAt(path, `cannot be read: ${describeError(error)}`));
      return null;
    }
  }

  #problemAt(path: ValuePath, message: string): DocumentProblem {
    return locate(this.#document, this.#overrides, path, message);
  }
}

function readSettingsFile(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const message = `cannot be read: ${describeError(error)}`;
    throw new SettingsError([{ message, path: '', line: 1, column: 1, source: file }]);
  }
}

/** Fills in the defaults of the schema. What is wrong now can only have come from an override. */
function completeSettings(
  value: Record<string, unknown>,
  overrides: readonly Override[],
  validate: ValidateFunction<RawSettings>,
): RawSettings {
  const merged = new PositionedDocument(JSON.stringify(value), 'settings');
  refuse(
    findSchemaProblems(merged, validate).map((problem) => {
      const override = overrides.findLast((candidate) => candidate.path === problem.path);
      return { ...problem, line: 1, column: 1, source: override?.origin ?? 'settings' };
    }),
  );
  const complete: unknown = value;
  fillDefaults(settingsSchema, complete);
  if (!validate(complete)) throw new Error('the defaults of the settings schema break the schema');
  return complete;
}

/** In the file where the value came from it, else at the variable or flag that gave it. */
function locate(
  document: PositionedDocument,
  overrides: readonly Override[],
  path: ValuePath,
  message: string,
): DocumentProblem {
  const override = overrides.findLast((candidate) => candidate.path === path.join('.'));
  if (override === undefined) return document.problemAt(path, message);
  return { message, path: override.path, line: 1, column: 1, source: override.origin };
}

function refuse(problems: readonly DocumentProblem[]): void {
  if (problems.length > 0) throw new SettingsError(problems);
}
