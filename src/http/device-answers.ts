/**
 * What a device is told that polls or reports, from plain values to plain values: which server asks is of no concern
 * here. device-api.ts asks for the app, direct-route.ts for node's own server.
 *
 * A poll is a look-up while nothing has changed for the device; after a change it is one record and a pure function,
 * and only an assignment that the device does not have yet costs a signature. Which revision a device gets is
 * `assign`'s to say, and what a report means is said in the model.
 */
import type { Clock } from '../clock.ts';
import { receive } from '../core/assign/observe.ts';
import type { Fleet } from '../core/model/desired.ts';
import type { DeviceRecord, Report, ReportEffect } from '../core/model/device.ts';
import type { DeviceId, RolloutName } from '../core/model/ids.ts';
import type { Program, ProgramRevision } from '../core/model/program.ts';
import type { DurationMs, Instant } from '../core/model/time.ts';
import { IntakeFullError, StoreError } from '../store/errors.ts';
import type { Intake } from '../store/intake.ts';
import type { PublishedProgram, Store } from '../store/store.ts';
import { assignmentEtag, createAssignmentSigner, renewalAt } from '../trust/assignment.ts';
import type { Keys } from '../trust/keys.ts';
import { manifestTarget } from '../trust/tuf/content.ts';
import type { RepositoryState } from '../trust/tuf/repository.ts';
import { type Authenticate, boundToName, createAuthenticator, unknownDevice } from './caller.ts';
import { createDeviceMemory, type KeyOfDevice } from './device-memory.ts';
import { REPORT_SCHEMA } from './device-schemas.ts';
import { matchesEtag } from './etag.ts';
import { type BodyLimits, type BodyResult, compileSchema } from './limits.ts';
import { problem, RETRY_LATER, tooMany } from './problem.ts';
import type { RateLimit } from './rate-limit.ts';

export interface DeviceAnswersOptions {
  readonly fleet: () => Pick<Fleet, 'name'>;
  readonly store: Pick<Store, 'device' | 'follow'>;
  readonly intake: Pick<Intake, 'submit'>;
  readonly keys: Pick<Keys, 'assignment'>;
  readonly clock: Pick<Clock, 'now'>;
  /** The program in force; undefined before the first one. One program is one object. */
  readonly program: () => PublishedProgram | undefined;
  /** The TUF repository that is published; undefined before the first one. */
  readonly tuf?: () => Pick<RepositoryState, 'since'> | undefined;
  /** How often a device may report, or poll for what is no look-up; absent: as often as it likes. */
  readonly rate?: RateLimit;
  readonly assign: (program: Program, device: DeviceRecord, now: Instant) => AssignedRevision;
  /** Told of what was answered with 500, or with 503 because the store failed. */
  readonly onFault?: (error: unknown) => void;
}

/** What the poll needs to know of an assignment. */
export type AssignedRevision = (
  | {
      readonly kind: 'revision';
      readonly rollout: RolloutName;
      readonly revision: ProgramRevision;
      readonly installBy?: Instant;
    }
  | { readonly kind: 'nothing' }
) & { readonly until?: Instant; readonly pollIntervalMs?: DurationMs };

/** An answer that is no problem document. */
export interface Answer {
  readonly status: number;
  /** Names and values in turn. Those that every answer has are for the server to add. */
  readonly headers: readonly string[];
  readonly body: string | null;
}

export interface Poll {
  /** As the path names it. */
  readonly id: string;
  readonly authorization: string | undefined;
  readonly ifNoneMatch: string | undefined;
}

export interface SentReport {
  readonly id: string;
  readonly authorization: string | undefined;
  /** Reads the body, once it is known who sends it. */
  readonly read: (limits: BodyLimits<ReportBody>) => Promise<BodyResult<ReportBody>>;
}

export interface DeviceAnswers {
  /** Who asks, for what else a device may read. */
  readonly authenticate: Authenticate;
  /** At once where nothing has changed for the device since it polled last with this token. */
  poll(poll: Poll): Answer | Promise<Answer | Response>;
  /** Resolves when the report is durable. */
  report(report: SentReport): Promise<Answer | Response>;
  /** Answers for an error that was thrown on the way. */
  fault(error: unknown): Response;
  /** Follows the store no longer, and remembers nothing. */
  close(): Promise<void>;
}

export const REPORT_BYTES_MAX = 64 * 1024;

export function createDeviceAnswers(options: DeviceAnswersOptions): DeviceAnswers {
  const { fleet, store, keys, clock, program, intake, onFault = console.error } = options;
  const memory = createDeviceMemory<Assigned>(store.follow);
  const authenticating = createAuthenticator(options);
  const authenticate = authenticating((id) => store.device(id));
  const identify = authenticating(keyOf);
  const signer = boundToName(fleet, (issuer) => createAssignmentSigner(keys.assignment, { issuer }));

  /** Who reports has changed with its last report: only its key is remembered, which is all that it takes to know it. */
  async function keyOf(id: DeviceId): Promise<KeyOfDevice | undefined> {
    const known = memory.key(id);
    if (known !== undefined) return known;
    const begun = memory.begin(id);
    const device = await store.device(id);
    if (device !== undefined) memory.keepKey(begun, device);
    return device;
  }

  /** Whatever is assigned was listed before; a device that has no metadata at all needs some. */
  const listedSince = ({ manifest, revision }: ProgramRevision) =>
    options.tuf?.()?.since[manifestTarget(manifest, revision)] ?? 1;

  /** One device that asks all the time takes nothing from the others. */
  function rateProblem(id: DeviceId, now: Instant): Response | undefined {
    const seconds = options.rate?.wait(id, now);
    if (seconds !== undefined) return tooMany(`device "${id}" polls and reports too often`, seconds);
    options.rate?.count(id, now);
    return undefined;
  }

  async function assignAnew(poll: Poll): Promise<Answer | Response> {
    const begun = memory.begin(poll.id as DeviceId);
    const caller = await authenticate(poll.authorization, poll.id);
    if (caller instanceof Response) return caller;
    const { device, published, tokenUntil } = caller;
    const now = clock.now();
    const tooOften = rateProblem(device.id, now);
    if (tooOften !== undefined) return tooOften;
    const assignment = options.assign(published.program, device, now);
    const claims = signer().claims({
      device: device.id,
      generation: Math.max(published.version, device.version),
      pollIntervalMs: assignment.pollIntervalMs ?? published.program.pollIntervalMs,
      ...(assignment.kind === 'nothing'
        ? {}
        : {
            assigned: {
              ...assignment.revision,
              rollout: assignment.rollout,
              minMetadataVersion: listedSince(assignment.revision),
            },
          }),
      ...('installBy' in assignment ? { installBy: assignment.installBy } : {}),
      now,
    });
    const etag = assignmentEtag(claims, signer().kid);
    const generation = String(claims.generation);
    const isKnown = matchesEtag(poll.ifNoneMatch, etag);
    const body = isKnown ? undefined : signer().sign(claims);
    memory.keepAnswer(begun, String(poll.authorization), {
      device: device.id,
      published,
      from: now,
      until: Math.min(tokenUntil, renewalAt(claims), assignment.until ?? Number.POSITIVE_INFINITY),
      etag,
      generation,
      body,
      sizeBytes: etag.length + (body?.length ?? 0),
    });
    return body === undefined ? unchanged({ etag, generation }) : whole({ etag, generation, body });
  }

  return {
    authenticate,

    poll(poll) {
      const known = poll.authorization === undefined ? undefined : memory.answer(poll.authorization);
      if (known === undefined || !holds(known, { id: poll.id, published: program(), now: clock.now() })) {
        return assignAnew(poll);
      }
      const { etag, generation, body } = known;
      if (matchesEtag(poll.ifNoneMatch, etag)) return unchanged({ etag, generation });
      return body === undefined ? assignAnew(poll) : whole({ etag, generation, body });
    },

    async report({ id, authorization, read }) {
      // Who it is comes first: a stranger cannot make the server read a body.
      const caller = await identify(authorization, id);
      if (caller instanceof Response) return caller;
      const tooOften = rateProblem(caller.device.id, clock.now());
      if (tooOften !== undefined) return tooOften;
      const result = await read({ maxBytes: REPORT_BYTES_MAX, schema: checkReport });
      if (result.kind === 'refused') return result.response;

      const received = fileFailure({ signals: {}, exposureHours: 0, events: {}, ...result.body });
      const now = clock.now();
      const effect = await intake.submit(caller.device.id, (before) => {
        if (before === undefined) return { after: undefined, result: undefined };
        const { record, effect, amounts } = receive(program()?.program, before, received, now);
        return { after: record, result: effect, additions: amounts };
      });
      return effect === undefined ? unknownDevice(`device "${id}" was removed meanwhile`) : ACCEPTED[effect];
    },

    fault(error) {
      const next = 'try again later';
      if (error instanceof IntakeFullError) {
        return problem('intake-full', { detail: 'nothing was stored', next, headers: RETRY_LATER });
      }
      onFault(error);
      if (error instanceof StoreError) {
        return problem('store-unavailable', { detail: 'nothing was stored', next, headers: RETRY_LATER });
      }
      return problem('internal', { detail: "the server's log says more", next });
    },

    close: () => memory.close(),
  };
}

// Polls

/** What a device was assigned when it polled last, and what must still be so for that to hold. */
interface Assigned extends Tagged {
  readonly device: DeviceId;
  readonly published: PublishedProgram;
  /** Token, renewal slot and assignment hold from `from` until before `until`. A clock may be set back. */
  readonly from: Instant;
  readonly until: Instant;
  /** Signed only where the device did not have it already. */
  readonly body: string | undefined;
  readonly sizeBytes: number;
}

interface Tagged {
  readonly etag: string;
  readonly generation: string;
}

/** The program says who is revoked: as long as it is the same one, nobody was since. */
function holds(
  known: Assigned,
  asked: { id: string; published: PublishedProgram | undefined; now: Instant },
): boolean {
  return (
    known.device === asked.id &&
    known.published === asked.published &&
    known.from <= asked.now &&
    asked.now < known.until
  );
}

function whole({ etag, generation, body }: Tagged & { readonly body: string }): Answer {
  const content = ['Content-Type', 'application/jose', 'Content-Length', String(body.length)];
  return { status: 200, headers: [...content, ...validators({ etag, generation })], body };
}

function unchanged(tagged: Tagged): Answer {
  return { status: 304, headers: validators(tagged), body: null };
}

function validators({ etag, generation }: Tagged): string[] {
  return ['ETag', etag, 'Cache-Control', 'private, no-cache', 'Tidegate-Generation', generation];
}

// Reports

type ReportBody = Omit<Report, 'signals' | 'exposureHours' | 'events'> & Partial<Report>;

const checkReport = compileSchema<ReportBody>(REPORT_SCHEMA);

const ACCEPTED: Readonly<Record<ReportEffect, Answer>> = {
  counted: accepted('counted'),
  late: accepted('late'),
  duplicate: accepted('duplicate'),
};

function accepted(effect: ReportEffect): Answer {
  const body = JSON.stringify({ effect });
  const content = ['Content-Type', 'application/json', 'Content-Length', String(body.length)];
  return { status: 202, headers: [...content, 'Cache-Control', 'no-store'], body };
}

/** A failure that names no category is filed as one all the same, so that it is counted. */
function fileFailure(report: Report): Report {
  const { attempt } = report;
  if (attempt === undefined || attempt.category !== undefined) return report;
  if (attempt.state !== 'failed' && attempt.state !== 'rolledBack') return report;
  return { ...report, attempt: { ...attempt, category: 'uncategorised' } };
}
