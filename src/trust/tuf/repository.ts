/**
 * The next state of the TUF repository, from what devices may be given and from the state before. Content decides what is made
 * anew: a role whose content has not changed keeps its file until half of its life is over. Versions only rise, also over a
 * store that was lost: they are at least the time in seconds, and at least `floor`.
 *
 * Nothing is written here. What is returned is published as a whole, or not at all.
 */
import { hash } from 'node:crypto';
import { canonicalJson } from '../../core/model/manifest.ts';
import { DAY, type DurationMs, HOUR, type Instant, SECOND } from '../../core/model/time.ts';
import {
  type Covered,
  type DelegatedRole,
  type Delegations,
  type Envelope,
  expiresAt,
  formatExpires,
  keyIdOf,
  LENGTH_MAX,
  MetadataError,
  type MetaFile,
  type Root,
  requireSignedOver,
  type Signed,
  SPEC_VERSION,
  signedBytes,
  type TargetFile,
  type Targets,
  TOP_LEVEL_ROLES,
  type TopLevelRole,
  type TufKey,
} from './metadata.ts';
import { artifactsRole, manifestsRole } from './roles.ts';
import type { Signer } from './signer.ts';

/** What devices may be told to install. */
export interface Content {
  readonly products: readonly string[];
  /** By product: the manifests that the program may give. */
  readonly manifests: ReadonlyMap<string, readonly ManifestFile[]>;
}

export interface ManifestFile {
  /** The target's. */
  readonly path: string;
  readonly bytes: Uint8Array;
  /** Of `bytes`, in hex. */
  readonly sha256: string;
  /** What it installs. */
  readonly artifacts: readonly Target[];
}

export type Target = readonly [path: string, file: TargetFile];

export interface SignedFile<Type extends Signed> {
  readonly bytes: Uint8Array;
  readonly envelope: Envelope<Type>;
}

/** On whose word devices take what they install. */
export type Trust = DevelopmentTrust | PeoplesTrust;

interface CommonTrust {
  /** Every version, from 1 on; the last one is in force. */
  readonly roots: readonly SignedFile<Root>[];
  /** Files that the top-level role `targets` lists itself, by target path. */
  readonly shared: ReadonlyMap<string, Uint8Array>;
}

/** The server holds every key, those of people included. */
export interface DevelopmentTrust extends CommonTrust {
  readonly kind: 'development';
  readonly signers: { readonly targets: Signer; readonly artifacts: Signer };
}

/** What people have signed, which is served as it is. */
export interface PeoplesTrust extends CommonTrust {
  readonly kind: 'people';
  readonly targets: SignedFile<Targets>;
  /** By role. Products without one get nothing new. */
  readonly artifacts: ReadonlyMap<string, SignedFile<Targets>>;
}

/** Keys of this server. */
export interface RepositorySigners {
  readonly timestamp: Signer;
  readonly snapshot: Signer;
  readonly manifests: Signer;
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
  const { previous, trust, signers, content, now } = request;
  const root = trust.roots.at(-1)?.envelope.signed;
  if (root === undefined) throw new MetadataError('absent', 'there is no root metadata');
  const roles = createRoleFiles(request);

  const delegations =
    trust.kind === 'people' ? takePeoplesRoles(roles, trust) : await makePeoplesRoles(roles, trust, request);
  const since: Record<string, number> = {};
  const listed: ManifestFile[] = [];
  for (const product of content.products) {
    const name = manifestsRole(product);
    if (delegations?.roles.every((role) => role.name !== name)) continue;
    const manifests = listable(content.manifests.get(product) ?? [], trust);
    const targets = manifests.map(
      ({ path, bytes, sha256 }): Target => [path, { hashes: { sha256 }, length: bytes.byteLength }],
    );
    const version = await roles.make(name, {
      says: { targets: targetsText(targets) },
      signer: signers.manifests,
      lifetime: LIFETIMES.manifests,
    });
    for (const { path } of manifests) since[path] = previous?.since[path] ?? version;
    listed.push(...manifests);
  }
  const meta: Record<string, MetaFile> = {};
  for (const [name, { version, length, hashes }] of Object.entries(sorted(roles.states)))
    if (name !== 'snapshot') meta[`${name}.json`] = { hashes, length, version };
  const says = { meta: canonicalJson(meta) };
  await roles.make('snapshot', { says, signer: signers.snapshot, lifetime: LIFETIMES.snapshot });

  const isSame = roles.made.size === 0 && previous?.root.version === root.version;
  if (isSame && previous !== undefined && now < previous.signedAt + TIMESTAMP_EVERY_MS) return undefined;

  const timestamp = await signTimestamp(roles, request);
  for (const [name, each] of [...roles.made, ['timestamp', timestamp] as const])
    checkMade(name, each, { root, delegations });

  const shared = Array.from(trust.shared, ([path, bytes]) => ({ path, bytes, sha256: digestOf(bytes) }));
  const targets = [...shared, ...listed].map((file) => ({
    ...file,
    place: targetPlace(file.path, file.sha256),
  }));
  const files = new Map([['metadata/timestamp.json', timestamp.bytes]]);
  for (const [name, made] of roles.made) files.set(rolePlace(name, made), made.bytes);
  // One version of the root is one file for ever, whichever server made it.
  for (const { bytes, envelope } of trust.roots.slice(previous?.root.version ?? 0))
    files.set(rootPlace(envelope.signed.version), bytes);
  for (const { path, place, bytes } of targets)
    if (previous?.since[path] === undefined) files.set(place, bytes);
  const needed = new Set([
    ...files.keys(),
    ...trust.roots.map(({ envelope }) => rootPlace(envelope.signed.version)),
    ...Object.entries(roles.states).map(([name, state]) => rolePlace(name, state)),
    ...targets.map(({ place }) => place),
  ]);
  const state = {
    version: timestamp.version,
    expires: timestamp.expires,
    signedAt: now,
    root: { version: root.version, expires: expiresAt(root) },
    development: trust.kind === 'development',
    roles: roles.states,
    since,
  };
  return { state, files, needed };
}

/** Manifests whose artifacts somebody vouches for: devices would install no others. */
function listable(manifests: readonly ManifestFile[], trust: Trust): readonly ManifestFile[] {
  if (trust.kind === 'development') return manifests;
  return manifests.filter(({ artifacts }) => unvouched(artifacts, trust).length === 0);
}

/**
 * Those of the artifacts, by target path, that no role which people have signed lists. `exactly`: with the same floors; devices
 * go by those that are signed.
 */
export function unvouched(
  artifacts: readonly Target[],
  trust: Pick<PeoplesTrust, 'artifacts'>,
  { exactly = false }: { readonly exactly?: boolean } = {},
): readonly string[] {
  return artifacts.flatMap(([path, { hashes, length, custom = {} }]) => {
    const [, product = ''] = path.split('/');
    const { targets = {} } = trust.artifacts.get(artifactsRole(product))?.envelope.signed ?? {};
    const signed = Object.hasOwn(targets, path) ? targets[path] : undefined;
    const isListed = signed?.hashes.sha256 === hashes.sha256 && signed.length === length;
    return isListed && (!exactly || canonicalJson(signed.custom ?? {}) === canonicalJson(custom))
      ? []
      : [path];
  });
}

/** What people have signed, as it is. */
function takePeoplesRoles(roles: RoleFiles, { targets, artifacts }: PeoplesTrust): Delegations | undefined {
  for (const [name, file] of artifacts) roles.take(name, file);
  roles.take('targets', targets);
  return targets.envelope.signed.delegations;
}

/** What people would sign, by a server that has their keys. */
async function makePeoplesRoles(
  roles: RoleFiles,
  { signers: peoples, shared }: DevelopmentTrust,
  { content: { products, manifests }, signers }: RepositoryRequest,
): Promise<Delegations | undefined> {
  for (const product of products) {
    const ofProduct = manifests.get(product) ?? [];
    const targets = targetsText(ofProduct.flatMap(({ artifacts }) => artifacts));
    const given = { says: { targets }, signer: peoples.artifacts, lifetime: LIFETIMES.artifacts };
    await roles.make(artifactsRole(product), given);
  }
  // Every product that ever was keeps its roles: clients take one that goes for an attack.
  const known = [...Object.keys(roles.states), ...products.map(manifestsRole)];
  const delegations = delegationsOf(known, {
    artifacts: { keys: [peoples.artifacts.key], threshold: 1 },
    manifests: { keys: [signers.manifests.key], threshold: 1 },
  });
  const says = {
    targets: canonicalJson(asTargets([...shared])),
    ...(delegations === undefined ? {} : { delegations: canonicalJson(delegations) }),
  };
  await roles.make('targets', { says, signer: peoples.targets, lifetime: LIFETIMES.targets });
  return delegations;
}

async function signTimestamp(
  { states, versionAfter }: RoleFiles,
  { previous, signers, now }: RepositoryRequest,
): Promise<MadeFile> {
  const { snapshot } = states;
  if (snapshot === undefined) throw new MetadataError('absent', 'there is no snapshot metadata');
  const { version, length, hashes } = snapshot;
  return await signText(
    'timestamp',
    { meta: canonicalJson({ 'snapshot.json': { version, length, hashes } }) },
    {
      version: versionAfter(previous?.version),
      expires: now + LIFETIMES.timestamp,
      signer: signers.timestamp,
    },
  );
}

/** A file of metadata that was made or taken, and what its signatures cover. */
interface MadeFile extends Covered {
  readonly type: TopLevelRole;
  readonly version: number;
  readonly expires: Instant;
  readonly bytes: Uint8Array;
}

/** Members beside those that all metadata has, each in canonical JSON. */
type Says = Readonly<Record<string, string>>;

/**
 * Signs what is put together from text that is canonical already: large metadata is written once, and signed, digested and served
 * as it is.
 */
async function signText(
  type: TopLevelRole,
  says: Says,
  given: { readonly version: number; readonly expires: Instant; readonly signer: Signer },
): Promise<MadeFile> {
  const { version, signer } = given;
  const expires = formatExpires(given.expires);
  const members: Says = {
    ...says,
    _type: `"${type}"`,
    expires: `"${expires}"`,
    spec_version: `"${SPEC_VERSION}"`,
    version: String(version),
  };
  const names = Object.keys(members).sort();
  const covered = Buffer.from(`{${names.map((name) => `"${name}":${members[name]}`).join()}}`);
  const sig = Buffer.from(await signer.sign(covered)).toString('hex');
  const signatures = [{ keyid: signer.keyid, sig }];
  const head = Buffer.from(`{"signatures":${JSON.stringify(signatures)},"signed":`);
  const bytes = Buffer.concat([head, covered, CLOSING]);
  return { type, version, expires: Date.parse(expires), bytes, covered, signatures };
}

const CLOSING = Buffer.from('}');

/** Targets as canonical JSON; of two with one path the last counts. */
function targetsText(targets: readonly Target[]): string {
  const texts = new Map<string, string>();
  for (const [path, { custom, hashes, length }] of targets) {
    const own = custom === undefined ? '' : `"custom":${canonicalJson(custom)},`;
    texts.set(
      path,
      `${canonicalJson(path)}:{${own}"hashes":{"sha256":"${hashes.sha256}"},"length":${length}}`,
    );
  }
  return `{${[...texts.keys()]
    .sort()
    .map((path) => texts.get(path))
    .join()}}`;
}

/** The files of roles: kept as published, made, or taken as people have signed them. */
type RoleFiles = ReturnType<typeof createRoleFiles>;

function createRoleFiles({ previous, now, floor }: Pick<RepositoryRequest, 'previous' | 'now' | 'floor'>) {
  const states: Record<string, RoleState> = { ...previous?.roles };
  const made = new Map<string, MadeFile>();

  const versionAfter = (last: number | undefined) =>
    Math.max((last ?? 0) + 1, floor + 1, Math.floor(now / SECOND));

  function keep(name: string, file: MadeFile, kept: Pick<RoleState, 'content' | 'renewAt'>): void {
    const { version, expires, bytes } = file;
    made.set(name, file);
    states[name] = {
      version,
      length: bytes.byteLength,
      hashes: { sha256: digestOf(bytes) },
      expires,
      ...kept,
    };
  }

  /** The role with this content: as it is published, or signed anew. Its version. */
  async function make(
    name: string,
    given: { readonly says: Says; readonly signer: Signer; readonly lifetime: DurationMs },
  ): Promise<number> {
    const { says, signer, lifetime } = given;
    const before = states[name];
    const content = hash('sha256', [signer.keyid, ...Object.values(says)].join(' '));
    if (before?.content === content && before.renewAt !== undefined && now < before.renewAt)
      return before.version;
    const version = versionAfter(before?.version);
    const type = name === 'snapshot' ? 'snapshot' : 'targets';
    const file = await signText(type, says, { version, expires: now + lifetime, signer });
    keep(name, file, { content, renewAt: now + lifetime / 2 });
    return version;
  }

  /** A signature that is added later changes nothing: devices may have the file as it was first published. */
  function take(name: string, file: SignedFile<Targets>): void {
    const content = contentOfSigned(file.envelope.signed);
    if (states[name]?.version === file.envelope.signed.version && states[name].content === content) return;
    const { signed, signatures } = file.envelope;
    const { version } = signed;
    keep(
      name,
      {
        type: 'targets',
        version,
        expires: expiresAt(signed),
        // Without the spaces that people read it by.
        bytes: Buffer.from(JSON.stringify(file.envelope)),
        covered: signedBytes(signed),
        signatures,
      },
      { content },
    );
  }

  return { states, made, versionAfter, make, take };
}

/** What is noted of a role that people sign: two files say the same where it is equal. */
export function contentOfSigned(signed: Signed): string {
  return digestOf(signedBytes(signed));
}

/** Whether clients would take what was made: throws {@link MetadataError} where they would not. */
function checkMade(
  name: string,
  made: MadeFile,
  { root, delegations }: { readonly root: Root; readonly delegations: Delegations | undefined },
): void {
  const file = `${name}.json`;
  if (isTopLevel(name)) requireSignedOver(made, root.roles[name], { keys: root.keys, name: file });
  else {
    const role = delegations?.roles.find((each) => each.name === name);
    if (role === undefined || delegations === undefined)
      throw new MetadataError(
        'absent',
        `targets.json delegates nothing to ${name}: have it added, and signed`,
      );
    requireSignedOver(made, role, { keys: delegations.keys, name: file });
  }
  const length = made.bytes.byteLength;
  const most = LENGTH_MAX[made.type];
  if (length > most)
    throw new MetadataError('too-large', `${file} has ${length} bytes, and clients take ${most}`);
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
  return rolePlace('root', { version });
}

export function rolePlace(name: string, { version }: { readonly version: number }): string {
  return `metadata/${version}.${name}.json`;
}

/** Where a target lies below `/tuf`: consistent snapshots put its digest before its name. */
export function targetPlace(path: string, sha256: string): string {
  const slash = path.lastIndexOf('/') + 1;
  return `targets/${path.slice(0, slash)}${sha256}.${path.slice(slash)}`;
}

export function asTargets(
  files: readonly (readonly [path: string, bytes: Uint8Array])[],
): Readonly<Record<string, TargetFile>> {
  return sorted(
    Object.fromEntries(
      files.map(([path, bytes]) => [path, { hashes: { sha256: digestOf(bytes) }, length: bytes.byteLength }]),
    ),
  );
}

/** Who may sign for a kind of role. */
export interface Holders {
  readonly keys: readonly TufKey[];
  readonly threshold: number;
}

/** The delegations of the products that `names`, names of roles, speak of. */
export function delegationsOf(
  names: readonly string[],
  holders: { readonly artifacts: Holders; readonly manifests: Holders },
): Delegations | undefined {
  const roles: DelegatedRole[] = [];
  const keys: Record<string, TufKey> = {};
  for (const name of [...new Set(names)].sort()) {
    const [, kind, product] = /^(artifacts|manifests)-(.+)$/.exec(name) ?? [];
    if (kind !== 'artifacts' && kind !== 'manifests') continue;
    const { keys: own, threshold } = holders[kind];
    for (const key of own) keys[keyIdOf(key)] = key;
    const keyids = own.map(keyIdOf).sort();
    roles.push({ name, keyids, threshold, paths: [`${kind}/${product}/*`], terminating: true });
  }
  return roles.length === 0 ? undefined : { keys: sorted(keys), roles };
}

function sorted<Value>(record: Readonly<Record<string, Value>>): Readonly<Record<string, Value>> {
  const copy: Record<string, Value> = {};
  for (const key of Object.keys(record).sort()) copy[key] = record[key] as Value;
  return copy;
}

function digestOf(bytes: Uint8Array): string {
  return hash('sha256', bytes);
}
