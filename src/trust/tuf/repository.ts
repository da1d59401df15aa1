/**
 * The next state of the TUF repository, from what devices may be given and from the state before. Content decides what is made
 * anew: a role whose content has not changed keeps its file until half of its life is over. Versions only rise, also over a
 * store that was lost: they are at least the time in seconds, and at least `floor`.
 *
 * Nothing is written here. What is returned is published as a whole, or not at all.
 */
import { hash } from 'node:crypto';
import { DAY, type DurationMs, HOUR, type Instant, SECOND } from '../../core/model/time.ts';
import {
  type DelegatedRole,
  type Delegations,
  type Envelope,
  expiresAt,
  formatExpires,
  LENGTH_MAX,
  MetadataError,
  type MetaFile,
  type Root,
  requireSigned,
  type Signed,
  type Snapshot,
  SPEC_VERSION,
  type TargetFile,
  type Targets,
  type Timestamp,
  TOP_LEVEL_ROLES,
  type TopLevelRole,
  type TufKey,
} from './metadata.ts';
import { artifactsRole, manifestsRole } from './roles.ts';
import { type Signer, signMetadata } from './signer.ts';

/** What devices may be told to install, and with which keys they are told. */
export interface Content {
  readonly products: readonly string[];
  /** Files that are served as they are: by target path. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** `files` of the top-level role `targets`. */
  readonly shared: readonly string[];
  /** `files` by product: the manifests that the program may give. */
  readonly manifests: ReadonlyMap<string, readonly string[]>;
  /** What people vouch for, by product and target path. */
  readonly artifacts: ReadonlyMap<string, Readonly<Record<string, TargetFile>>>;
}

export interface SignedFile<Type extends Signed> {
  readonly bytes: Uint8Array;
  readonly envelope: Envelope<Type>;
}

/** What people have signed. */
export interface Trust {
  /** Every version, from 1 on; the last one is in force. */
  readonly roots: readonly SignedFile<Root>[];
  /** By role. What is missing here is made by the server, if it has the keys. */
  readonly offline: ReadonlyMap<string, SignedFile<Targets>>;
}

/** Keys of this server. Those of `targets` and `artifacts` are absent where people hold them. */
export interface RepositorySigners {
  readonly timestamp: Signer;
  readonly snapshot: Signer;
  readonly manifests: Signer;
  readonly targets?: Signer;
  readonly artifacts?: Signer;
}

/** JSON: what is noted of a published repository. */
export interface RepositoryState {
  /** Of the timestamp. */
  readonly version: number;
  readonly expires: Instant;
  readonly signedAt: Instant;
  readonly root: { readonly version: number; readonly expires: Instant };
  /** The server holds every key, those of people included. */
  readonly development: boolean;
  /** All roles but root and timestamp, by name. None ever goes. */
  readonly roles: Readonly<Record<string, RoleState>>;
  /** By target path of a manifest: the version of its role from which on it is listed. */
  readonly since: Readonly<Record<string, number>>;
}

export interface RoleState extends Required<MetaFile> {
  readonly expires: Instant;
  /** When it is to be signed anew; absent where that is for people to do. */
  readonly renewAt?: Instant;
  /** Digest of what the role says, without version and expiry. */
  readonly content: string;
}

export interface NextRepository {
  readonly state: RepositoryState;
  /** To be written, by path below `/tuf`: all but `metadata/timestamp.json` are never written differently. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** Paths that the new state still needs, those of `files` included. */
  readonly needed: ReadonlySet<string>;
}

/** How long metadata is good for. Expiry keeps devices from installing; what runs goes on. */
export const LIFETIMES: Readonly<
  Record<'root' | 'targets' | 'artifacts' | 'manifests' | 'snapshot' | 'timestamp', DurationMs>
> = {
  root: 365 * DAY,
  targets: 180 * DAY,
  artifacts: 180 * DAY,
  manifests: 30 * DAY,
  snapshot: 30 * DAY,
  timestamp: 3 * DAY,
};

const TIMESTAMP_EVERY_MS: DurationMs = HOUR;

export interface RepositoryRequest {
  readonly previous: RepositoryState | undefined;
  readonly trust: Trust;
  readonly signers: RepositorySigners;
  readonly content: Content;
  readonly now: Instant;
  /** Versions are above it. */
  readonly floor: number;
}

/** Undefined where what is published is still right. Throws {@link MetadataError} where clients would refuse the result. */
export async function nextRepository(request: RepositoryRequest): Promise<NextRepository | undefined> {
  const { previous, trust, signers, content, now, floor } = request;
  const root = trust.roots.at(-1)?.envelope.signed;
  if (root === undefined) throw new MetadataError('absent', 'there is no root metadata');
  const files = new Map<string, Uint8Array>();
  const roles: Record<string, RoleState> = { ...previous?.roles };
  const since: Record<string, number> = {};
  const made = new Map<string, SignedFile<Signed>>();

  const versionAfter = (last: number | undefined) =>
    Math.max((last ?? 0) + 1, floor + 1, Math.floor(now / SECOND));

  /** The role with this content: as it is published, or signed anew. */
  async function role(
    name: string,
    given: {
      readonly says: Pick<Targets, 'targets' | 'delegations'> | Pick<Snapshot, 'meta'>;
      readonly signer: Signer;
      readonly lifetime: DurationMs;
    },
  ): Promise<number> {
    const { says, signer, lifetime } = given;
    const before = roles[name];
    const digest = hash('sha256', `${signer.keyid} ${JSON.stringify(says)}`);
    if (before?.content === digest && before.renewAt !== undefined && now < before.renewAt)
      return before.version;
    const version = versionAfter(before?.version);
    const expires = formatExpires(now + lifetime);
    // In the order that signatures cover: large metadata is written once, as it is.
    const signed: Signed =
      'meta' in says
        ? { _type: 'snapshot', expires, meta: says.meta, spec_version: SPEC_VERSION, version }
        : {
            _type: 'targets',
            ...(says.delegations === undefined ? {} : { delegations: says.delegations }),
            expires,
            spec_version: SPEC_VERSION,
            targets: says.targets,
            version,
          };
    const envelope = await signMetadata(signed, [signer]);
    keep(name, envelope, {
      bytes: Buffer.from(JSON.stringify(envelope)),
      content: digest,
      renewAt: now + lifetime / 2,
    });
    return version;
  }

  function keep(
    name: string,
    envelope: Envelope,
    { bytes, ...kept }: Pick<RoleState, 'content' | 'renewAt'> & { readonly bytes: Uint8Array },
  ): void {
    const { version } = envelope.signed;
    made.set(name, { envelope, bytes });
    files.set(`metadata/${version}.${name}.json`, bytes);
    roles[name] = {
      version,
      length: bytes.byteLength,
      hashes: { sha256: digestOf(bytes) },
      expires: expiresAt(envelope.signed),
      ...kept,
    };
  }

  /** A role that people sign is served as it is. */
  function given(name: string, file: SignedFile<Targets>): void {
    const { version } = file.envelope.signed;
    const before = roles[name];
    const sha256 = digestOf(file.bytes);
    if (before?.hashes.sha256 === sha256) return;
    if (before !== undefined && version <= before.version)
      throw new MetadataError(
        'version',
        `${name} has version ${version}, which must be above ${before.version}, which devices have seen`,
      );
    keep(name, file.envelope, { bytes: file.bytes, content: sha256 });
  }

  for (const [name, file] of trust.offline) given(name, file);
  const { targets: targetsSigner, artifacts: artifactsSigner } = signers;
  for (const product of content.products) {
    const name = artifactsRole(product);
    if (trust.offline.has(name) || artifactsSigner === undefined) continue;
    const targets = sorted(content.artifacts.get(product) ?? {});
    await role(name, { says: { targets }, signer: artifactsSigner, lifetime: LIFETIMES.artifacts });
  }
  for (const product of content.products) {
    const paths = content.manifests.get(product) ?? [];
    const targets = filesAsTargets(content, paths);
    const version = await role(manifestsRole(product), {
      says: { targets },
      signer: signers.manifests,
      lifetime: LIFETIMES.manifests,
    });
    for (const path of paths) since[path] = previous?.since[path] ?? version;
  }
  let delegations = trust.offline.get('targets')?.envelope.signed.delegations;
  if (!trust.offline.has('targets')) {
    if (targetsSigner === undefined || artifactsSigner === undefined)
      throw new MetadataError(
        'absent',
        'trust/targets.json is missing, and the keys that sign it are not here',
      );
    delegations = delegationsOf(Object.keys(roles), {
      artifacts: artifactsSigner,
      manifests: signers.manifests,
    });
    const says = {
      targets: filesAsTargets(content, content.shared),
      ...(delegations === undefined ? {} : { delegations }),
    };
    await role('targets', { says, signer: targetsSigner, lifetime: LIFETIMES.targets });
  }

  const meta: Record<string, MetaFile> = {};
  for (const [name, { version, length, hashes }] of Object.entries(sorted(roles)))
    if (name !== 'snapshot') meta[`${name}.json`] = { hashes, length, version };
  await role('snapshot', { says: { meta }, signer: signers.snapshot, lifetime: LIFETIMES.snapshot });

  const isSame = made.size === 0 && previous?.root.version === root.version;
  if (isSame && previous !== undefined && now < previous.signedAt + TIMESTAMP_EVERY_MS) return undefined;

  const snapshot = roles['snapshot'];
  if (snapshot === undefined) throw new MetadataError('absent', 'there is no snapshot metadata');
  const timestamp: Timestamp = {
    _type: 'timestamp',
    spec_version: SPEC_VERSION,
    version: versionAfter(previous?.version),
    expires: formatExpires(now + LIFETIMES.timestamp),
    meta: {
      'snapshot.json': { version: snapshot.version, length: snapshot.length, hashes: snapshot.hashes },
    },
  };
  const envelope = await signMetadata(timestamp, [signers.timestamp]);
  const bytes = Buffer.from(JSON.stringify(envelope));
  made.set('timestamp', { envelope, bytes });
  files.set('metadata/timestamp.json', bytes);
  for (const { bytes, envelope: each } of trust.roots) {
    // One version is one file for ever, whichever server made it.
    const { version } = each.signed;
    if (version > (previous?.root.version ?? 0)) files.set(rootPlace(version), bytes);
  }
  for (const [path, bytes] of content.files) {
    if (previous?.since[path] === undefined) files.set(targetPlace(path, digestOf(bytes)), bytes);
  }
  const needed = new Set([
    ...files.keys(),
    ...trust.roots.map(({ envelope: each }) => rootPlace(each.signed.version)),
    ...Object.entries(roles).map(([name, { version }]) => `metadata/${version}.${name}.json`),
    ...Array.from(content.files, ([path, bytes]) => targetPlace(path, digestOf(bytes))),
  ]);
  const state = {
    version: timestamp.version,
    expires: expiresAt(timestamp),
    signedAt: now,
    root: { version: root.version, expires: expiresAt(root) },
    development: !trust.offline.has('targets'),
    roles,
    since,
  };
  for (const [name, each] of made) checkMade(name, each, { root, delegations });
  return { state, files, needed };
}

/** Whether clients would take what was made: throws {@link MetadataError} where they would not. */
function checkMade(
  name: string,
  { envelope, bytes }: SignedFile<Signed>,
  { root, delegations }: { readonly root: Root; readonly delegations: Delegations | undefined },
): void {
  const file = `${name}.json`;
  const type = envelope.signed._type;
  if (isTopLevel(name)) requireSigned(envelope, root.roles[name], { keys: root.keys, name: file });
  else {
    const role = delegations?.roles.find((each) => each.name === name);
    if (role === undefined || delegations === undefined)
      throw new MetadataError(
        'absent',
        `targets.json delegates nothing to ${name}: have it added, and signed`,
      );
    requireSigned(envelope, role, { keys: delegations.keys, name: file });
  }
  const length = bytes.byteLength;
  if (length > LENGTH_MAX[type])
    throw new MetadataError('too-large', `${file} has ${length} bytes, and clients take ${LENGTH_MAX[type]}`);
}

function isTopLevel(name: string): name is TopLevelRole {
  return (TOP_LEVEL_ROLES as readonly string[]).includes(name);
}

/** When something of it is to be signed anew, though nothing has changed. */
export function renewalAt({ roles, signedAt }: RepositoryState): Instant {
  const ofRoles = Object.values(roles).map(({ renewAt = Number.POSITIVE_INFINITY }) => renewAt);
  return Math.min(signedAt + TIMESTAMP_EVERY_MS, ...ofRoles);
}

export function rootPlace(version: number): string {
  return `metadata/${version}.root.json`;
}

/** Where a target lies below `/tuf`: consistent snapshots put its digest before its name. */
export function targetPlace(path: string, sha256: string): string {
  const slash = path.lastIndexOf('/') + 1;
  return `targets/${path.slice(0, slash)}${sha256}.${path.slice(slash)}`;
}

function filesAsTargets({ files }: Content, paths: readonly string[]): Readonly<Record<string, TargetFile>> {
  const targets: Record<string, TargetFile> = {};
  for (const path of [...paths].sort()) {
    const bytes = files.get(path);
    if (bytes !== undefined)
      targets[path] = { hashes: { sha256: digestOf(bytes) }, length: bytes.byteLength };
  }
  return targets;
}

/** Every product that ever was keeps its roles: clients take one that goes for an attack. */
function delegationsOf(
  names: readonly string[],
  { artifacts, manifests }: { artifacts: Signer; manifests: Signer },
): Targets['delegations'] {
  const roles: DelegatedRole[] = [];
  for (const name of [...names].sort()) {
    const [, kind, product] = /^(artifacts|manifests)-(.+)$/.exec(name) ?? [];
    if (kind === undefined) continue;
    const signer = kind === 'artifacts' ? artifacts : manifests;
    roles.push({
      name,
      keyids: [signer.keyid],
      threshold: 1,
      paths: [`${kind}/${product}/*`],
      terminating: true,
    });
  }
  if (roles.length === 0) return undefined;
  const keys: Record<string, TufKey> = {};
  for (const { keyid, key } of [artifacts, manifests].sort((a, b) => (a.keyid < b.keyid ? -1 : 1)))
    keys[keyid] = key;
  return { keys, roles };
}

function sorted<Value>(record: Readonly<Record<string, Value>>): Readonly<Record<string, Value>> {
  const copy: Record<string, Value> = {};
  for (const key of Object.keys(record).sort()) copy[key] = record[key] as Value;
  return copy;
}

function digestOf(bytes: Uint8Array): string {
  return hash('sha256', bytes);
}
