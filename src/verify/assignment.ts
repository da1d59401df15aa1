/**
 * Whether a device may install what it was assigned. Two signatures must agree: the assignment, by the key that the server
 * assigns with, and TUF metadata, in which the server lists manifests and people vouch for artifacts. Whoever steals one of them
 * can choose among what the others still vouch for, and nothing else. Nobody but these two vouches for container images.
 *
 * A device has floors: a security epoch that it never goes below, and its hardware. They are held against what is signed of
 * each artifact, and only a permit that people have signed goes below them.
 */
import type { DeviceId } from '../core/model/ids.ts';
import type { Artifact, Manifest } from '../core/model/manifest.ts';
import { type AssignmentRefusal, type VerifiedAssignment, verifyAssignment } from '../trust/assignment.ts';
import type { PublicKeySet } from '../trust/signing-key.ts';
import { ASSIGNMENT_KEYS, artifactTarget, permitsTarget } from '../trust/tuf/content.ts';
import { MetadataError, type TargetFile } from '../trust/tuf/metadata.ts';
import { artifactsRole, manifestsRole } from '../trust/tuf/roles.ts';
import { downloadTarget, findTarget, refresh, type TrustedFiles, type TufPorts } from './tuf-client.ts';

export interface Floors {
  /** The lowest that the device installs, from 0 on. */
  readonly securityEpoch: number;
  /** What the device is, where artifacts say what they are for. */
  readonly hardwareId?: string;
}

export interface DeviceView {
  readonly device: DeviceId;
  /** The fleet's name. */
  readonly fleet: string;
  /** The highest generation seen so far; 0 at first. */
  readonly lastGeneration: number;
  readonly floors: Floors;
}

export type Acceptance =
  | {
      readonly kind: 'ok';
      readonly assignment: VerifiedAssignment;
      /** What it takes, each as people have signed it. */
      readonly artifacts: readonly AcceptedArtifact[];
    }
  | { readonly kind: 'refused'; readonly code: Refusal; readonly message: string };

export type Refusal =
  | AssignmentRefusal
  /** Metadata that is not to be trusted, or that cannot be had in full. */
  | 'metadata'
  | 'not-listed'
  | 'security-epoch'
  | 'other-hardware';

export interface AcceptedArtifact extends Artifact {
  /** The target's path. */
  readonly path: string;
}

/** Files that are trusted from now on, and whether the device may act on `jws`. Throws what `ports` throw. */
export async function acceptAssignment(
  jws: string,
  view: DeviceView,
  given: { readonly files: TrustedFiles; readonly ports: TufPorts },
): Promise<{ readonly files: TrustedFiles; readonly acceptance: Acceptance }> {
  let kept = given.files;
  const ports: TufPorts = {
    ...given.ports,
    async keep(files) {
      await given.ports.keep(files);
      kept = files;
    },
  };
  try {
    await refresh(kept, ports);
    const trusted: Trusted = {
      find: async (path) => (await findTarget(kept, path, ports)).target,
      content: async (path, target) => new TextDecoder().decode(await downloadTarget(path, target, ports)),
      now: ports.now,
    };
    const acceptance = await judge(jws, view, trusted);
    return { files: kept, acceptance };
  } catch (error) {
    if (!(error instanceof MetadataError)) throw error;
    return { files: kept, acceptance: refused('metadata', error.message) };
  }
}

interface Trusted {
  find(
    path: string,
  ): Promise<(TargetFile & { readonly role: string; readonly roleVersion: number }) | undefined>;
  content(path: string, target: TargetFile): Promise<string>;
  readonly now: TufPorts['now'];
}

async function judge(jws: string, view: DeviceView, trusted: Trusted): Promise<Acceptance> {
  const { device, fleet, lastGeneration, floors } = view;
  const listed = await trusted.find(ASSIGNMENT_KEYS);
  if (listed === undefined || listed.role !== 'targets')
    return refused('not-listed', `${ASSIGNMENT_KEYS} is not listed by the role targets`);
  const keys = JSON.parse(await trusted.content(ASSIGNMENT_KEYS, listed)) as PublicKeySet;
  const result = await verifyAssignment(jws, { keys, device, fleet, lastGeneration, now: trusted.now });
  if (result.kind === 'refused') return result;
  const { assignment } = result;
  const { assigned } = assignment;
  if (assigned === undefined) return { kind: 'ok', assignment, artifacts: [] };

  const { manifest, tufTarget, minMetadataVersion, revision } = assigned;
  const target = await trusted.find(tufTarget.path);
  const isListed =
    target !== undefined &&
    target.role === manifestsRole(manifest.product) &&
    `sha256:${target.hashes.sha256}` === revision;
  if (!isListed)
    return refused(
      'not-listed',
      `${manifestsRole(manifest.product)} does not list ${revision} as ${tufTarget.path}`,
    );
  if (target.roleVersion < minMetadataVersion) {
    const message = `${target.role} must have version ${minMetadataVersion} or above, found ${target.roleVersion}`;
    return refused('metadata', message);
  }
  const artifacts: AcceptedArtifact[] = [];
  for (const artifact of artifactsOf(manifest)) {
    const judged = await judgeArtifact(artifact, { product: manifest.product, device, floors, trusted });
    if ('kind' in judged) return judged;
    artifacts.push(judged);
  }
  return { kind: 'ok', assignment, artifacts };
}

function artifactsOf({ modules }: Manifest): readonly Artifact[] {
  return modules.flatMap((module) => module.artifacts ?? []);
}

async function judgeArtifact(
  artifact: Artifact,
  given: {
    readonly product: string;
    readonly device: DeviceId;
    readonly floors: Floors;
    readonly trusted: Trusted;
  },
): Promise<AcceptedArtifact | Extract<Acceptance, { kind: 'refused' }>> {
  const { product, floors, trusted } = given;
  const path = artifactTarget(product, artifact);
  const target = await trusted.find(path);
  const isListed =
    target !== undefined &&
    target.role === artifactsRole(product) &&
    target.hashes.sha256 === artifact.sha256 &&
    target.length === artifact.sizeBytes;
  if (!isListed) return refused('not-listed', `${artifactsRole(product)} does not vouch for ${path}`);
  const { securityEpoch = 0, hardwareIds } = floorsOf(target);
  const isTooOld = securityEpoch < floors.securityEpoch;
  const isForOthers =
    hardwareIds !== undefined &&
    (floors.hardwareId === undefined || !hardwareIds.includes(floors.hardwareId));
  if ((isTooOld || isForOthers) && !(await isPermitted(artifact, given))) {
    return isTooOld
      ? refused(
          'security-epoch',
          `${artifact.name} has security epoch ${securityEpoch}, and this device installs none below ${floors.securityEpoch}`,
        )
      : refused(
          'other-hardware',
          `${artifact.name} is for ${hardwareIds?.join(', ')}, not for ${floors.hardwareId ?? 'this device'}`,
        );
  }
  return { ...artifact, path, ...(hardwareIds === undefined ? {} : { hardwareIds }), securityEpoch };
}

function floorsOf({ custom }: TargetFile): {
  readonly securityEpoch?: number;
  readonly hardwareIds?: readonly string[];
} {
  const { securityEpoch, hardwareIds } = custom ?? {};
  return {
    ...(Number.isSafeInteger(securityEpoch) ? { securityEpoch: Number(securityEpoch) } : {}),
    ...(Array.isArray(hardwareIds) ? { hardwareIds: hardwareIds.map(String) } : {}),
  };
}

/** Leave to go below the floors, for one artifact. People sign it: it is a target of the offline role `targets`. */
interface Permit {
  readonly sha256: string;
  /** Ids; absent: every device. */
  readonly devices?: readonly string[];
  /** RFC 3339. */
  readonly until: string;
}

async function isPermitted(
  { sha256 }: Artifact,
  {
    product,
    device,
    trusted,
  }: { readonly product: string; readonly device: DeviceId; readonly trusted: Trusted },
): Promise<boolean> {
  const path = permitsTarget(product);
  const listed = await trusted.find(path);
  if (listed === undefined || listed.role !== 'targets') return false;
  const { permits } = JSON.parse(await trusted.content(path, listed)) as {
    readonly permits: readonly Permit[];
  };
  return permits.some(
    (permit) =>
      permit.sha256 === sha256 &&
      (permit.devices === undefined || permit.devices.includes(device)) &&
      trusted.now < Date.parse(permit.until),
  );
}

function refused(code: Refusal, message: string): Extract<Acceptance, { kind: 'refused' }> {
  return { kind: 'refused', code, message };
}
