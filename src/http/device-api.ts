/**
 * The paths that devices use: enrol, poll, report. A poll is a look-up and a pure function; only
 * an assignment that the device does not have yet costs a signature. Which revision a device gets is `assign`'s to
 * say, and what a report means is said in the model.
 */
import { Hono } from 'hono';
import type { Clock } from '../clock.ts';
import type { Fleet } from '../core/model/desired.ts';
import { applyReport, type DeviceRecord, type Report } from '../core/model/device.ts';
import type { DeviceId, RolloutName } from '../core/model/ids.ts';
import type { Program, ProgramRevision } from '../core/model/program.ts';
import { type Instant, SECOND } from '../core/model/time.ts';
import { IntakeFullError, StoreError } from '../store/errors.ts';
import type { Intake } from '../store/intake.ts';
import type { PublishedProgram, Store } from '../store/store.ts';
import { type AssignmentSigner, assignmentEtag, createAssignmentSigner } from '../trust/assignment.ts';
import {
  createDeviceTokenVerifier,
  type DeviceTokenRefusal,
  type DeviceTokenVerifier,
} from '../trust/device-token.ts';
import { issueCredential, verifyCredential, verifyEnrolmentToken } from '../trust/enrolment.ts';
import { type Keys, thumbprintOf } from '../trust/keys.ts';
import { ENROLMENT_SCHEMA, REPORT_SCHEMA } from './device-schemas.ts';
import { compileSchema, readJson } from './limits.ts';
import { methodNotAllowed, notFound, problem } from './problem.ts';

export interface DeviceApiOptions {
  readonly fleet: () => Pick<Fleet, 'name' | 'pollIntervalMs'>;
  readonly store: Pick<Store, 'device'>;
  readonly intake: Pick<Intake, 'submit'>;
  readonly keys: Keys;
  readonly clock: Clock;
  /** The program in force; undefined before the first one. */
  readonly program: () => PublishedProgram | undefined;
  readonly assign: (program: Program, device: DeviceRecord, now: Instant) => AssignedRevision;
  /** Told of what was answered with 500, or with 503 because the store failed. */
  readonly onFault?: (error: unknown) => void;
}

/** What the poll needs to know of an assignment. */
export type AssignedRevision = (
  | { readonly kind: 'revision'; readonly rollout: RolloutName; readonly revision: ProgramRevision }
  | { readonly kind: 'nothing' }
) & { readonly until?: Instant };

const ENROL_BYTES_MAX = 16 * 1024;
const REPORT_BYTES_MAX = 64 * 1024;
const RETRY_AFTER = { 'Retry-After': '10' };
/** Device tokens whose signature is remembered, at less than 1 KB each. */
const TOKEN_CACHE_SIZE = 100_000;

export function deviceApi(options: DeviceApiOptions): Hono {
  const api: Api = { ...options, trust: trustOfFleet(options) };
  const app = new Hono();

  // A device that has no clock of its own sets it by this header; it is the server's clock that judges tokens.
  app.use('/v1/devices/*', async (c, next) => {
    await next();
    c.res.headers.set('Date', new Date(options.clock.now()).toUTCString());
  });

  app.post('/v1/devices', (c) => enrol(api, c.req.raw));
  app.all('/v1/devices', (c) => methodNotAllowed(c.req.raw, 'POST'));
  app.get('/v1/devices/:id/manifest', (c) => poll(api, c.req.raw, c.req.param('id')));
  app.all('/v1/devices/:id/manifest', (c) => methodNotAllowed(c.req.raw, 'GET, HEAD'));
  app.post('/v1/devices/:id/reports', (c) => report(api, c.req.raw, c.req.param('id')));
  app.all('/v1/devices/:id/reports', (c) => methodNotAllowed(c.req.raw, 'POST'));

  app.notFound((c) => notFound(c.req.raw));
  app.onError((error) => answerFault(error, options.onFault ?? console.error));
  return app;
}

interface Api extends DeviceApiOptions {
  readonly trust: () => FleetTrust;
}

/** What is bound to the fleet's name. */
interface FleetTrust {
  readonly fleet: string;
  readonly tokens: DeviceTokenVerifier;
  readonly signer: AssignmentSigner;
}

/** The name is read from git and may change: then tokens and assignments for the old one no longer hold. */
function trustOfFleet({ fleet, keys, clock }: DeviceApiOptions): () => FleetTrust {
  let current: FleetTrust | undefined;
  return () => {
    const { name } = fleet();
    if (current?.fleet !== name) {
      current = {
        fleet: name,
        tokens: createDeviceTokenVerifier({ fleet: name, clock, cacheSize: TOKEN_CACHE_SIZE }),
        signer: createAssignmentSigner(keys.assignment, { issuer: name }),
      };
    }
    return current;
  };
}

// POST /v1/devices

interface EnrolBody {
  readonly publicKey: string;
  readonly id?: string;
  readonly token?: string;
  readonly credential?: string;
}

const checkEnrolment = compileSchema<EnrolBody>(ENROLMENT_SCHEMA);

/** Who the device will be, as its token or credential says. */
interface Admission {
  readonly id: DeviceId;
  readonly publicKey: string;
  readonly tags: Readonly<Record<string, string>>;
  /** Of the credential that the device presents. */
  readonly serial?: number;
  /** The token is for this id alone: it may give it a new key. */
  readonly rollover: boolean;
}

async function enrol(api: Api, request: Request): Promise<Response> {
  const read = await readJson(request, { maxBytes: ENROL_BYTES_MAX, schema: checkEnrolment });
  if (read.kind === 'refused') return read.response;
  const published = api.program();
  if (published === undefined) return noProgram();
  const admission = await admit(api, read.body);
  if (admission instanceof Response) return admission;
  if (isRevoked(published, admission.id)) return revoked(admission.id);

  const now = api.clock.now();
  const { record, isNew } = await api.intake.submit(admission.id, (before) => {
    const after = register(before, admission, now);
    return { after: after ?? before, result: { record: after, isNew: after !== before } };
  });
  if (record === undefined) {
    return problem('id-taken', {
      detail: `device "${admission.id}" is registered with another key`,
      next: 'enrol under another id, or ask an operator for a token that names this one',
    });
  }
  const { fleet, keys } = api;
  const { id, publicKey, tags, serial } = record;
  const body = {
    id,
    credential: await issueCredential(keys, { fleet: fleet().name, id, publicKey, tags, serial, now }),
    assignmentKeys: { keys: [keys.assignment.publicJwk] },
    pollAfterSeconds: Math.max(1, Math.ceil(fleet().pollIntervalMs / SECOND)),
  };
  return Response.json(body, { status: isNew ? 201 : 200, headers: { 'Cache-Control': 'no-store' } });
}

/** What the token or the credential allows, or the problem with it. */
async function admit(api: Api, body: EnrolBody): Promise<Admission | Response> {
  const { publicKey, token, credential } = body;
  const wanted = body.id as DeviceId | undefined;
  const fleet = api.fleet().name;

  if (token !== undefined && credential === undefined) {
    const result = await verifyEnrolmentToken(api.keys, { token, fleet, now: api.clock.now() });
    if (result.kind === 'refused') return enrolmentRefused(result.message);
    const { tags, id: fixed } = result.grant;
    if (fixed !== undefined && wanted !== undefined && fixed !== wanted) {
      return enrolmentRefused(`the token is for device "${fixed}", not "${wanted}"`);
    }
    // Without a name the key names the device: whoever repeats the request gets the same answer.
    const id = fixed ?? wanted ?? (`device-${await thumbprintOf(publicKey)}` as DeviceId);
    return { id, publicKey, tags, rollover: fixed !== undefined };
  }

  if (credential !== undefined && token === undefined) {
    const result = await verifyCredential(api.keys, { credential, fleet });
    if (result.kind === 'refused') return enrolmentRefused(result.message);
    const { id, thumbprint, tags, serial } = result.credential;
    if (wanted !== undefined && wanted !== id) {
      return enrolmentRefused(`the credential is for device "${id}", not "${wanted}"`);
    }
    if (thumbprint !== (await thumbprintOf(publicKey))) {
      return enrolmentRefused(`the credential of device "${id}" is for another public key`);
    }
    return { id, publicKey, tags, serial, rollover: false };
  }

  return problem('invalid-body', {
    detail: `expected either token or credential, found ${token === undefined ? 'neither' : 'both'}`,
    next: 'send the token to enrol, or the credential to be registered again',
  });
}

/**
 * The record after an enrolment; `before` itself where the device is registered so already, undefined where the id
 * belongs to another key. A credential wins over an older one: its serial says that the key was replaced since.
 */
function register(
  before: DeviceRecord | undefined,
  admission: Admission,
  now: Instant,
): DeviceRecord | undefined {
  const { id, publicKey, tags, serial, rollover } = admission;
  const version = Math.floor(now / SECOND);
  if (before === undefined) return { id, tags, publicKey, serial: serial ?? 1, enrolledAt: now, version };
  if (before.publicKey === publicKey) return before;
  if (!rollover && (serial ?? 0) <= before.serial) return undefined;
  return {
    ...before,
    tags,
    publicKey,
    serial: serial ?? before.serial + 1,
    version: Math.max(before.version + 1, version),
  };
}

function enrolmentRefused(detail: string): Response {
  return problem('enrolment-refused', { detail, next: 'ask an operator for an enrolment token' });
}

// GET /v1/devices/:id/manifest

async function poll(api: Api, request: Request, id: string): Promise<Response> {
  const caller = await authenticate(api, request, id);
  if (caller instanceof Response) return caller;
  const { device, published } = caller;
  const { signer } = api.trust();

  const now = api.clock.now();
  const assignment = api.assign(published.program, device, now);
  const claims = signer.claims({
    device: device.id,
    generation: Math.max(published.version, device.version),
    pollIntervalMs: published.program.pollIntervalMs,
    ...(assignment.kind === 'nothing'
      ? {}
      : { assigned: { ...assignment.revision, rollout: assignment.rollout } }),
    now,
  });
  const etag = assignmentEtag(claims, signer.kid);
  const headers = {
    ETag: etag,
    'Cache-Control': 'private, no-cache',
    'Tidegate-Generation': String(claims.generation),
  };
  if (matchesEtag(request.headers.get('if-none-match'), etag)) {
    return new Response(null, { status: 304, headers });
  }
  return new Response(await signer.sign(claims), {
    headers: { ...headers, 'Content-Type': 'application/jose' },
  });
}

/** RFC 9110 §13.1.2: a list of entity tags, compared weakly, or `*` for any. */
function matchesEtag(ifNoneMatch: string | null, etag: string): boolean {
  if (ifNoneMatch === null) return false;
  if (ifNoneMatch.trim() === '*') return true;
  return ifNoneMatch.matchAll(/"[^"]*"/g).some(([tag]) => tag === etag);
}

// POST /v1/devices/:id/reports

type ReportBody = Omit<Report, 'signals' | 'exposureHours' | 'events'> & Partial<Report>;

const checkReport = compileSchema<ReportBody>(REPORT_SCHEMA);

async function report(api: Api, request: Request, id: string): Promise<Response> {
  // Who it is comes first: a stranger cannot make the server read a body.
  const caller = await authenticate(api, request, id);
  if (caller instanceof Response) return caller;
  const read = await readJson(request, { maxBytes: REPORT_BYTES_MAX, schema: checkReport });
  if (read.kind === 'refused') return read.response;

  const received = fileFailure({ signals: {}, exposureHours: 0, events: {}, ...read.body });
  const now = api.clock.now();
  const effect = await api.intake.submit(caller.device.id, (before) => {
    if (before === undefined) return { after: undefined, result: undefined };
    const applied = applyReport(before, received, now);
    return { after: applied.record, result: applied.effect };
  });
  if (effect === undefined) return unknownDevice(`device "${id}" was removed meanwhile`);
  return Response.json({ effect }, { status: 202, headers: { 'Cache-Control': 'no-store' } });
}

/** A failure that names no category is filed as one all the same, so that it is counted. */
function fileFailure(report: Report): Report {
  const { attempt } = report;
  if (attempt === undefined || attempt.category !== undefined) return report;
  if (attempt.state !== 'failed' && attempt.state !== 'rolledBack') return report;
  return { ...report, attempt: { ...attempt, category: 'uncategorised' } };
}

// Who asks

interface Caller {
  readonly device: DeviceRecord;
  readonly published: PublishedProgram;
}

/**
 * The device that asks for its own documents, or the problem with it. Before the first program neither revocations nor
 * the fleet's name are known, and a token that is fine would be refused for good.
 */
async function authenticate(api: Api, request: Request, id: string): Promise<Caller | Response> {
  const published = api.program();
  if (published === undefined) return noProgram();
  const token = /^Bearer +(\S+) *$/i.exec(request.headers.get('authorization') ?? '')?.[1];
  if (token === undefined) {
    return problem('token-missing', {
      detail: 'expected "Authorization: Bearer <device token>"',
      next: "sign a token with the device's key",
    });
  }
  const result = await api.trust().tokens.verify(token, (claimed) => api.store.device(claimed));
  if (result.kind === 'refused') {
    if (result.code === 'unknown-device') return unknownDevice(result.message);
    return problem(`token-${result.code}`, { detail: result.message, next: TOKEN_NEXT[result.code] });
  }
  const { device } = result;
  if (device.id !== id) {
    return problem('other-device', {
      detail: `the token is device "${device.id}"'s`,
      next: `ask for /v1/devices/${encodeURIComponent(device.id)}`,
    });
  }
  return isRevoked(published, device.id) ? revoked(device.id) : { device, published };
}

const TOKEN_NEXT: Readonly<Record<Exclude<DeviceTokenRefusal, 'unknown-device'>, string>> = {
  malformed: 'sign a JWT with alg Ed25519 and typ tidegate-device+jwt',
  'bad-signature': 'sign with the key that the device enrolled with, or enrol the new key',
  expired: "sign a new token; if that does not help, set the device's clock by the Date header",
  'not-yet-valid': "set the device's clock by the Date header and sign a new token",
  'too-long-lived': 'sign a token with an earlier exp',
  'wrong-audience': "put this fleet's name into aud",
};

function isRevoked({ program: { devices } }: PublishedProgram, id: DeviceId): boolean {
  // An id may be the name of something that every object inherits.
  return Object.hasOwn(devices, id) && devices[id]?.revoked === true;
}

function revoked(id: DeviceId): Response {
  const detail = `device "${id}" is revoked in the fleet's repository`;
  return problem('revoked', { detail, next: 'an operator can take the revocation back with a commit' });
}

function noProgram(): Response {
  return problem('no-program', {
    detail: 'the fleet repository has not been read yet',
    next: 'try again later',
    headers: RETRY_AFTER,
  });
}

function unknownDevice(detail: string): Response {
  const next = 'present the credential to POST /v1/devices, or enrol with a token';
  return problem('unknown-device', { detail, next });
}

function answerFault(error: unknown, onFault: (error: unknown) => void): Response {
  const next = 'try again later';
  if (error instanceof IntakeFullError) {
    return problem('intake-full', { detail: 'nothing was stored', next, headers: RETRY_AFTER });
  }
  onFault(error);
  if (error instanceof StoreError) {
    return problem('store-unavailable', { detail: 'nothing was stored', next, headers: RETRY_AFTER });
  }
  return problem('internal', { detail: "the server's log says more", next });
}
