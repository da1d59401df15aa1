/**
 * A device's side of the protocol: enrol, poll, ask for flags, report, each once and with its outcome as data. When to poll, whether
 * to try again and what to do with an assignment is the caller's. It talks through a `fetch`, so a real server and an
 * app in the same process look alike.
 */
import type { Clock } from '../clock.ts';
import type { Report, ReportEffect } from '../core/model/device.ts';
import type { DeviceId } from '../core/model/ids.ts';
import { type Instant, MINUTE } from '../core/model/time.ts';
import { type AssignmentRefusal, type VerifiedAssignment, verifyAssignment } from '../trust/assignment.ts';
import { signDeviceToken, TOKEN_LIFETIME_MAX_MS } from '../trust/device-token.ts';
import { signKeyChange } from '../trust/enrolment.ts';
import { type FlagsRefusal, type VerifiedFlags, verifyFlags } from '../trust/flags.ts';
import type { DeviceKey, PublicKeySet } from '../trust/signing-key.ts';

/** Calls are made one after the other: each begins where the last one left the device. */
export interface DeviceClient {
  /**
   * Registers the device: with its credential if it has one, else with the enrolment token. The others do it by
   * themselves where needed. After an assignment or flags were refused for its `unknown-key`, it fetches the keys anew.
   */
  enrol(): Promise<EnrolResult>;
  poll(): Promise<PollResult>;
  flags(): Promise<FlagsAnswer>;
  report(report: Report): Promise<ReportResult>;
  /**
   * Takes another key from now on, which must be kept already: where the answer is lost, it is asked again with the same one.
   */
  changeKey(key: DeviceKey): Promise<EnrolResult>;
  /** What must outlive a restart. Forgetting it costs an enrolment, and the memory of the highest generation. */
  memory(): DeviceMemory | undefined;
}

export interface DeviceClientOptions {
  /** Where the server is, without a trailing slash: `https://tidegate.example`. */
  readonly server: string;
  readonly fleet: string;
  readonly key: DeviceKey;
  /** The id to ask for; without one the token or the server chooses. */
  readonly id?: DeviceId;
  readonly enrolmentToken?: string;
  readonly memory?: DeviceMemory;
  readonly fetch: (url: string, init: RequestInit) => Response | Promise<Response>;
  readonly clock: Clock;
}

export interface DeviceMemory {
  readonly id: DeviceId;
  readonly credential: string;
  readonly assignmentKeys: PublicKeySet;
  /** The highest generation accepted so far. */
  readonly generation: number;
  /** The last assignment accepted, with its entity tag. */
  readonly last?: { readonly etag: string; readonly assignment: VerifiedAssignment };
  /** The last flags accepted: those in force, and the lowest version that may follow them. */
  readonly flags?: { readonly etag?: string; readonly verified: VerifiedFlags };
}

export type EnrolResult =
  | { readonly kind: 'enrolled'; readonly id: DeviceId; readonly pollAfterSeconds: number }
  | Failure;
export type PollResult =
  | { readonly kind: 'assigned'; readonly assignment: Required<VerifiedAssignment> }
  | { readonly kind: 'nothing'; readonly assignment: VerifiedAssignment }
  /** As before: what the last poll that was not `unchanged` said still holds. */
  | { readonly kind: 'unchanged'; readonly assignment: VerifiedAssignment }
  | Failure;
export type FlagsAnswer =
  | { readonly kind: 'flags'; readonly flags: VerifiedFlags }
  | { readonly kind: 'unchanged'; readonly flags: VerifiedFlags }
  | Failure;
export type ReportResult = { readonly kind: 'accepted'; readonly effect: ReportEffect } | Failure;

export type Failure = RefusedByServer | RefusedDocument | Unreachable;

/** Asking again the same way is of no use. */
export interface RefusedByServer {
  readonly kind: 'refused';
  readonly by: 'server';
  /** The problem's code: `revoked`, `token-expired`. `not-enrolled` where there is neither token nor credential. */
  readonly code: string;
  readonly message: string;
  /** By the `Date` header. With `token-expired` or `token-not-yet-valid` the device's clock is wrong: set it to this. */
  readonly serverTime?: Instant;
}

/** The device does not trust what it was served, and keeps to what it had. */
export interface RefusedDocument {
  readonly kind: 'refused';
  readonly by: 'device';
  readonly code: AssignmentRefusal | FlagsRefusal;
  readonly message: string;
}

/** No answer, or none that tells anything: try later. */
export interface Unreachable {
  readonly kind: 'unreachable';
  readonly message: string;
  /** As the server asked. */
  readonly retryAfterSeconds?: number;
}

/** A token that is about to expire is not used any more: it must last until the request has arrived. */
const TOKEN_RENEWAL_MS = MINUTE;

export function createDeviceClient(options: DeviceClientOptions): DeviceClient {
  const { clock, fleet } = options;
  let { key } = options;
  let memory = options.memory;
  let token: { readonly text: string; readonly issuedAt: Instant } | undefined;

  return {
    async enrol() {
      const enrolled = await enrol();
      if (enrolled.kind !== 'enrolled') return enrolled;
      return { kind: 'enrolled', id: enrolled.memory.id, pollAfterSeconds: enrolled.pollAfterSeconds };
    },

    async poll() {
      const sent = await send(({ id, last }) => ({
        path: `/v1/devices/${encodeURIComponent(id)}/manifest`,
        init: { headers: last === undefined ? {} : { 'If-None-Match': last.etag } },
      }));
      return sent.kind === 'answer' ? accept(sent.memory, sent.answer) : sent;
    },

    async flags() {
      const sent = await send(({ id, flags }) => ({
        path: `/v1/devices/${encodeURIComponent(id)}/flags`,
        init: { headers: flags?.etag === undefined ? {} : { 'If-None-Match': flags.etag } },
      }));
      return sent.kind === 'answer' ? acceptFlags(sent.memory, sent.answer) : sent;
    },

    async report(report) {
      const sent = await send(({ id }) => ({
        path: `/v1/devices/${encodeURIComponent(id)}/reports`,
        init: jsonPost(report),
      }));
      if (sent.kind !== 'answer') return sent;
      const effect = parseObject(sent.answer.text)['effect'];
      return isEffect(effect) ? { kind: 'accepted', effect } : unreadable('report', sent.answer);
    },

    async changeKey(next) {
      if (memory === undefined) {
        const message = 'the device is not enrolled; it may enrol with any key';
        return { kind: 'refused', by: 'server', code: 'not-enrolled', message };
      }
      const { id, credential } = memory;
      const { publicKey } = next;
      const proof = await signKeyChange({ fleet, id, publicKey, key: key.private, now: clock.now() });
      const answer = await exchange(options, '/v1/devices', jsonPost({ publicKey, id, credential, proof }));
      if (answer.kind !== 'answer') return answer;
      const enrolment = readEnrolment(answer.text);
      if (enrolment?.identity.id !== id) return unreadable('enrolment', answer);
      key = next;
      token = undefined;
      memory = { ...memory, ...enrolment.identity };
      return { kind: 'enrolled', id, pollAfterSeconds: enrolment.pollAfterSeconds };
    },

    memory: () => memory,
  };

  async function enrol(): Promise<
    { kind: 'enrolled'; memory: DeviceMemory; pollAfterSeconds: number } | RefusedByServer | Unreachable
  > {
    const { enrolmentToken } = options;
    if (memory === undefined && enrolmentToken === undefined) {
      const message = 'the device has neither a credential nor an enrolment token; give it a token';
      return { kind: 'refused', by: 'server', code: 'not-enrolled', message };
    }
    const id = memory?.id ?? options.id;
    const answer = await exchange(
      options,
      '/v1/devices',
      jsonPost({
        publicKey: key.publicKey,
        ...(id === undefined ? {} : { id }),
        ...(memory === undefined ? { token: enrolmentToken } : { credential: memory.credential }),
      }),
    );
    if (answer.kind !== 'answer') return answer;
    const enrolment = readEnrolment(answer.text);
    if (enrolment === undefined || (id !== undefined && enrolment.identity.id !== id)) {
      return unreadable('enrolment', answer);
    }
    const { identity, pollAfterSeconds } = enrolment;
    memory = { generation: 0, ...memory, ...identity };
    return { kind: 'enrolled', memory, pollAfterSeconds };
  }

  /** Sends a request as this device. A server that does not know the device is told who it is, once. */
  async function send(
    request: (memory: DeviceMemory) => { path: string; init: RequestInit },
  ): Promise<{ kind: 'answer'; answer: Answer; memory: DeviceMemory } | RefusedByServer | Unreachable> {
    if (memory !== undefined) {
      const sent = await sendAs(memory);
      if (sent.kind !== 'refused' || sent.code !== 'unknown-device') return sent;
    }
    const enrolled = await enrol();
    return enrolled.kind === 'enrolled' ? sendAs(enrolled.memory) : enrolled;

    async function sendAs(device: DeviceMemory) {
      const { path, init } = request(device);
      const headers = { ...init.headers, Authorization: `Bearer ${await currentToken(device.id)}` };
      const answer = await exchange(options, path, { ...init, headers });
      if (answer.kind === 'refused') token = undefined;
      return answer.kind === 'answer' ? { kind: answer.kind, answer, memory: device } : answer;
    }
  }

  async function currentToken(id: DeviceId): Promise<string> {
    const now = clock.now();
    const age = token === undefined ? Number.POSITIVE_INFINITY : now - token.issuedAt;
    // A negative age: the clock was set back, and the server would find the token to be from the future.
    if (token === undefined || age < 0 || age >= TOKEN_LIFETIME_MAX_MS - TOKEN_RENEWAL_MS) {
      const lifetimeMs = TOKEN_LIFETIME_MAX_MS;
      const text = await signDeviceToken({ id, fleet, privateKey: key.private, now, lifetimeMs });
      token = { text, issuedAt: now };
    }
    return token.text;
  }

  async function accept(device: DeviceMemory, answer: Answer): Promise<PollResult> {
    const now = clock.now();
    if (answer.status === 304) {
      const assignment = device.last?.assignment;
      if (assignment === undefined) return unreadable('poll', answer);
      if (assignment.expiresAt > now) return { kind: 'unchanged', assignment };
      const { last: _last, ...rest } = device;
      memory = rest;
      return expiredUnchanged('an assignment');
    }
    const { assignmentKeys: keys, id, generation: lastGeneration } = device;
    const result = await verifyAssignment(answer.text, { keys, device: id, fleet, now, lastGeneration });
    if (result.kind === 'refused') return { ...result, by: 'device' };

    const { assignment } = result;
    const { etag } = answer;
    const { last: _last, ...rest } = device;
    memory = {
      ...rest,
      generation: assignment.generation,
      ...(etag === undefined ? {} : { last: { etag, assignment } }),
    };
    const { assigned } = assignment;
    return assigned === undefined
      ? { kind: 'nothing', assignment }
      : { kind: 'assigned', assignment: { ...assignment, assigned } };
  }

  function acceptFlags(device: DeviceMemory, answer: Answer): FlagsAnswer {
    const now = clock.now();
    const before = device.flags?.verified;
    if (answer.status === 304) {
      if (before === undefined) return unreadable('request for flags', answer);
      if (before.expiresAt > now) return { kind: 'unchanged', flags: before };
      // What is in force stays so; only the next answer has to be a whole one.
      memory = { ...device, flags: { verified: before } };
      return expiredUnchanged('flags');
    }
    const { etag, text: body, signature } = answer;
    if (signature === undefined) {
      const message = 'the flags came without the header Tidegate-Signature; a proxy may have removed it';
      return { kind: 'refused', by: 'device', code: 'malformed', message };
    }
    const { assignmentKeys: keys, id } = device;
    const lastVersion = before?.version ?? 0;
    const result = verifyFlags({ body, signature }, { keys, device: id, fleet, now, lastVersion });
    if (result.kind === 'refused') return { ...result, by: 'device' };
    const { flags: verified } = result;
    memory = { ...device, flags: { verified, ...(etag === undefined ? {} : { etag }) } };
    return { kind: 'flags', flags: verified };
  }
}

/** A live server renews long before that: somebody replays its answers, or a clock is wrong. */
function expiredUnchanged(what: string): RefusedDocument {
  const message = `the server calls ${what} unchanged that has expired by the device's clock`;
  return { kind: 'refused', by: 'device', code: 'expired', message };
}

interface Answer {
  readonly kind: 'answer';
  readonly status: number;
  readonly etag?: string;
  /** Of a body that is not signed in itself. */
  readonly signature?: string;
  readonly text: string;
}

/** One request and its whole answer. */
async function exchange(
  { server, fetch }: DeviceClientOptions,
  path: string,
  init: RequestInit,
): Promise<Answer | RefusedByServer | Unreachable> {
  let response: Response;
  let text: string;
  try {
    response = await fetch(server + path, init);
    text = await response.text();
  } catch (error) {
    return { kind: 'unreachable', message: `${server} does not answer: ${String(error)}` };
  }
  const { status, headers } = response;
  if (response.ok || status === 304) {
    const etag = headers.get('etag');
    const signature = headers.get('tidegate-signature');
    return {
      kind: 'answer',
      status,
      text,
      ...(etag === null ? {} : { etag }),
      ...(signature === null ? {} : { signature }),
    };
  }
  const { type, detail, next } = parseObject(text);
  const message = typeof detail === 'string' ? `${detail}; ${String(next)}` : `${server} answers ${status}`;
  if (status >= 500 || status === 429) {
    const seconds = Number(headers.get('retry-after') ?? Number.NaN);
    return { kind: 'unreachable', message, ...(seconds > 0 ? { retryAfterSeconds: seconds } : {}) };
  }
  const code = typeof type === 'string' ? type.slice(type.lastIndexOf('/') + 1) : `http-${status}`;
  const serverTime = Date.parse(headers.get('date') ?? '');
  return {
    kind: 'refused',
    by: 'server',
    code,
    message,
    ...(Number.isNaN(serverTime) ? {} : { serverTime }),
  };
}

function jsonPost(body: unknown): RequestInit {
  return { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) };
}

function readEnrolment(
  text: string,
):
  | { identity: Pick<DeviceMemory, 'id' | 'credential' | 'assignmentKeys'>; pollAfterSeconds: number }
  | undefined {
  const { id, credential, assignmentKeys, pollAfterSeconds } = parseObject(text);
  if (typeof id !== 'string' || typeof credential !== 'string' || typeof pollAfterSeconds !== 'number') {
    return undefined;
  }
  if (typeof assignmentKeys !== 'object' || assignmentKeys === null || !('keys' in assignmentKeys))
    return undefined;
  if (!Array.isArray(assignmentKeys.keys)) return undefined;
  return {
    identity: { id: id as DeviceId, credential, assignmentKeys: { keys: assignmentKeys.keys } },
    pollAfterSeconds,
  };
}

/** The JSON object in `text`; an empty one where there is none, so that every member is missing. */
function parseObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {}; // A proxy's page, say.
  }
}

function isEffect(value: unknown): value is ReportEffect {
  return value === 'counted' || value === 'late' || value === 'duplicate';
}

function unreadable(request: string, { status, text }: Answer): Unreachable {
  const found = text.length <= 80 ? text : `${text.slice(0, 80)}…`;
  return {
    kind: 'unreachable',
    message: `the answer to the ${request} (${status}) makes no sense: ${found}`,
  };
}
