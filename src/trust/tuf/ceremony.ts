/**
 * What people do to the folder `trust/`: they propose metadata, which has no signature yet, and sign what others proposed. Every
 * step changes files and nothing else, so that it can be looked at, committed and merged like any other change.
 *
 * Nothing is written here: a step returns the files that it would change, by path below `trust/`.
 */
import { canonicalJson } from '../../core/model/manifest.ts';
import { DAY, type Instant, SECOND } from '../../core/model/time.ts';
import type { PublicJwk } from '../signing-key.ts';
import { ASSIGNMENT_KEYS } from './content.ts';
import type { TrustFolder } from './folder.ts';
import { wholeRoots } from './judge.ts';
import {
  type Delegations,
  type Envelope,
  expiresAt,
  formatExpires,
  keyIdOf,
  MetadataError,
  type RoleKeys,
  type Root,
  type Signed,
  SPEC_VERSION,
  signersOf,
  type TargetFile,
  type Targets,
  type TufKey,
} from './metadata.ts';
import { asTargets, delegationsOf, type Holders, LIFETIMES } from './repository.ts';
import { artifactsRole, manifestsRole, productOf } from './roles.ts';
import { rootFile } from './root-chain.ts';
import { type Signer, signMetadata } from './signer.ts';

/** By path below `trust/`. */
export type Changes = ReadonlyMap<string, Uint8Array>;

/** What documents want: by product, the targets that people are to vouch for. */
export type Wanted = ReadonlyMap<string, Readonly<Record<string, TargetFile>>>;

/** The trust that a server has made for itself, as it is published: people's goes on from there. */
export interface PublishedTrust {
  /** Every version, from 1 on. */
  readonly roots: readonly Envelope<Root>[];
  readonly targets: Targets;
  readonly assignmentKeys: readonly PublicJwk[];
}

/** What the server publishes by itself while people are still signing must not be above what they sign. */
const CEREMONY_MAX = 90 * DAY;

/** The first trust of people's own, unsigned. */
export function initialTrust(given: {
  readonly published: PublishedTrust;
  readonly root: Holders;
  readonly targets: Holders;
  readonly artifacts: Holders;
  readonly wanted: Wanted;
  readonly now: Instant;
}): Changes {
  const { published, wanted, now } = given;
  const before = published.roots.at(-1)?.signed;
  if (before === undefined) throw new MetadataError('absent', 'there is no root metadata');
  const changes = new Map<string, Uint8Array>();
  for (const envelope of published.roots) changes.set(rootFile(envelope.signed.version), textOf(envelope));
  const root = withHolders(
    { ...before, version: before.version + 1, expires: formatExpires(now + LIFETIMES.root) },
    { root: given.root, targets: given.targets },
  );
  changes.set(rootFile(root.version), unsigned(root));

  const version = Math.floor((now + CEREMONY_MAX) / SECOND);
  const roles = published.targets.delegations?.roles.map(({ name }) => name) ?? [];
  const products = new Set([...roles.map(productOf), ...wanted.keys()]);
  const keys = textOf({ keys: published.assignmentKeys });
  changes.set(ASSIGNMENT_KEYS, keys);
  const targets = targetsOf({
    version,
    now,
    shared: new Map([[ASSIGNMENT_KEYS, keys]]),
    delegations: delegationsFor(products, {
      artifacts: given.artifacts,
      manifests: holdersOf(published.targets.delegations, 'manifests-'),
    }),
  });
  changes.set('targets.json', unsigned(targets));
  for (const product of products)
    changes.set(
      `${artifactsRole(product)}.json`,
      unsigned(artifactsMetadata({ version, now }, wanted.get(product))),
    );
  return changes;
}

/**
 * The folder brought in line with the documents: artifacts that are new are listed, as are new products and files, and what soon
 * runs out is renewed. What is listed stays, so that what worked once can be gone back to; unless its target path is among
 * `withdrawn`. Throws {@link MetadataError}.
 */
export function broughtUpToDate(
  folder: TrustFolder,
  {
    wanted,
    withdrawn = [],
    now,
  }: { readonly wanted: Wanted; readonly withdrawn?: readonly string[]; readonly now: Instant },
): Changes {
  const targets = folder.roles.get('targets')?.envelope.signed;
  const root = folder.roots.at(-1)?.envelope.signed;
  if (targets === undefined || root === undefined)
    throw new MetadataError('absent', 'trust/ has no root and targets metadata yet: run tidegate trust init');
  const changes = new Map<string, Uint8Array>();
  if (isOld(root, LIFETIMES.root, now)) {
    const renewed = { ...root, expires: formatExpires(now + LIFETIMES.root) };
    changes.set(...nextRoot(folder, renewed));
  }
  const known = targets.delegations?.roles ?? [];
  const products = new Set([...known.map(({ name }) => productOf(name)), ...wanted.keys()]);
  const hasAll = [...wanted.keys()].every((product) =>
    known.some(({ name }) => name === artifactsRole(product)),
  );
  const isListed = isSame(asTargets([...folder.shared]), targets.targets);
  if (!hasAll || !isListed || isOld(targets, LIFETIMES.targets, now)) {
    const added = delegationsFor(
      [...wanted.keys()].filter((product) => !known.some(({ name }) => name === artifactsRole(product))),
      {
        artifacts: holdersOf(targets.delegations, 'artifacts-'),
        manifests: holdersOf(targets.delegations, 'manifests-'),
      },
    );
    const delegations = merged(targets.delegations, added);
    changes.set('targets.json', nextTargets(folder, { now, delegations }));
  }
  requireWithdrawable(withdrawn, folder, wanted);
  for (const product of [...products].sort()) {
    const name = artifactsRole(product);
    const before = folder.roles.get(name)?.envelope.signed;
    const all: Record<string, TargetFile> = { ...before?.targets, ...wanted.get(product) };
    for (const path of withdrawn) delete all[path];
    if (before !== undefined && isSame(all, before.targets) && !isOld(before, LIFETIMES.artifacts, now))
      continue;
    const version = (before?.version ?? targets.version) + 1;
    changes.set(`${name}.json`, unsigned(artifactsMetadata({ version, now }, all)));
  }
  return changes;
}

function requireWithdrawable(withdrawn: readonly string[], folder: TrustFolder, wanted: Wanted): void {
  for (const path of withdrawn) {
    const [, product = ''] = path.split('/');
    const listed = folder.roles.get(artifactsRole(product))?.envelope.signed.targets ?? {};
    if (!Object.hasOwn(listed, path))
      throw new MetadataError('absent', `trust/${artifactsRole(product)}.json does not list ${path}`);
    if (Object.hasOwn(wanted.get(product) ?? {}, path))
      throw new MetadataError(
        'mismatch',
        `a distribution set still installs ${path}: delete that file first`,
      );
  }
}

/** Who is to sign for a role from now on. */
export interface Rotation {
  /** `root`, `targets`, `snapshot`, `timestamp`; `artifacts` or `manifests` of every product, or of one: `artifacts-kiosk`. */
  readonly role: string;
  readonly add: readonly TufKey[];
  /** Ids. */
  readonly remove: readonly string[];
  /** As before, unless said. */
  readonly threshold?: number;
}

/** Other keys for a role, as a proposal: those who sign for the role above have to agree. Throws {@link MetadataError}. */
export function rotated(folder: TrustFolder, rotation: Rotation, now: Instant): Changes {
  const root = folder.roots.at(-1)?.envelope.signed;
  const targets = folder.roles.get('targets')?.envelope.signed;
  if (targets === undefined || root === undefined)
    throw new MetadataError('absent', 'trust/ has no root and targets metadata yet: run tidegate trust init');
  const { role } = rotation;
  const changes = new Map<string, Uint8Array>();
  if (role === 'root' || role === 'targets' || role === 'snapshot' || role === 'timestamp') {
    const holders = changed(role, { role: root.roles[role], keys: root.keys }, rotation);
    const next = withHolders({ ...root, expires: formatExpires(now + LIFETIMES.root) }, { [role]: holders });
    changes.set(...nextRoot(folder, next));
    // Signatures of keys that went count no more, so that it is signed anew.
    if (role === 'targets')
      changes.set('targets.json', nextTargets(folder, { now, delegations: targets.delegations }));
    return changes;
  }
  const { delegations } = targets;
  const names = (delegations?.roles ?? [])
    .map(({ name }) => name)
    .filter(
      (name) => name === role || (['artifacts', 'manifests'].includes(role) && name.startsWith(`${role}-`)),
    );
  if (names.length === 0 || delegations === undefined) {
    const known = ['root', 'targets', 'snapshot', 'timestamp', 'artifacts', 'manifests', 'assignment'];
    throw new MetadataError(
      'absent',
      `there is no role ${role}; there are ${known.join(', ')}, and artifacts-<product>`,
    );
  }
  const roles = delegations.roles.map((each) => {
    if (!names.includes(each.name))
      return { each, holders: { keys: keysOf(each, delegations.keys), threshold: each.threshold } };
    return { each, holders: changed(each.name, { role: each, keys: delegations.keys }, rotation) };
  });
  const keys = Object.fromEntries(
    roles.flatMap(({ holders }) => holders.keys.map((key) => [keyIdOf(key), key] as const)).sort(byFirst),
  );
  const next = {
    keys,
    roles: roles.map(({ each, holders }) => ({
      ...each,
      keyids: holders.keys.map(keyIdOf).sort(),
      threshold: holders.threshold,
    })),
  };
  changes.set('targets.json', nextTargets(folder, { now, delegations: next }));
  for (const name of names) {
    const before = folder.roles.get(name)?.envelope.signed;
    if (before === undefined) continue;
    const at = { version: before.version + 1, now };
    changes.set(`${name}.json`, unsigned(artifactsMetadata(at, before.targets)));
  }
  return changes;
}

/** Other keys that assignments are signed with. Throws {@link MetadataError}. */
export function rotatedAssignmentKeys(
  folder: TrustFolder,
  {
    add,
    remove,
    now,
  }: { readonly add: readonly PublicJwk[]; readonly remove: readonly string[]; readonly now: Instant },
): Changes {
  const targets = folder.roles.get('targets')?.envelope.signed;
  const bytes = folder.shared.get(ASSIGNMENT_KEYS);
  if (targets === undefined || bytes === undefined)
    throw new MetadataError('absent', 'trust/ has no assignment-keys.json yet: run tidegate trust init');
  const { keys } = JSON.parse(Buffer.from(bytes).toString()) as { readonly keys: readonly PublicJwk[] };
  const unknown = remove.find((kid) => keys.every((key) => key.kid !== kid));
  if (unknown !== undefined) {
    const known = keys.map(({ kid }) => kid).join(', ');
    throw new MetadataError('absent', `there is no assignment key ${unknown}; there are ${known}`);
  }
  const kept = keys.filter(({ kid }) => !remove.includes(kid) && add.every((key) => key.kid !== kid));
  const next = textOf({ keys: [...kept, ...add] });
  if (kept.length + add.length === 0)
    throw new MetadataError('absent', 'one key has to be left that assignments are signed with');
  const shared = new Map([...folder.shared, [ASSIGNMENT_KEYS, next] as const]);
  const changes = new Map<string, Uint8Array>([[ASSIGNMENT_KEYS, next]]);
  changes.set('targets.json', nextTargets({ ...folder, shared }, { now, delegations: targets.delegations }));
  return changes;
}

export interface SigningPart {
  /** Below `trust/`. */
  readonly file: string;
  readonly role: string;
  /** A new root is signed by the keys of the version before, too: that version. */
  readonly keysOf?: number;
  readonly threshold: number;
  /** Ids. */
  readonly keyids: readonly string[];
  readonly signed: readonly string[];
}

/** Who has to sign what, and who has: one part for every group of keys that has to agree. */
export function signingParts(folder: TrustFolder): readonly SigningPart[] {
  const parts: SigningPart[] = [];
  const { whole } = wholeRoots(folder);
  const root = folder.roots.at(-1)?.envelope;
  const before = folder.roots.at(-2)?.envelope.signed;
  const part = (
    { file, role, keysOf }: Pick<SigningPart, 'file' | 'role' | 'keysOf'>,
    envelope: Envelope,
    by: RoleKeys,
    keys: Root['keys'],
  ) =>
    parts.push({
      file,
      role,
      ...(keysOf === undefined ? {} : { keysOf }),
      threshold: by.threshold,
      keyids: by.keyids,
      signed: [...signersOf(envelope, by, keys)],
    });
  if (root === undefined) return parts;
  const file = rootFile(root.signed.version);
  // Once it is whole, what the version before it wanted is history.
  if (before !== undefined && whole.length < folder.roots.length)
    part({ file, role: 'root', keysOf: before.version }, root, before.roles.root, before.keys);
  part({ file, role: 'root' }, root, root.signed.roles.root, root.signed.keys);
  const targets = folder.roles.get('targets')?.envelope;
  if (targets === undefined) return parts;
  part({ file: 'targets.json', role: 'targets' }, targets, root.signed.roles.targets, root.signed.keys);
  const { delegations } = targets.signed;
  for (const role of delegations?.roles ?? []) {
    const envelope = folder.roles.get(role.name)?.envelope;
    if (envelope !== undefined)
      part({ file: `${role.name}.json`, role: role.name }, envelope, role, delegations?.keys ?? {});
  }
  return parts;
}

/** A signature of each signer wherever one of theirs is missing. What has enough is left alone. */
export async function countersigned(folder: TrustFolder, signers: readonly Signer[]): Promise<Changes> {
  const changes = new Map<string, Uint8Array>();
  const parts = signingParts(folder).filter(({ signed, threshold }) => signed.length < threshold);
  const envelopes: readonly (readonly [string, Envelope | undefined])[] = [
    [rootFile(folder.roots.length), folder.roots.at(-1)?.envelope],
    ...Array.from(folder.roles, ([name, { envelope }]) => [`${name}.json`, envelope] as const),
  ];
  for (const [file, envelope] of envelopes) {
    if (envelope === undefined) continue;
    const wanted = parts.filter((part) => part.file === file);
    const by = signers.filter(({ keyid }) =>
      wanted.some(({ keyids, signed }) => keyids.includes(keyid) && !signed.includes(keyid)),
    );
    if (by.length === 0) continue;
    const { signatures } = await signMetadata(envelope.signed, by);
    const all = [
      ...envelope.signatures.filter(({ keyid }) => by.every((each) => each.keyid !== keyid)),
      ...signatures,
    ];
    all.sort((a, b) => (a.keyid < b.keyid ? -1 : 1));
    changes.set(file, textOf({ signatures: all, signed: envelope.signed }));
  }
  return changes;
}

/** Readable in a pull request; what is served is written without spaces. */
function textOf(value: object): Uint8Array {
  return Buffer.from(`${JSON.stringify(value, null, 1)}\n`);
}

function unsigned(signed: Signed): Uint8Array {
  return textOf({ signatures: [], signed });
}

/** The next version of the root; one that is not signed by enough yet gives way. */
function nextRoot(folder: TrustFolder, root: Root): [string, Uint8Array] {
  const { whole } = wholeRoots(folder);
  const version = whole.length + 1;
  return [rootFile(version), unsigned({ ...root, version })];
}

function nextTargets(
  folder: TrustFolder,
  { now, delegations }: { readonly now: Instant; readonly delegations: Delegations | undefined },
): Uint8Array {
  const version = (folder.roles.get('targets')?.envelope.signed.version ?? 0) + 1;
  return unsigned(targetsOf({ version, now, shared: folder.shared, delegations }));
}

function targetsOf(given: {
  readonly version: number;
  readonly now: Instant;
  readonly shared: TrustFolder['shared'];
  readonly delegations: Delegations | undefined;
}): Targets {
  const { version, now, shared, delegations } = given;
  return {
    _type: 'targets',
    spec_version: SPEC_VERSION,
    version,
    expires: formatExpires(now + LIFETIMES.targets),
    ...(delegations === undefined ? {} : { delegations }),
    targets: asTargets([...shared]),
  };
}

function artifactsMetadata(
  { version, now }: { readonly version: number; readonly now: Instant },
  targets: Targets['targets'] = {},
): Targets {
  return {
    _type: 'targets',
    spec_version: SPEC_VERSION,
    version,
    expires: formatExpires(now + LIFETIMES.artifacts),
    targets: Object.fromEntries(Object.entries(targets).sort(byFirst)),
  };
}

function withHolders(root: Root, over: Partial<Record<keyof Root['roles'], Holders>>): Root {
  const holders = Object.fromEntries(
    Object.entries(root.roles).map(([role, each]) => [
      role,
      over[role as keyof Root['roles']] ?? { keys: keysOf(each, root.keys), threshold: each.threshold },
    ]),
  ) as Record<keyof Root['roles'], Holders>;
  const all = Object.values(holders).flatMap(({ keys }) => keys.map((key) => [keyIdOf(key), key] as const));
  const roles = Object.fromEntries(
    Object.entries(holders).map(([role, { keys, threshold }]) => [
      role,
      { keyids: keys.map(keyIdOf).sort(), threshold },
    ]),
  ) as unknown as Root['roles'];
  return { ...root, keys: Object.fromEntries(all.sort(byFirst)), roles };
}

function changed(
  name: string,
  { role, keys }: { readonly role: RoleKeys; readonly keys: Root['keys'] },
  { add, remove, threshold = role.threshold }: Rotation,
): Holders {
  const unknown = remove.find((keyid) => !role.keyids.includes(keyid));
  if (unknown !== undefined)
    throw new MetadataError(
      'absent',
      `${name} has no key ${unknown.slice(0, 12)}: tidegate trust status shows its keys`,
    );
  const kept = keysOf(role, keys).filter(
    (key) => !remove.includes(keyIdOf(key)) && add.every((each) => keyIdOf(each) !== keyIdOf(key)),
  );
  const all = [...kept, ...add];
  if (threshold < 1 || threshold > all.length)
    throw new MetadataError(
      'signatures',
      `${name} would have ${all.length} keys, and must have a threshold from 1 to as many; found ${threshold}`,
    );
  return { keys: all, threshold };
}

function keysOf({ keyids }: RoleKeys, keys: Root['keys']): readonly TufKey[] {
  return keyids.flatMap((keyid) => keys[keyid] ?? []);
}

/** Who signs for a kind of role: as for the first product that has one. */
function holdersOf(delegations: Delegations | undefined, prefix: string): Holders {
  const role = delegations?.roles.find(({ name }) => name.startsWith(prefix));
  if (role === undefined || delegations === undefined)
    throw new MetadataError(
      'absent',
      `nobody signs for ${prefix}<product> yet: there must be a product that does`,
    );
  return { keys: keysOf(role, delegations.keys), threshold: role.threshold };
}

function delegationsFor(
  products: Iterable<string>,
  holders: { readonly artifacts: Holders; readonly manifests: Holders },
): Delegations | undefined {
  const names = [...products].flatMap((product) => [artifactsRole(product), manifestsRole(product)]);
  return delegationsOf(names, holders);
}

function merged(a: Delegations | undefined, b: Delegations | undefined): Delegations | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  const keys = Object.fromEntries(Object.entries({ ...a.keys, ...b.keys }).sort(byFirst));
  return { keys, roles: [...a.roles, ...b.roles].sort((one, other) => (one.name < other.name ? -1 : 1)) };
}

/** Less than half of its life is left: whoever signs anyway signs for a full one. */
function isOld(signed: Signed, lifetime: number, now: Instant): boolean {
  return expiresAt(signed) - now < lifetime / 2;
}

function isSame(a: object, b: object): boolean {
  return canonicalJson(a) === canonicalJson(b);
}

function byFirst([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : 1;
}
