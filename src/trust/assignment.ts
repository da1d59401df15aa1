/**
 * What one device is told to run, signed for it. Claims are a pure function of what is assigned and of the device's
 * renewal slot, so every replica signs the same bytes and an unchanged assignment is answered without a signature.
 * Which revision a device gets is decided elsewhere.
 */
import { hash } from 'node:crypto';
import type { CommitId, DeviceId, Revision, RolloutName, SnapshotId } from '../core/model/ids.ts';
import { type Manifest, revisionOf } from '../core/model/manifest.ts';
import type { ProgramRevision } from '../core/model/program.ts';
import { DAY, type DurationMs, formatDuration, type Instant, SECOND } from '../core/model/time.ts';
import { type Claims, type JwsRefusal, signJws, verifyJws } from './jws.ts';
import type { PublicKeySet, SigningKey } from './signing-key.ts';
import { manifestBytes, manifestTarget } from './tuf/content.ts';

/** An assignment's payload. All of `snapshot` to `minMetadataVersion` are null where nothing is assigned: keep what you run. */
export interface AssignmentClaims {
  readonly iss: string;
  readonly sub: DeviceId;
  /** Seconds: the start of the device's renewal slot. */
  readonly iat: number;
  /** Seconds. Past it the device installs nothing new; what runs goes on. */
  readonly exp: number;
  /** A device ignores an assignment with a lower generation than it has seen. */
  readonly generation: number;
  readonly snapshot: SnapshotId | null;
  readonly commit: CommitId | null;
  readonly rollout: RolloutName | null;
  readonly attempt: number | null;
  readonly revision: Revision | null;
  readonly manifest: Manifest | null;
  /** The manifest as TUF metadata lists it. */
  readonly tufTarget: TufTarget | null;
  /** The version of `manifests-<product>` from which on it is listed: whoever has older metadata refreshes it first. */
  readonly minMetadataVersion: number | null;
  readonly pollAfterSeconds: number;
  /** Something is wrong, and people look for it: the device is to tell more than it usually does. */
  readonly telemetry?: 'debug';
}

export interface TufTarget {
  readonly path: string;
  readonly sha256: string;
  readonly length: number;
}

/** What a device may act on, once verified. */
export interface VerifiedAssignment {
  readonly generation: number;
  readonly expiresAt: Instant;
  readonly pollAfterSeconds: number;
  /** Absent: nothing is assigned, the device keeps what it runs. */
  readonly assigned?: ProgramRevision & {
    readonly rollout: RolloutName;
    readonly tufTarget: TufTarget;
    readonly minMetadataVersion: number;
  };
}

export type AssignmentResult =
  | { readonly kind: 'ok'; readonly assignment: VerifiedAssignment }
  | { readonly kind: 'refused'; readonly code: AssignmentRefusal; readonly message: string };

export type AssignmentRefusal =
  | JwsRefusal
  | 'wrong-fleet'
  | 'wrong-device'
  | 'expired'
  | 'older-generation'
  | 'wrong-revision';

export interface AssignmentSigner {
  readonly kid: string;
  claims(assignment: {
    readonly device: DeviceId;
    readonly generation: number;
    readonly pollIntervalMs: DurationMs;
    readonly assigned?: ProgramRevision & {
      readonly rollout: RolloutName;
      readonly minMetadataVersion: number;
    };
    /** A device that has not begun by then must not begin: the assignment expires. */
    readonly installBy?: Instant;
    readonly now: Instant;
  }): AssignmentClaims;
  sign(claims: AssignmentClaims): string;
}

export const ASSIGNMENT_LIFETIME_MS: DurationMs = DAY;
const RENEWAL_MS: DurationMs = ASSIGNMENT_LIFETIME_MS / 2;
const TYP = 'tidegate-assignment+jwt';

/** `issuer` is the fleet's name. */
export function createAssignmentSigner(key: SigningKey, { issuer }: { issuer: string }): AssignmentSigner {
  return {
    kid: key.kid,

    claims({ device, generation, pollIntervalMs, assigned, installBy, now }) {
      const issuedAt = renewalSlot(device, now);
      const expiresAt = Math.min(issuedAt + ASSIGNMENT_LIFETIME_MS, installBy ?? Number.POSITIVE_INFINITY);
      // In alphabetical order, as they are signed.
      return {
        attempt: assigned?.attempt ?? null,
        commit: assigned?.commit ?? null,
        exp: Math.floor(expiresAt / SECOND),
        generation,
        iat: issuedAt / SECOND,
        iss: issuer,
        manifest: assigned?.manifest ?? null,
        minMetadataVersion: assigned?.minMetadataVersion ?? null,
        pollAfterSeconds: Math.max(1, Math.ceil(pollIntervalMs / SECOND)),
        revision: assigned?.revision ?? null,
        rollout: assigned?.rollout ?? null,
        snapshot: assigned?.snapshot ?? null,
        sub: device,
        ...(assigned?.telemetry === undefined ? {} : { telemetry: assigned.telemetry }),
        tufTarget: assigned === undefined ? null : tufTargetOf(assigned),
      };
    },

    sign: (claims) => signJws({ typ: TYP, json: claimsJson(claims), key: key.private, kid: key.kid }),
  };
}

/**
 * The start of the half-lifetime in which `now` lies for this device. An assignment is renewed when the next one
 * starts, so it always has at least half of its life left. The phase comes from the id: a fleet that enrolled
 * together does not renew together.
 */
export function renewalSlot(device: DeviceId, now: Instant): Instant {
  const digest = hash('sha256', `tidegate/renew/1\0${device}`, 'buffer');
  const phase = (digest.readUInt32BE(0) % (RENEWAL_MS / SECOND)) * SECOND;
  return Math.floor((now - phase) / RENEWAL_MS) * RENEWAL_MS + phase;
}

/** When the assignment is signed anew, though it has not changed. */
export function renewalAt({ iat }: AssignmentClaims): Instant {
  return iat * SECOND + RENEWAL_MS;
}

/**
 * The strong entity tag of an assignment, quotes included. It leaves out the generation, which rises with every change
 * to the fleet and says nothing about this device; `iat` stands for the renewal slot, and the revision for the
 * manifest that it digests. `exp` follows from the slot, but where an install window ends before: what was signed for one
 * window is not what is served in the next. The key is in it: after a change of keys every device fetches a new signature.
 */
export function assignmentEtag(claims: AssignmentClaims, kid: string): string {
  const { iss, sub, iat, exp, snapshot, commit, rollout, attempt, revision, pollAfterSeconds } = claims;
  const { minMetadataVersion, telemetry } = claims;
  const limit = exp < iat + ASSIGNMENT_LIFETIME_MS / SECOND ? exp : null;
  const digested = [
    kid,
    iss,
    sub,
    iat,
    limit,
    snapshot,
    commit,
    rollout,
    attempt,
    revision,
    minMetadataVersion,
    pollAfterSeconds,
    ...(telemetry === undefined ? [] : [telemetry]),
  ];
  return `"${hash('sha256', JSON.stringify(digested), 'base64url')}"`;
}

/**
 * Whether a device may act on `jws`. It is checked that we signed it, for this device, as an assignment; that it has
 * not expired; that it is no older than what the device has seen; and that the manifest is the one its revision names.
 * `iat` is not judged: it lies up to half a lifetime back, and the generation tells old from new.
 */
export async function verifyAssignment(
  jws: string,
  expected: {
    readonly keys: PublicKeySet;
    readonly device: DeviceId;
    readonly fleet: string;
    readonly now: Instant;
    /** The highest generation seen so far; 0 at first. */
    readonly lastGeneration: number;
  },
): Promise<AssignmentResult> {
  const { keys, device, fleet, now, lastGeneration } = expected;
  const result = verifyJws(jws, { typ: TYP, publicKey: keys });
  if (result.kind === 'refused') return result;

  const { iss, sub } = result.claims;
  if (iss !== fleet) return refused('wrong-fleet', `expected iss "${fleet}", found ${JSON.stringify(iss)}`);
  if (sub !== device)
    return refused('wrong-device', `expected sub "${device}", found ${JSON.stringify(sub)}`);
  const assignment = readClaims(result.claims);
  if (assignment === undefined) {
    return refused('malformed', 'the payload lacks a claim that every assignment has');
  }
  if (assignment.expiresAt <= now) {
    return refused(
      'expired',
      `it expired ${formatDuration(now - assignment.expiresAt)} ago by the device's clock`,
    );
  }
  if (assignment.generation < lastGeneration) {
    const { generation } = assignment;
    return refused(
      'older-generation',
      `generation ${generation} is older than ${lastGeneration}, seen before`,
    );
  }
  const { assigned } = assignment;
  if (assigned !== undefined && !isRevisionOf(assigned.revision, assigned.manifest)) {
    return refused('wrong-revision', `the manifest's digest is not ${assigned.revision}`);
  }
  return { kind: 'ok', assignment };
}

/** The claims as an assignment, or undefined where one is missing or of another type. */
function readClaims(claims: Claims): VerifiedAssignment | undefined {
  const { exp, generation, pollAfterSeconds, snapshot, commit, rollout, attempt, revision, manifest } =
    claims;
  const { tufTarget, minMetadataVersion } = claims;
  if (!isCount(exp) || !isCount(generation) || !isCount(pollAfterSeconds)) return undefined;
  const common = { generation, expiresAt: exp * SECOND, pollAfterSeconds };
  const content = [snapshot, commit, rollout, attempt, revision, manifest, tufTarget, minMetadataVersion];
  if (content.every((claim) => claim === null)) return common;

  const named = [snapshot, commit, rollout, revision].every((claim) => typeof claim === 'string');
  if (!named || !isCount(attempt) || typeof manifest !== 'object' || manifest === null) return undefined;
  if (!isTufTarget(tufTarget) || !isCount(minMetadataVersion)) return undefined;
  return {
    ...common,
    assigned: {
      rollout: rollout as RolloutName,
      attempt,
      revision: revision as Revision,
      manifest: manifest as Manifest,
      snapshot: snapshot as SnapshotId,
      commit: commit as CommitId,
      tufTarget,
      minMetadataVersion,
      ...(claims['telemetry'] === 'debug' ? { telemetry: 'debug' } : {}),
    },
  };
}

function isTufTarget(value: unknown): value is TufTarget {
  if (!isObject(value)) return false;
  const { path, sha256, length } = value as Record<string, unknown>;
  return typeof path === 'string' && typeof sha256 === 'string' && isCount(length);
}

function isRevisionOf(revision: Revision, manifest: Manifest): boolean {
  try {
    return revisionOf(manifest) === revision;
  } catch (error) {
    // Canonical JSON has no fractions: what holds one is nobody's manifest.
    if (error instanceof TypeError) return false;
    throw error;
  }
}

export function tufTargetOf({
  manifest,
  revision,
}: Pick<ProgramRevision, 'manifest' | 'revision'>): TufTarget {
  const { byteLength: length } = manifestBytes(manifest);
  return { length, path: manifestTarget(manifest, revision), sha256: revision.replace(/^sha256:/, '') };
}

/** The manifest's text takes the place of a number: within a string its quotes would have backslashes before them. */
function claimsJson(claims: AssignmentClaims): string {
  const { manifest } = claims;
  if (manifest === null) return JSON.stringify(claims);
  return JSON.stringify({ ...claims, manifest: 0 }).replace(
    '"manifest":0',
    () => `"manifest":${manifestJson(manifest)}`,
  );
}

/**
 * JSON with sorted keys: a store may give a manifest back in another order, and the bytes must not differ for it. All
 * devices of a rollout share one manifest: it is written once, not once for each.
 */
const manifests = new WeakMap<Manifest, string>();

function manifestJson(manifest: Manifest): string {
  let json = manifests.get(manifest);
  if (json === undefined) {
    json = JSON.stringify(manifest, (_key, part: unknown) =>
      isObject(part) && !Array.isArray(part)
        ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
        : part,
    );
    manifests.set(manifest, json);
  }
  return json;
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

function refused(code: AssignmentRefusal, message: string): AssignmentResult {
  return { kind: 'refused', code, message };
}
