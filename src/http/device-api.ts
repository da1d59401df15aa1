/**
 * The paths that devices use: enrol, poll, report. Polls and reports are answered by device-answers.ts, which a server
 * may also ask without this app in between.
 */
import { Hono } from 'hono';
import type { Fleet } from '../core/model/desired.ts';
import type { DeviceRecord } from '../core/model/device.ts';
import type { DeviceId } from '../core/model/ids.ts';
import { type Instant, SECOND } from '../core/model/time.ts';
import type { Store } from '../store/store.ts';
import {
  issueCredential,
  keyChangeProblem,
  verifyCredential,
  verifyEnrolmentToken,
} from '../trust/enrolment.ts';
import type { Keys } from '../trust/keys.ts';
import { thumbprintOf } from '../trust/signing-key.ts';
import { isRevoked, noProgram, revoked } from './caller.ts';
import { type Answer, createDeviceAnswers, type DeviceAnswersOptions } from './device-answers.ts';
import { ENROLMENT_SCHEMA } from './device-schemas.ts';
import { httpDate } from './every-answer.ts';
import { flagsApi } from './flags-api.ts';
import { compileSchema, readJson } from './limits.ts';
import { methodNotAllowed, notFound, problem, tooMany } from './problem.ts';
import type { RateLimit } from './rate-limit.ts';

export interface DeviceApiOptions extends DeviceAnswersOptions {
  readonly fleet: () => Pick<Fleet, 'name' | 'pollIntervalMs'>;
  readonly keys: Keys;
  /** How many attempts to join may fail, of everybody together; absent: any number. */
  readonly refusedRate?: RateLimit;
  readonly store: DeviceAnswersOptions['store'] & Pick<Store, 'useToken'>;
}

const ENROL_BYTES_MAX = 16 * 1024;

export function deviceApi(options: DeviceApiOptions, answers = createDeviceAnswers(options)): Hono {
  const app = new Hono();

  // A device that has no clock of its own sets it by this header; it is the server's clock that judges tokens.
  app.use('/v1/devices/*', async (c, next) => {
    await next();
    c.res.headers.set('Date', httpDate(options.clock.now()));
  });

  app.post('/v1/devices', (c) => enrolAtARate(options, c.req.raw));
  app.all('/v1/devices', (c) => methodNotAllowed(c.req.raw, 'POST'));
  app.get('/v1/devices/:id/manifest', async (c) => {
    const { id } = c.req.param();
    const { authorization, 'if-none-match': ifNoneMatch } = c.req.header();
    return toResponse(await answers.poll({ id, authorization, ifNoneMatch }));
  });
  app.all('/v1/devices/:id/manifest', (c) => methodNotAllowed(c.req.raw, 'GET, HEAD'));
  app.post('/v1/devices/:id/reports', async (c) => {
    const { id } = c.req.param();
    const { authorization } = c.req.header();
    return toResponse(
      await answers.report({ id, authorization, read: (limits) => readJson(c.req.raw, limits) }),
    );
  });
  app.all('/v1/devices/:id/reports', (c) => methodNotAllowed(c.req.raw, 'POST'));
  app.route('/', flagsApi({ ...options, authenticate: answers.authenticate }));

  app.notFound((c) => notFound(c.req.raw));
  app.onError((error) => answers.fault(error));
  return app;
}

function toResponse(answer: Answer | Response): Response {
  if (answer instanceof Response) return answer;
  const headers = new Headers();
  for (let at = 0; at + 1 < answer.headers.length; at += 2) {
    headers.set(String(answer.headers[at]), String(answer.headers[at + 1]));
  }
  return new Response(answer.body, { status: answer.status, headers });
}

// POST /v1/devices

interface EnrolBody {
  readonly publicKey: string;
  readonly id?: string;
  readonly token?: string;
  readonly credential?: string;
  readonly proof?: string;
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
  /** The device says so itself, with the key that it had: only that key is replaced. */
  readonly replaces?: string;
  /** The token's, where only so many may join with it. */
  readonly limit?: { readonly token: string; readonly uses: number; readonly expiresAt: Instant };
}

/** Who guesses is told to wait, and so is, meanwhile, everybody else who wants to join: what is in the fleet goes on. */
async function enrolAtARate(api: DeviceApiOptions, request: Request): Promise<Response> {
  const now = api.clock.now();
  const seconds = api.refusedRate?.wait('', now);
  if (seconds !== undefined) return tooMany('too many attempts to join have failed', seconds);
  const response = await enrol(api, request);
  if (response.status === 403) api.refusedRate?.count('', now);
  return response;
}

async function enrol(api: DeviceApiOptions, request: Request): Promise<Response> {
  const read = await readJson(request, { maxBytes: ENROL_BYTES_MAX, schema: checkEnrolment });
  if (read.kind === 'refused') return read.response;
  const published = api.program();
  if (published === undefined) return noProgram();
  const admission = await admit(api, read.body);
  if (admission instanceof Response) return admission;
  if (isRevoked(published, admission.id)) return revoked(admission.id);

  const now = api.clock.now();
  const { limit } = admission;
  // What comes to nothing uses nothing up.
  if (limit !== undefined && register(await api.store.device(admission.id), admission, now) === undefined)
    return idTaken(admission.id);
  // A request that is repeated is the same use; it is noted before anything comes of it.
  const isFree =
    limit === undefined || (await api.store.useToken({ ...limit, holder: await holderOf(admission), now }));
  if (!isFree) return enrolmentRefused('the token was used by as many devices as may use it');
  const { record, isNew } = await api.intake.submit(admission.id, (before) => {
    const after = register(before, admission, now);
    return { after: after ?? before, result: { record: after, isNew: after !== before } };
  });
  if (record === undefined) return idTaken(admission.id);
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

function idTaken(id: DeviceId): Response {
  return problem('id-taken', {
    detail: `device "${id}" is registered with another key`,
    next: 'enrol under another id, or ask an operator for a token that names this one',
  });
}

/** One device with one key: under another id it would be another device. */
async function holderOf({ id, publicKey }: Admission): Promise<string> {
  return `${id} ${await thumbprintOf(publicKey)}`;
}

/** What the token or the credential allows, or the problem with it. */
async function admit(api: DeviceApiOptions, body: EnrolBody): Promise<Admission | Response> {
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
    const { limit } = result.grant;
    return {
      id,
      publicKey,
      tags,
      rollover: fixed !== undefined,
      ...(limit === undefined ? {} : { limit: { ...limit, expiresAt: result.expiresAt } }),
    };
  }

  if (credential !== undefined && token === undefined) {
    const result = await verifyCredential(api.keys, { credential, fleet });
    if (result.kind === 'refused') return enrolmentRefused(result.message);
    const { id, thumbprint, tags, serial } = result.credential;
    if (wanted !== undefined && wanted !== id) {
      return enrolmentRefused(`the credential is for device "${id}", not "${wanted}"`);
    }
    if (thumbprint === (await thumbprintOf(publicKey)))
      return { id, publicKey, tags, serial, rollover: false };
    if (body.proof === undefined)
      return enrolmentRefused(`the credential of device "${id}" is for another public key`);
    return await admitKeyChange(api, { id, publicKey, thumbprint, proof: body.proof });
  }

  return problem('invalid-body', {
    detail: `expected either token or credential, found ${token === undefined ? 'neither' : 'both'}`,
    next: 'send the token to enrol, or the credential to be registered again',
  });
}

/** A device that takes another key: the one that is registered signs for it. */
async function admitKeyChange(
  { store, fleet, clock }: DeviceApiOptions,
  change: { id: DeviceId; publicKey: string; thumbprint: string; proof: string },
): Promise<Admission | Response> {
  const { id, publicKey, thumbprint, proof } = change;
  const device = await store.device(id);
  if (device === undefined) {
    const next = 'be registered with the key that the credential is for, then change it';
    return problem('unknown-device', { detail: `no device "${id}" is registered`, next });
  }
  const { publicKey: oldKey, tags } = device;
  // Repeated after the answer was lost: it has its new key already.
  if (oldKey === publicKey) return { id, publicKey, tags, rollover: false };
  if (thumbprint !== (await thumbprintOf(oldKey)))
    return enrolmentRefused(`the credential of device "${id}" is for a key that was replaced since`);
  const now = clock.now();
  const untrue = await keyChangeProblem(proof, { fleet: fleet().name, id, publicKey, oldKey, now });
  if (untrue !== undefined) return enrolmentRefused(untrue);
  return { id, publicKey, tags, rollover: false, replaces: oldKey };
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
  const { id, publicKey, tags, serial, rollover, replaces } = admission;
  const version = Math.floor(now / SECOND);
  if (before === undefined) return { id, tags, publicKey, serial: serial ?? 1, enrolledAt: now, version };
  if (before.publicKey === publicKey) return before;
  const mayReplace = rollover || replaces === before.publicKey;
  if (!mayReplace && (serial ?? 0) <= before.serial) return undefined;
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
