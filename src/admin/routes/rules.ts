// Reading and changing the rules: the active document, posts, mode switches, history and rollback.

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { MAX_DOCUMENT_BYTES, RuleDocumentError } from '../../policy/document.ts';
import type { RuleMode } from '../../policy/rule.ts';
import type { ChangeOutcome, ChangeRequest, RuleVersion } from '../../policy/rule-book.ts';
import { UnknownRuleError, UnknownVersionError } from '../../policy/rule-book.ts';
import type { ControlPlane } from '../control.ts';
import { describeProblems, HttpProblem } from '../problem.ts';

interface ChangeQuery {
  readonly dry_run?: boolean;
  readonly actor?: string;
  readonly reason?: string;
}

/** Who and why stand in the query, as the body of POST /rules is the document itself. */
const CHANGE_QUERY = {
  type: 'object',
  additionalProperties: false,
  properties: {
    dry_run: { description: 'Says what would happen, changes nothing.', type: 'boolean', default: false },
    actor: { description: 'Who asks, for the history.', type: 'string', minLength: 1, maxLength: 200 },
    reason: { description: 'Why, for the history.', type: 'string', maxLength: 1000 },
  },
} as const;

const NAMES = { type: 'array', items: { type: 'string' } } as const;

const CHANGE_ANSWER = {
  description: 'What changed, or with dry_run would change.',
  type: 'object',
  properties: {
    outcome: { type: 'string', enum: ['swapped', 'unchanged', 'dry_run'] },
    version: { type: 'string' },
    previous_version: { type: 'string' },
    epoch: { type: 'integer' },
    diff: {
      type: 'object',
      properties: { added: NAMES, removed: NAMES, changed: NAMES, unchanged: NAMES, settings: NAMES },
    },
    lint: NAMES,
    is_stored: {
      description:
        'Of rules that were swapped in: whether they survive a restart. False without state_directory, and where it cannot be written (the log says why).',
      type: 'boolean',
    },
    live_prepared_statements: { type: 'integer' },
    live_prepared_statements_rejudged: { description: 'How many of them are now judged differently.', type: 'integer' },
  },
} as const;

const PROBLEMS = { '4xx': { $ref: 'Problem#' } } as const;
const IF_MATCH = {
  type: 'object',
  properties: {
    'if-match': { description: 'Only if this version (an ETag of GET /rules) is still active.', type: 'string' },
  },
} as const;
const DOCUMENT_TYPES = [
  'application/yaml',
  'application/x-yaml',
  'text/yaml',
  'text/x-yaml',
  'application/json',
  'text/plain',
];
const MODES = ['enforce', 'observe', 'off'] as const satisfies readonly RuleMode[];

export function addRuleRoutes(server: FastifyInstance, control: ControlPlane): void {
  addReading(server, control);
  addModeSwitch(server, control);
  addHistory(server, control);
  // Scoped, because here alone a JSON body must stay text: only text has lines and columns to tell.
  void server.register((scope, _options, done) => {
    scope.removeContentTypeParser(['application/json', 'text/plain']);
    scope.addContentTypeParser(DOCUMENT_TYPES, { parseAs: 'string' }, (_request, body, parsed) => parsed(null, body));
    addPost(scope, control);
    done();
  });
}

function addReading(server: FastifyInstance, control: ControlPlane): void {
  const schema = {
    tags: ['rules'],
    summary: 'The active rule document, as it was written (YAML) or as plain data (Accept: application/json)',
    response: PROBLEMS,
  };
  server.get('/rules', { schema }, async (request, reply) => {
    const { rules } = control;
    void reply
      .header('etag', formatEtag(rules.version))
      .header('vary', 'accept')
      .header('x-pgweir-epoch', String(rules.active.epoch));
    if (prefersJson(request.headers.accept)) return reply.type('application/json').send(rules.active.document);
    return reply.type('application/yaml').send(trimBlankLines(rules.current.text));
  });
}

function addPost(server: FastifyInstance, control: ControlPlane): void {
  const schema = {
    tags: ['rules'],
    summary: 'Validate a whole rule document (YAML or JSON) and swap it in, all or nothing',
    consumes: DOCUMENT_TYPES,
    querystring: CHANGE_QUERY,
    headers: IF_MATCH,
    response: { 200: CHANGE_ANSWER, ...PROBLEMS },
  };
  server.post<{ Querystring: ChangeQuery }>(
    '/rules',
    { schema, bodyLimit: MAX_DOCUMENT_BYTES },
    async (request, reply) => {
      const text = request.body;
      if (typeof text !== 'string' || text.trim() === '')
        throw new HttpProblem(400, 'the body must be a rule document');
      return change(request, control, (wanted) => control.rules.post(text, 'POST /rules', wanted), reply);
    },
  );
}

function addModeSwitch(server: FastifyInstance, control: ControlPlane): void {
  const schema = {
    tags: ['rules'],
    summary: 'Switch one rule between observe, enforce and off, as a new version',
    params: { type: 'object', properties: { name: { type: 'string' } } },
    querystring: CHANGE_QUERY,
    headers: IF_MATCH,
    body: {
      type: 'object',
      required: ['mode'],
      additionalProperties: false,
      properties: { mode: { type: 'string', enum: MODES } },
    },
    response: { 200: CHANGE_ANSWER, ...PROBLEMS },
  };
  server.patch<{ Params: { name: string }; Querystring: ChangeQuery; Body: { mode: RuleMode } }>(
    '/rules/:name',
    { schema },
    async (request, reply) => {
      const { name } = request.params;
      return change(request, control, (wanted) => control.rules.patchMode(name, request.body.mode, wanted), reply);
    },
  );
}

function addHistory(server: FastifyInstance, control: ControlPlane): void {
  const version = {
    type: 'object',
    properties: {
      version: { type: 'string' },
      epoch: { type: 'integer' },
      at: { type: 'string', format: 'date-time' },
      actor: { type: 'string' },
      reason: { type: ['string', 'null'] },
      source: { type: 'string' },
      is_active: { type: 'boolean' },
      text: { type: 'string' },
    },
  } as const;
  const listSchema = {
    tags: ['rules'],
    summary: 'Versions with time, actor and reason, newest first; with_text adds the documents',
    querystring: {
      type: 'object',
      additionalProperties: false,
      properties: { with_text: { type: 'boolean', default: false } },
    },
    response: { 200: { type: 'object', properties: { versions: { type: 'array', items: version } } }, ...PROBLEMS },
  } as const;
  server.get<{ Querystring: { with_text: boolean } }>('/rules/history', { schema: listSchema }, async (request) => {
    const versions = control.rules.history.map((entry, index, all) => ({
      ...describeVersion(entry),
      is_active: index === all.length - 1,
      ...(request.query.with_text ? { text: trimBlankLines(entry.text) } : {}),
    }));
    return { versions: versions.reverse() };
  });
  const rollbackSchema = {
    tags: ['rules'],
    summary: 'Go back to a version of the history, or by a number of steps (default 1)',
    querystring: CHANGE_QUERY,
    headers: IF_MATCH,
    body: {
      type: ['object', 'null'],
      additionalProperties: false,
      properties: { version: { type: 'string' }, steps: { type: 'integer', minimum: 1 } },
    },
    response: { 200: CHANGE_ANSWER, ...PROBLEMS },
  } as const;
  server.post<{ Querystring: ChangeQuery; Body: { version?: string; steps?: number } | null | undefined }>(
    '/rules/rollback',
    { schema: rollbackSchema },
    async (request, reply) => {
      const { version: wantedVersion, steps } = request.body ?? {};
      if (wantedVersion !== undefined && steps !== undefined)
        throw new HttpProblem(400, 'version and steps exclude each other');
      return change(request, control, (wanted) => control.rules.rollback(wantedVersion ?? steps ?? 1, wanted), reply);
    },
  );
}

/** Runs one change of the rule book and words its outcome, or throws the HttpProblem that says why not. */
async function change(
  request: FastifyRequest<{ Querystring: ChangeQuery }>,
  control: ControlPlane,
  run: (wanted: ChangeRequest) => ChangeOutcome,
  reply: { header(name: string, value: string): unknown },
): Promise<Record<string, unknown>> {
  const { query } = request;
  refuseStale(request.headers['if-match'], control.rules.version);
  const isDryRun = query.dry_run === true;
  const actor = query.actor ?? `admin API from ${request.ip}`;
  let outcome: ChangeOutcome;
  try {
    outcome = run({ actor, reason: query.reason ?? null, isDryRun });
  } catch (error) {
    throw translateError(error, control.rules.version);
  }
  reply.header('etag', formatEtag(control.rules.version));
  const isSwapped = outcome.outcome === 'swapped';
  const rejudged = isSwapped ? control.countRejudged?.() : undefined;
  const isStored = await control.rulesKept();
  return {
    outcome: outcome.outcome,
    version: outcome.version,
    previous_version: outcome.previousVersion,
    epoch: outcome.epoch,
    diff: outcome.diff,
    lint: outcome.lint,
    ...(isSwapped ? { is_stored: isStored } : {}),
    ...(rejudged === undefined
      ? {}
      : { live_prepared_statements: rejudged.live, live_prepared_statements_rejudged: rejudged.rejudged }),
  };
}

function translateError(error: unknown, activeVersion: string): unknown {
  if (error instanceof RuleDocumentError) {
    const detail = 'the rule document is not valid; the active rules stay in force';
    return new HttpProblem(422, detail, { active_version: activeVersion, problems: describeProblems(error.problems) });
  }
  if (error instanceof UnknownRuleError || error instanceof UnknownVersionError)
    return new HttpProblem(404, error.message);
  return error;
}

/** If-Match by strong comparison (RFC 9110, 13.1.1): `*`, or a list of ETags of which one is the active version. */
function refuseStale(ifMatch: string | undefined, activeVersion: string): void {
  if (ifMatch === undefined || ifMatch.trim() === '*') return;
  const isListed = ifMatch.split(',').some((tag) => tag.trim() === formatEtag(activeVersion));
  if (isListed) return;
  throw new HttpProblem(412, `If-Match names ${ifMatch}, but the active version is ${activeVersion}`, {
    active_version: activeVersion,
  });
}

function formatEtag(version: string): string {
  return `"${version}"`;
}

/** JSON where it is named and YAML is not named before it; browsers and curl (`*` `/` `*`) get YAML. */
function prefersJson(accept: string | undefined): boolean {
  const wanted = accept ?? '';
  const jsonAt = wanted.search(/application\/json/i);
  const yamlAt = wanted.search(/yaml/i);
  return jsonAt >= 0 && (yamlAt < 0 || jsonAt < yamlAt);
}

function describeVersion(entry: RuleVersion): Record<string, unknown> {
  const { version, epoch, atMs, actor, reason, source } = entry;
  return { version, epoch, at: new Date(atMs).toISOString(), actor, reason, source };
}

/** Rules that stood in a settings file come with blanks where the rest of the file was. */
function trimBlankLines(text: string): string {
  return `${text.replace(/^(?:[ \t]*\r?\n)+/, '').trimEnd()}\n`;
}
