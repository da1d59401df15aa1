/**
 * The server's description, OpenAPI 3.1: every route, every answer. Tests hold it against the routes of the app and
 * against what the app really answers. Answers may gain members; clients ignore those that they do not know.
 */
import { Hono } from 'hono';
import { DEVICE_ID_PATTERN } from '../core/model/ids.ts';
import { DEVICE_STATUSES, ROLLOUT_STATES } from '../core/status.ts';
import { ENROLMENT_SCHEMA, REPORT_SCHEMA } from './device-schemas.ts';
import { OBSERVATION_SCHEMA, OBSERVATIONS_MAX } from './observation-schemas.ts';
import { DEVICES_LIMIT, SCANNED_MAX } from './operator-api.ts';
import { SELECTION_SCHEMA } from './selection-schema.ts';

/** As much of OpenAPI 3.1 as is used here. */
export interface OpenApiDocument {
  readonly openapi: '3.1.0';
  readonly info: {
    readonly title: string;
    readonly version: string;
    readonly summary: string;
    readonly license: { readonly name: string; readonly identifier: string };
  };
  readonly tags: readonly { readonly name: string; readonly description: string }[];
  readonly paths: Readonly<Record<string, PathItem>>;
  readonly components: {
    readonly schemas: Readonly<Record<string, Schema>>;
    readonly securitySchemes: Readonly<Record<string, Schema>>;
  };
}

type Schema = Readonly<Record<string, unknown>>;
type PathItem = { readonly [Method in 'get' | 'post']?: Operation };

interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly description?: string;
  readonly tags: readonly string[];
  /** Empty: anyone may ask. An empty object among them: the server may have been started without a token. */
  readonly security: readonly Readonly<Record<string, readonly string[]>>[];
  readonly parameters?: readonly Schema[];
  readonly requestBody?: { readonly required: true; readonly content: Content };
  readonly responses: Readonly<Record<string, Answer>>;
}

interface Answer {
  readonly description: string;
  readonly headers?: Readonly<Record<string, Schema>>;
  readonly content?: Content;
}

type Content = Readonly<Record<string, { readonly schema: Schema }>>;

export function openapi(): Hono {
  const app = new Hono();
  app.get('/openapi.json', () =>
    Response.json(openApiDocument, { headers: { 'Cache-Control': 'no-cache' } }),
  );
  return app;
}

// Schemas

const ref = (name: string): Schema => ({ $ref: `#/components/schemas/${name}` });
const arrayOf = (items: Schema): Schema => ({ type: 'array', items });
const orNull = (schema: Schema): Schema => ({ anyOf: [schema, { type: 'null' }] });
const mapOf = (values: Schema): Schema => ({ type: 'object', additionalProperties: values });

/** Members are required, except for those in `optional`. */
function object(
  properties: Readonly<Record<string, Schema>>,
  optional: Readonly<Record<string, Schema>> = {},
): Schema {
  return { type: 'object', required: Object.keys(properties), properties: { ...properties, ...optional } };
}

const TEXT = { type: 'string' };
const BOOLEAN = { type: 'boolean' };
const COUNT = { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER };
const POSITIVE = { type: 'integer', minimum: 1 };
const AMOUNT = { type: 'number', minimum: 0 };
const INSTANT = { type: 'string', format: 'date-time', examples: ['2026-11-21T08:00:00Z'] };
const OID = { type: 'string', pattern: '^[0-9a-f]{40}$' };
const REVISION = {
  type: 'string',
  pattern: '^sha256:[0-9a-f]{64}$',
  description: 'Digest of the manifest in canonical JSON.',
};
const SCORE = { type: 'string', pattern: '^[0-9a-f]{16}$' };
const DEVICE_ID = { type: 'string', pattern: DEVICE_ID_PATTERN.source };
const JWS = { type: 'string', maxLength: 12_288, description: 'A compact JWS.' };
const SIGNAL = REPORT_SCHEMA.properties.signals.additionalProperties;
const STATES_OF_ROLLOUT = { enum: ROLLOUT_STATES };
const STAGE_STATE = { enum: ['scheduled', 'running', 'passed', 'failed'] };
const LABELS = mapOf(TEXT);
const REVERTIBLE = {
  type: 'boolean',
  description:
    'Whether its tag `capability` says `ab`: it keeps the previous version and can go back by itself.',
};

const ASSIGNMENT = object({ rollout: TEXT, attempt: POSITIVE, revision: REVISION, distributionSet: TEXT });

const RESTORED = object(
  { main: { enum: ['pending', 'agrees', 'diverged', 'none'] } },
  {
    knownGood: object({ attempt: POSITIVE, revision: REVISION, snapshot: OID, commit: OID }),
    branch: TEXT,
    pullRequest: { type: 'string', format: 'uri', description: 'What asks people to merge the branch.' },
    commit: OID,
    snapshot: OID,
    completedAt: INSTANT,
    timeToRestoreMs: AMOUNT,
  },
);

const THRESHOLD = {
  oneOf: [
    object({ kind: { const: 'count' }, count: COUNT }),
    object({ kind: { const: 'share' }, share: object({ numerator: COUNT, denominator: POSITIVE }) }),
  ],
};

const GATE_KINDS = [
  'expression',
  'events',
  'metric',
  'share',
  'observations',
  'prometheus',
  'webhook',
  'approval',
];
const GATE_STATE = { enum: ['holds', 'halts', 'missing'] };
const SEVERITY = { enum: ['low', 'moderate', 'high', 'critical'] };
const ROW = {
  type: 'array',
  items: { type: 'number' },
  description:
    'An hour: when it began, in milliseconds since the Unix epoch; incidents and device-hours of devices with the new revision, or the sum and number of a metric; the same of untouched devices.',
};

const ADMISSION = {
  oneOf: [
    object({ kind: { const: 'list' }, scores: arrayOf(SCORE) }, { omitted: COUNT, rampMs: AMOUNT }),
    object(
      { kind: { const: 'upTo' }, score: SCORE },
      { rampFrom: SCORE, rampMs: AMOUNT, also: arrayOf(SCORE) },
    ),
  ],
};

const ROLLOUT = {
  required: {
    name: TEXT,
    labels: LABELS,
    owner: TEXT,
    priority: POSITIVE,
    targetCondition: TEXT,
    distributionSet: TEXT,
    revision: REVISION,
    state: STATES_OF_ROLLOUT,
    reason: { type: 'string', description: 'Why it does not move.' },
    devices: ref('DeviceCounts'),
    stages: arrayOf(ref('Stage')),
    history: arrayOf(ref('Transition')),
    gates: arrayOf(ref('GateStatus')),
    concerns: arrayOf(ref('Concern')),
  },
  optional: {
    runbook: TEXT,
    cause: TEXT,
    attempt: POSITIVE,
    attempted: { type: 'string', description: 'The distribution set of that attempt.' },
    until: { ...INSTANT, description: 'When time alone will change that.' },
    knownGood: object({
      attempt: POSITIVE,
      revision: REVISION,
      distributionSet: TEXT,
      snapshot: OID,
      commit: OID,
    }),
    restored: RESTORED,
    breach: ref('Breach'),
  },
};

const schemas = {
  Problem: object(
    {
      type: { type: 'string', format: 'uri' },
      title: TEXT,
      status: { type: 'integer', minimum: 400, maximum: 599 },
      detail: { type: 'string', description: 'What was found.' },
      next: { type: 'string', description: 'What to do about it.' },
    },
    {
      pointer: { type: 'string', description: 'JSON pointer to the value of the body that is wrong.' },
      expected: TEXT,
      found: TEXT,
      requestId: TEXT,
      reasons: arrayOf(TEXT),
      warnings: arrayOf(TEXT),
    },
  ),
  Status: object(
    {
      fleet: orNull(TEXT),
      snapshot: { ...orNull(OID), description: 'The tree of fleet/ that is in force.' },
      commit: { ...orNull(OID), description: 'The commit it was read from.' },
      head: { ...orNull(OID), description: 'The newest commit of the branch.' },
      headInForce: BOOLEAN,
      problems: { ...arrayOf(ref('DocumentProblem')), description: 'What is wrong at head.' },
      outcomesTip: orNull(OID),
      programVersion: orNull(POSITIVE),
      passedAt: orNull(INSTANT),
      trust: {
        ...orNull(ref('Trust')),
        description: 'What devices verify; null before it was published.',
      },
      devices: object({
        total: COUNT,
        status: object(Object.fromEntries(DEVICE_STATUSES.map((status) => [status, COUNT]))),
        versions: {
          ...arrayOf(object({ name: TEXT, devices: COUNT }, { revision: REVISION })),
          description:
            'What runs, most devices first: distribution sets; `other`, which no attempt had; `unknown`, of whom nothing was heard.',
        },
      }),
      rollouts: arrayOf(ref('Rollout')),
    },
    {
      held: { type: 'string', description: 'Why nothing opens at all.' },
      error: { type: 'string', description: 'Why the last pass failed.' },
    },
  ),
  Trust: object({
    development: {
      type: 'boolean',
      description: 'This server holds every key: whoever has it has the fleet.',
    },
    metadataVersion: POSITIVE,
    rootVersion: POSITIVE,
    nextExpiry: orNull(ref('Expiry')),
    expiring: {
      ...arrayOf(ref('Expiry')),
      description: 'With less than a third of their life left; devices install nothing after that.',
    },
  }),
  Expiry: object({ role: TEXT, expiresAt: INSTANT }),
  DocumentProblem: object({
    file: TEXT,
    line: POSITIVE,
    column: POSITIVE,
    rule: TEXT,
    severity: { enum: ['error', 'warning'] },
    message: TEXT,
  }),
  Rollout: object(ROLLOUT.required, ROLLOUT.optional),
  RolloutWithAttempts: object({ ...ROLLOUT.required, attempts: arrayOf(ref('Attempt')) }, ROLLOUT.optional),
  DeviceCounts: {
    ...object({
      target: COUNT,
      actual: COUNT,
      healthy: COUNT,
      unhealthy: COUNT,
      unknown: COUNT,
      scheduled: COUNT,
    }),
    description:
      'target: matches the condition. actual: not taken by a rollout of higher precedence; the sum of healthy, unhealthy and unknown. scheduled: in no open stage, 0 once the attempt has ended.',
  },
  StageCounts: object({
    pending: COUNT,
    installing: COUNT,
    verifying: COUNT,
    succeeded: COUNT,
    failed: COUNT,
  }),
  Failures: arrayOf(object({ category: TEXT, devices: COUNT })),
  Stage: object(
    {
      name: TEXT,
      state: STAGE_STATE,
      size: TEXT,
      counts: ref('StageCounts'),
      successThreshold: TEXT,
      errorThreshold: TEXT,
      failures: ref('Failures'),
    },
    {
      where: TEXT,
      units: COUNT,
      devices: COUNT,
      openedAt: INSTANT,
      closedAt: INSTANT,
      verdict: ref('Verdict'),
    },
  ),
  Verdict: object({
    at: INSTANT,
    verdict: { enum: ['pass', 'halt', 'undecided'] },
    counts: ref('StageCounts'),
    gates: arrayOf(ref('GateVerdict')),
    failures: ref('Failures'),
    silent: arrayOf(SCORE),
    because: TEXT,
  }),
  Gate: {
    ...object({ name: TEXT, kind: { enum: GATE_KINDS } }, { expression: TEXT }),
    description:
      'As an open stage is judged by it; what else there is depends on its kind, and durations are milliseconds.',
  },
  GateVerdict: {
    oneOf: [
      object({ name: TEXT, expression: TEXT, holds: COUNT, fails: COUNT, missing: COUNT }),
      object(
        { name: TEXT, state: GATE_STATE, because: TEXT },
        {
          ratio: AMOUNT,
          logEvidence: { type: 'number' },
          previous: { type: 'number' },
          rows: arrayOf(ROW),
          before: arrayOf(ROW),
          counts: arrayOf(COUNT),
          observations: arrayOf({ type: 'array', items: { type: 'number' } }),
          samples: arrayOf(object({ at: INSTANT, kind: { enum: ['value', 'verdict', 'trouble'] } })),
        },
      ),
    ],
  },
  GateStatus: object(
    { name: TEXT, stage: TEXT, rule: TEXT, state: GATE_STATE, because: TEXT },
    {
      ratio: AMOUNT,
      logEvidence: { type: 'number', description: 'Natural logarithm of the evidence that it is too much.' },
      logLimit: { type: 'number', description: 'From there on it halts.' },
      incidentsToHalt: { ...COUNT, description: 'That many more within the next hour would halt it.' },
      hoursToCertain: {
        ...COUNT,
        description: 'After so many hours of what is normal it is certain that it is not twice as bad.',
      },
    },
  ),
  Breach: object(
    {
      at: INSTANT,
      severity: SEVERITY,
      action: { enum: ['continue', 'monitor', 'pause', 'rollBack'] },
      because: TEXT,
      owner: TEXT,
    },
    {
      gate: TEXT,
      ratio: AMOUNT,
      runbook: TEXT,
      decideBy: INSTANT,
      clusters: arrayOf(object({ tag: TEXT, value: TEXT, failed: COUNT, devices: COUNT })),
    },
  ),
  Concern: object({ at: INSTANT, gate: TEXT, severity: SEVERITY, because: TEXT, reviewBy: INSTANT }),
  Transition: object({ at: INSTANT, state: STATES_OF_ROLLOUT, cause: TEXT }, { stage: TEXT }),
  Attempt: {
    ...object(
      {
        rollout: TEXT,
        attempt: POSITIVE,
        revision: REVISION,
        manifest: ref('Manifest'),
        snapshot: OID,
        commit: OID,
        condition: TEXT,
        createdAt: INSTANT,
        state: STATES_OF_ROLLOUT,
        cause: TEXT,
        stages: arrayOf(ref('StageOutcome')),
        history: arrayOf(ref('Transition')),
        appliedOperations: arrayOf(TEXT),
        learnings: TEXT,
      },
      {
        excluding: TEXT,
        exclude: TEXT,
        breach: ref('Breach'),
        concerns: arrayOf(ref('Concern')),
        restored: RESTORED,
      },
    ),
    description: 'The outcome document, without the seed by which a device could tell where it stands.',
  },
  StageOutcome: object(
    {
      name: TEXT,
      state: STAGE_STATE,
      openedAt: INSTANT,
      epoch: TEXT,
      condition: TEXT,
      unit: TEXT,
      size: TEXT,
      admits: ADMISSION,
      units: COUNT,
      devices: COUNT,
      successThreshold: THRESHOLD,
      errorThreshold: THRESHOLD,
      soakMs: AMOUNT,
      minExposureHours: AMOUNT,
      stuckAfterMs: AMOUNT,
      gates: arrayOf(ref('Gate')),
      alpha: AMOUNT,
    },
    {
      where: TEXT,
      whereDigest: TEXT,
      soakMaxMs: AMOUNT,
      slow: { const: true },
      watch: object({ sinceAt: INSTANT, hourAt: INSTANT, less: mapOf(ROW) }),
      tolerated: COUNT,
      closedAt: INSTANT,
      verdict: ref('Verdict'),
    },
  ),
  Manifest: object(
    { distributionSet: TEXT, product: TEXT, version: TEXT, modules: arrayOf(ref('Module')) },
    { routes: mapOf(TEXT) },
  ),
  Module: object(
    {
      name: TEXT,
      version: TEXT,
      type: TEXT,
      status: { enum: ['running', 'stopped'] },
      restartPolicy: { enum: ['always', 'on-failure', 'on-unhealthy', 'never'] },
    },
    { image: TEXT, registryCredential: TEXT, env: mapOf(TEXT), artifacts: arrayOf(ref('Artifact')) },
  ),
  Artifact: object(
    {
      name: TEXT,
      sha256: { type: 'string', pattern: '^[0-9a-f]{64}$' },
      sizeBytes: COUNT,
      urls: arrayOf(TEXT),
    },
    { securityEpoch: COUNT, hardwareIds: arrayOf(TEXT) },
  ),
  DeviceSummary: object(
    {
      id: DEVICE_ID,
      status: { enum: DEVICE_STATUSES },
      revertible: REVERTIBLE,
      assignment: orNull(ASSIGNMENT),
    },
    {
      reportedAt: INSTANT,
      running: REVISION,
      progress: object(
        {
          rollout: TEXT,
          stage: TEXT,
          state: { enum: ['pending', 'installing', 'verifying', 'succeeded', 'failed'] },
        },
        { category: TEXT },
      ),
    },
  ),
  Device: object(
    {
      id: DEVICE_ID,
      tags: mapOf(TEXT),
      enrolledAt: INSTANT,
      status: { enum: DEVICE_STATUSES },
      revertible: REVERTIBLE,
      assignment: orNull(ASSIGNMENT),
      explanation: object({
        summary: TEXT,
        rollouts: arrayOf(object({ rollout: TEXT, reason: TEXT })),
      }),
    },
    {
      report: object(
        { receivedAt: INSTANT, generation: COUNT, signals: mapOf(SIGNAL), exposureHours: AMOUNT },
        { bootId: TEXT, running: REVISION, attempt: ref('ReportedAttempt') },
      ),
    },
  ),
  Snapshot: object({
    snapshot: OID,
    commit: OID,
    createdAt: INSTANT,
    inForce: BOOLEAN,
    rollouts: arrayOf(
      object({
        rollout: TEXT,
        attempt: POSITIVE,
        state: STATES_OF_ROLLOUT,
        revision: REVISION,
        distributionSet: TEXT,
        knownGood: { type: 'boolean', description: "This is what the rollout's devices go back to." },
      }),
    ),
  }),
  ReportedAttempt: REPORT_SCHEMA.properties.attempt,
  Report: REPORT_SCHEMA,
  Observation: OBSERVATION_SCHEMA,
  Observations: {
    oneOf: [
      ref('Observation'),
      {
        ...object({
          observations: { ...arrayOf(ref('Observation')), minItems: 1, maxItems: OBSERVATIONS_MAX },
        }),
        additionalProperties: false,
      },
    ],
  },
  Selection: object(
    {
      rollout: TEXT,
      commit: TEXT,
      attempt: POSITIVE,
      next: { type: 'boolean', description: 'The attempt has yet to begin.' },
      opened: arrayOf(TEXT),
      seed: {
        enum: ['known', 'given'],
        description: 'given: it holds only if the rollout is given the seed that was sent.',
      },
      matching: { ...COUNT, description: 'Devices that match the rollout and the condition.' },
      units: COUNT,
      devices: COUNT,
      tags: arrayOf(object({ tag: TEXT, value: TEXT, devices: COUNT })),
      refused: arrayOf(
        object({
          because: { enum: ['unknown', 'retired', 'notMatching', 'elsewhere'] },
          devices: COUNT,
          ids: arrayOf(DEVICE_ID),
        }),
      ),
    },
    {
      before: {
        type: 'string',
        description: 'The stage that it would go before; absent: it would be the last.',
      },
      ids: arrayOf(DEVICE_ID),
    },
  ),
  Enrolment: { ...ENROLMENT_SCHEMA, oneOf: [{ required: ['token'] }, { required: ['credential'] }] },
  Enrolled: object({
    id: DEVICE_ID,
    credential: JWS,
    assignmentKeys: object({
      keys: arrayOf(
        object({
          kty: { const: 'OKP' },
          crv: { const: 'Ed25519' },
          x: TEXT,
          alg: { const: 'Ed25519' },
          use: { const: 'sig' },
          kid: TEXT,
        }),
      ),
    }),
    pollAfterSeconds: POSITIVE,
  }),
} satisfies Record<string, Schema>;

// Routes

const json = (description: string, schema: Schema): Answer => ({
  description,
  content: { 'application/json': { schema } },
});

const body = (schema: Schema) => ({ required: true, content: { 'application/json': { schema } } }) as const;

/** Problem documents by status. What every path may answer (500) is among them. */
function problems(byStatus: Readonly<Record<number, string>>): Readonly<Record<string, Answer>> {
  const all = { ...byStatus, 500: 'Tidegate failed.' };
  return Object.fromEntries(
    Object.entries(all).map(([status, description]) => [
      status,
      { description, content: { 'application/problem+json': { schema: ref('Problem') } } },
    ]),
  );
}

const path = (name: string, schema: Schema): Schema => ({ name, in: 'path', required: true, schema });
const query = (name: string, schema: Schema, description: string): Schema => ({
  name,
  in: 'query',
  schema,
  description,
});

const ANYONE = [] as const;
const OPERATOR = [{ apiToken: [] }, {}] as const;
const DEVICE = [{ deviceToken: [] }] as const;
const BAD_TOKEN = 'The API token is missing or wrong.';
const NO_PROGRAM = 'Nothing can be assigned yet.';
const TOO_OFTEN = 'The device polls and reports too often.';
const TOKEN_PROBLEMS = {
  401: 'The device token is missing or does not hold, or the device is not registered.',
  403: "It is another device's path, or the device is revoked.",
} as const;

const paths: OpenApiDocument['paths'] = {
  '/v1/devices': {
    post: {
      operationId: 'enrol',
      summary: 'Enrols a device, or registers it again with its credential',
      tags: ['devices'],
      security: ANYONE,
      requestBody: body(ref('Enrolment')),
      responses: {
        200: json('The device was registered so already.', ref('Enrolled')),
        201: json('The device is enrolled.', ref('Enrolled')),
        ...problems({
          400: 'The body is not what is expected.',
          403: 'The token or credential does not hold, or the device is revoked.',
          409: 'Another key is registered for this id.',
          413: 'The body is too large.',
          415: 'The body is not plain application/json.',
          429: 'Too many attempts to join have failed.',
          503: 'Nothing can be assigned yet, or the store takes no changes.',
        }),
      },
    },
  },
  '/v1/devices/{id}/manifest': {
    get: {
      operationId: 'poll',
      summary: 'What the device is to run',
      description: 'The ETag changes with what is assigned, and at half the life of an assignment.',
      tags: ['devices'],
      security: DEVICE,
      parameters: [
        path('id', DEVICE_ID),
        {
          name: 'If-None-Match',
          in: 'header',
          schema: TEXT,
          description: 'The ETag of the assignment it has.',
        },
      ],
      responses: {
        200: {
          description: 'The assignment, signed.',
          headers: {
            ETag: { schema: TEXT },
            'Tidegate-Generation': {
              schema: COUNT,
              description: 'A device ignores a lower one than it has seen.',
            },
          },
          content: { 'application/jose': { schema: JWS } },
        },
        304: { description: 'The device has it already.' },
        ...problems({ ...TOKEN_PROBLEMS, 429: TOO_OFTEN, 503: NO_PROGRAM }),
      },
    },
  },
  '/v1/devices/{id}/flags': {
    get: {
      operationId: 'flags',
      summary: "The device's feature flags",
      description: 'The ETag changes with the flags, and at half the life of their signature.',
      tags: ['devices'],
      security: DEVICE,
      parameters: [
        path('id', DEVICE_ID),
        {
          name: 'If-None-Match',
          in: 'header',
          schema: TEXT,
          description: 'The ETag of the flags it has.',
        },
      ],
      responses: {
        200: {
          description: 'The flags, with their signature beside them.',
          headers: {
            ETag: { schema: TEXT },
            'Tidegate-Signature': {
              schema: { type: 'string', pattern: '^[A-Za-z0-9_-]+\\.\\.[A-Za-z0-9_-]+$' },
              description:
                'A JWS over the bytes of the body, detached (RFC 7515 appendix F), by an assignment key.',
            },
          },
          content: {
            'application/json': {
              schema: object({
                device_id: DEVICE_ID,
                flags: mapOf({ type: ['boolean', 'number', 'string'] }),
                version: {
                  ...COUNT,
                  description: 'Counts the changes of flags. A device ignores a lower one than it has seen.',
                },
              }),
            },
          },
        },
        304: { description: 'The device has them already.' },
        ...problems({ ...TOKEN_PROBLEMS, 503: NO_PROGRAM }),
      },
    },
  },
  '/v1/devices/{id}/reports': {
    post: {
      operationId: 'report',
      summary: 'Where the device stands',
      description: 'Each report repeats the state. However often one is sent, it counts once.',
      tags: ['devices'],
      security: DEVICE,
      parameters: [path('id', DEVICE_ID)],
      requestBody: body(ref('Report')),
      responses: {
        202: json('The report is durable.', object({ effect: { enum: ['counted', 'late', 'duplicate'] } })),
        ...problems({
          ...TOKEN_PROBLEMS,
          400: 'The body is not what is expected.',
          413: 'The body is too large.',
          415: 'The body is not plain application/json.',
          503: 'Nothing can be assigned yet, or the store takes no changes.',
        }),
      },
    },
  },
  '/v1/observations': {
    post: {
      operationId: 'observe',
      summary: 'Numbers that gates judge by',
      description:
        'All of them are kept, or none. `at` is at most 24 hours ago and 5 minutes ahead, and now unless said. However often an `id` of a metric is sent, it counts once.',
      tags: ['observers'],
      security: [{ observationToken: [] }],
      requestBody: body(ref('Observations')),
      responses: {
        202: json(
          'They are durable.',
          object({
            effects: {
              ...arrayOf({ enum: ['counted', 'duplicate'] }),
              description: 'What became of each, in their order.',
            },
          }),
        ),
        ...problems({
          400: 'The body is not what is expected. Nothing was kept.',
          401: 'The observation token is missing or does not hold.',
          403: 'The token does not name one of the metrics. Nothing was kept.',
          413: 'The body is too large.',
          415: 'The body is not plain application/json.',
          429: 'Too many come with this token.',
          503: 'The fleet is not known yet, or the store takes no changes.',
        }),
      },
    },
  },
  '/webhooks/git': {
    post: {
      operationId: 'push',
      summary: 'Says that the fleet repository has changed',
      description:
        'For the push events of GitHub, Gitea, Forgejo, Bitbucket and GitLab, in their own forms. The body may be anything: it is only checked against its signature. Without a webhook secret the server has no such path.',
      tags: ['forges'],
      security: [{ bodySignature: [] }, { timedSignature: [] }, { gitlabToken: [] }],
      requestBody: { required: true, content: { '*/*': { schema: {} } } },
      responses: {
        202: { description: 'The repository is looked at.' },
        204: { description: 'The delivery only tried the connection, and it works.' },
        ...problems({
          400: 'The body broke off.',
          401: 'The delivery is not signed with the secret, or too long ago.',
          413: 'The body is too large.',
        }),
      },
    },
  },
  '/api/status': {
    get: {
      operationId: 'getStatus',
      summary: 'What is in force, what is broken, and every rollout',
      tags: ['operators'],
      security: OPERATOR,
      responses: {
        200: json('The status as of the last pass.', ref('Status')),
        ...problems({ 401: BAD_TOKEN }),
      },
    },
  },
  '/api/rollouts': {
    get: {
      operationId: 'listRollouts',
      summary: 'The rollouts of the snapshot in force',
      tags: ['operators'],
      security: OPERATOR,
      parameters: [
        query('label', arrayOf({ type: 'string', pattern: '=' }), '`key=value`; of several, all must match.'),
        query('state', STATES_OF_ROLLOUT, 'Only rollouts in this state.'),
      ],
      responses: {
        200: json('In ascending order of name.', object({ rollouts: arrayOf(ref('Rollout')) })),
        ...problems({ 400: 'A parameter is unknown or has no use.', 401: BAD_TOKEN }),
      },
    },
  },
  '/api/rollouts/{name}': {
    get: {
      operationId: 'getRollout',
      summary: 'A rollout with all of its attempts',
      tags: ['operators'],
      security: OPERATOR,
      parameters: [path('name', TEXT)],
      responses: {
        200: json('The rollout.', ref('RolloutWithAttempts')),
        ...problems({ 401: BAD_TOKEN, 404: 'The snapshot in force has no such rollout.' }),
      },
    },
  },
  '/api/rollouts/{name}/selection': {
    post: {
      operationId: 'select',
      summary: 'Whom a stage would take in, were it declared now',
      description:
        'Answered by the counting that opens stages; nothing is changed. The stage would go before the first stage to come that would take in more. Its size is of devices that no stage has taken in; with ids it is for those alone, and each of them must be enrolled, in service and match the rollout, and where.',
      tags: ['operators'],
      security: OPERATOR,
      parameters: [path('name', TEXT)],
      requestBody: body(SELECTION_SCHEMA),
      responses: {
        200: json('Whom it would take in, or which ids cannot be taken.', ref('Selection')),
        ...problems({
          400: 'The body is not what is expected.',
          401: BAD_TOKEN,
          404: 'The snapshot in force has no such rollout.',
          409: 'The rollout has no seed and none was given, an emergency is under way, or the attempt goes on slowly.',
          413: 'The body is too large.',
          415: 'The body is not plain application/json.',
          429: 'Two others are being worked out.',
          503: NO_PROGRAM,
        }),
      },
    },
  },
  '/api/devices': {
    get: {
      operationId: 'listDevices',
      summary: 'Devices in ascending order of id',
      description: `One request looks at ${SCANNED_MAX.toLocaleString('en')} devices at most: with a filter an answer may hold fewer than limit, even none, and still have a next. The end is where next is absent.`,
      tags: ['operators'],
      security: OPERATOR,
      parameters: [
        query('after', DEVICE_ID, 'The `next` of the answer before.'),
        query(
          'limit',
          { type: 'integer', minimum: 1, maximum: DEVICES_LIMIT.max, default: DEVICES_LIMIT.default },
          'Devices in one answer.',
        ),
        query('status', { enum: DEVICE_STATUSES }, 'Only devices with this status.'),
        query(
          'revertible',
          { enum: ['true', 'false'] },
          'Only devices that can, or cannot, go back by themselves.',
        ),
        query(
          'straggling',
          { enum: ['true', 'false'] },
          'Only devices that do not, or do, run what they are assigned.',
        ),
        query('rollout', TEXT, 'Only devices that match the target condition of this rollout.'),
      ],
      responses: {
        200: json(
          'The devices.',
          object(
            { devices: arrayOf(ref('DeviceSummary')) },
            { next: { ...DEVICE_ID, description: 'There may be more after this one.' } },
          ),
        ),
        ...problems({ 400: 'A parameter is unknown or has no use.', 401: BAD_TOKEN, 503: NO_PROGRAM }),
      },
    },
  },
  '/api/devices/{id}': {
    get: {
      operationId: 'getDevice',
      summary: 'A device, what it gets and why',
      tags: ['operators'],
      security: OPERATOR,
      parameters: [path('id', DEVICE_ID)],
      responses: {
        200: json('The device, with the tags that conditions see.', ref('Device')),
        ...problems({ 401: BAD_TOKEN, 404: 'No such device has enrolled.', 503: NO_PROGRAM }),
      },
    },
  },
  '/api/snapshots': {
    get: {
      operationId: 'listSnapshots',
      summary: 'The snapshots that outcomes name, newest first',
      tags: ['operators'],
      security: OPERATOR,
      responses: {
        200: json('The snapshots.', object({ snapshots: arrayOf(ref('Snapshot')) })),
        ...problems({ 401: BAD_TOKEN }),
      },
    },
  },
  '/api/census': {
    get: {
      operationId: 'takeCensus',
      summary: 'How many devices have which tags',
      description:
        'As the branch `outcomes` has it in `census.json`, counted now; an answer is kept for a minute. Tags with too many values are left out of the cells, and `omitted` says how many they have. It names no device.',
      tags: ['operators'],
      security: OPERATOR,
      responses: {
        200: json(
          'The census.',
          object({
            at: INSTANT,
            devices: COUNT,
            omitted: mapOf(COUNT),
            rates: mapOf(object({ incidents: AMOUNT, deviceHours: AMOUNT })),
            cells: arrayOf(object({ devices: COUNT, tags: mapOf(TEXT) })),
          }),
        ),
        ...problems({ 401: BAD_TOKEN, 503: 'Nothing has been read yet.' }),
      },
    },
  },
  '/api/events': {
    get: {
      operationId: 'listen',
      summary: 'What happens, as server-sent events',
      description:
        'Events: snapshot, problems, decision, restored, diverged, failed, pass, and reset where events were missed for good. Data is a JSON object with `at`.',
      tags: ['operators'],
      security: OPERATOR,
      parameters: [
        { name: 'Last-Event-ID', in: 'header', schema: TEXT, description: 'The last event that was heard.' },
      ],
      responses: {
        200: { description: 'A stream without end.', content: { 'text/event-stream': { schema: TEXT } } },
        ...problems({ 401: BAD_TOKEN, 503: 'As many listen as may.' }),
      },
    },
  },
  '/metrics': {
    get: {
      operationId: 'getMetrics',
      summary: 'Prometheus metrics',
      tags: ['probes'],
      security: OPERATOR,
      responses: {
        200: { description: 'Text exposition format.', content: { 'text/plain': { schema: TEXT } } },
        ...problems({ 401: BAD_TOKEN }),
      },
    },
  },
  '/tuf/metadata/{file}': {
    get: {
      operationId: 'getMetadata',
      summary: 'A file of TUF metadata',
      description:
        'Versioned ones never change. `timestamp.json` is for 30 s, and for a day what it replaces stays there.',
      tags: ['devices'],
      security: ANYONE,
      parameters: [path('file', TEXT)],
      responses: {
        200: json('The file.', { type: 'object' }),
        304: { description: 'The client has it already.' },
        ...problems({ 404: 'It is not published, or not yet.' }),
      },
    },
  },
  '/tuf/targets/artifacts/*': {
    get: {
      operationId: 'getArtifact',
      summary: 'An artifact that TUF metadata lists, or where it is',
      tags: ['devices'],
      security: ANYONE,
      parameters: [{ name: 'Range', in: 'header', schema: TEXT, description: 'One range of bytes.' }],
      responses: {
        200: { description: 'The artifact.', content: { 'application/octet-stream': { schema: TEXT } } },
        206: { description: 'Part of it.', content: { 'application/octet-stream': { schema: TEXT } } },
        304: { description: 'The client has it already.' },
        307: { description: 'This server does not keep it; a mirror does.' },
        ...problems({ 404: 'It is not published.', 416: 'It has no such bytes.' }),
      },
    },
  },
  '/tuf/targets/*': {
    get: {
      operationId: 'getTarget',
      summary: 'A file that TUF metadata lists, with its digest before its name',
      tags: ['devices'],
      security: ANYONE,
      responses: {
        200: json('The file.', { type: 'object' }),
        304: { description: 'The client has it already.' },
        ...problems({ 404: 'It is not published, or not any more.' }),
      },
    },
  },
  '/healthz': {
    get: {
      operationId: 'getHealth',
      summary: 'Whether the process answers',
      tags: ['probes'],
      security: ANYONE,
      responses: { 200: { description: 'It does.', content: { 'text/plain': { schema: TEXT } } } },
    },
  },
  '/readyz': {
    get: {
      operationId: 'getReadiness',
      summary: 'Whether the server follows the repository',
      tags: ['probes'],
      security: ANYONE,
      responses: {
        200: json('It does.', object({ status: { const: 'ready' }, warnings: arrayOf(TEXT) })),
        ...problems({ 503: 'It does not, for these reasons. Polls are still answered by the last program.' }),
      },
    },
  },
  '/openapi.json': {
    get: {
      operationId: 'getDescription',
      summary: 'This document',
      tags: ['probes'],
      security: ANYONE,
      responses: { 200: json('OpenAPI 3.1.', { type: 'object' }) },
    },
  },
};

export const openApiDocument: OpenApiDocument = {
  openapi: '3.1.0',
  info: {
    title: 'Tidegate',
    version: '1',
    summary:
      'Enrols devices, tells them what to run, and shows how rollouts go. Only a commit changes the fleet.',
    license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
  },
  tags: [
    { name: 'devices', description: 'What devices use.' },
    { name: 'operators', description: 'What people and their tools read. Nothing here changes anything.' },
    { name: 'observers', description: 'What others post, for gates to judge by.' },
    { name: 'forges', description: 'What the server that hosts the repository sends.' },
    { name: 'probes', description: 'Health, metrics and this document.' },
  ],
  paths,
  components: {
    schemas,
    securitySchemes: {
      deviceToken: {
        type: 'http',
        scheme: 'bearer',
        bearerFormat: 'JWT',
        description: 'A JWT that the device signs with its key, valid for at most 10 minutes.',
      },
      apiToken: {
        type: 'http',
        scheme: 'bearer',
        description: 'The token that the server was started with, if any.',
      },
      observationToken: {
        type: 'http',
        scheme: 'bearer',
        bearerFormat: 'JWT',
        description:
          'What `tidegate observation token` prints: for the metrics that it names, until it expires.',
      },
      bodySignature: {
        type: 'apiKey',
        in: 'header',
        name: 'X-Hub-Signature-256',
        description:
          '`sha256=` and the HMAC-SHA256 of the body in hexadecimal; also as X-Hub-Signature, or without the prefix as X-Gitea-Signature or X-Forgejo-Signature.',
      },
      timedSignature: {
        type: 'apiKey',
        in: 'header',
        name: 'webhook-signature',
        description: 'As Standard Webhooks says, with webhook-id and webhook-timestamp.',
      },
      gitlabToken: {
        type: 'apiKey',
        in: 'header',
        name: 'X-Gitlab-Token',
        description: 'The secret itself.',
      },
    },
  },
};
