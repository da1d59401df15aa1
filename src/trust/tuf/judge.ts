/**
 * Whether clients will take what people have signed, and whether people will want them to. Everything is said at once, each
 * with its file and the next step: a ceremony has many hands.
 */
import { DAY, type Instant } from '../../core/model/time.ts';
import type { PublicKeySet } from '../signing-key.ts';
import { ASSIGNMENT_KEYS } from './content.ts';
import { type Flaw, nameOf, TRUST_FOLDER, type TrustFolder } from './folder.ts';
import {
  type DelegatedRole,
  type Envelope,
  expiresAt,
  MetadataError,
  type RoleKeys,
  type Root,
  requireSigned,
  type Signed,
  signersOf,
  type Targets,
  type TufKey,
} from './metadata.ts';
import {
  asTargets,
  contentOfSigned,
  LIFETIMES,
  type RepositorySigners,
  type SignedFile,
} from './repository.ts';
import { productOf } from './roles.ts';
import { requireNext, rootFile } from './root-chain.ts';

/** The roots up to the first that too few have signed, and what is wrong with that one. */
export function wholeRoots({ roots }: Pick<TrustFolder, 'roots'>): {
  readonly whole: readonly SignedFile<Root>[];
  readonly flaws: readonly Flaw[];
} {
  const whole: SignedFile<Root>[] = [];
  for (const root of roots) {
    const file = rootFile(whole.length + 1);
    const flaws = flawsIn(file, () => requireNext(whole.at(-1), root));
    if (flaws.length > 0) return { whole, flaws };
    whole.push(root);
  }
  return { whole, flaws: [] };
}

/** What keeps `targets` from being taken under `root`. */
export function targetsFlaws(
  { envelope }: SignedFile<Targets>,
  { root, shared }: { readonly root: Root; readonly shared: TrustFolder['shared'] },
): readonly Flaw[] {
  const { signed } = envelope;
  return [
    ...flawsIn('targets.json', () =>
      requireSigned(envelope, root.roles.targets, { keys: root.keys, name: 'targets.json' }),
    ),
    ...sharedFlaws(signed, shared),
    ...(signed.delegations?.roles ?? []).flatMap(delegationFlaws),
  ];
}

/** Files that `targets` lists itself and that are not here as it says, or the other way round. */
export function sharedFlaws({ targets }: Targets, shared: TrustFolder['shared']): readonly Flaw[] {
  const here = asTargets([...shared]);
  const paths = [...new Set([...Object.keys(targets), ...Object.keys(here)])].sort();
  const stale = paths.filter((path) => {
    const [listed, own] = [ownValue(targets, path), ownValue(here, path)];
    return listed?.hashes.sha256 !== own?.hashes.sha256 || listed?.length !== own?.length;
  });
  return someOf(stale).map((path) =>
    flawOf('targets.json', `does not list trust/${path} as it is: run tidegate trust sign`),
  );
}

/** Names and paths are ours to choose: anything else would let a product's keys sign for another. */
function delegationFlaws({ name, paths, terminating }: DelegatedRole): readonly Flaw[] {
  const [, kind, product] = /^(artifacts|manifests)-(.+)$/.exec(name) ?? [];
  const isRight = kind !== undefined && terminating && paths.join() === `${kind}/${product}/*`;
  if (isRight) return [];
  const expected =
    'artifacts-<product> for artifacts/<product>/*, or the same of manifests, each terminating';
  return [flawOf('targets.json', `delegates ${paths.join(', ')} to ${name}; expected ${expected}`)];
}

/** What keeps a product's `artifacts-<product>` from being taken under `targets`. */
export function artifactsFlaws(
  name: string,
  { envelope }: SignedFile<Targets>,
  { delegations }: Targets,
): readonly Flaw[] {
  const file = `${name}.json`;
  const role = delegations?.roles.find((each) => each.name === name);
  if (role === undefined || delegations === undefined)
    return [flawOf(file, 'is delegated to by nobody: run tidegate trust rotate targets')];
  const prefix = `artifacts/${productOf(name)}/`;
  const foreign = Object.keys(envelope.signed.targets).filter((path) => !path.startsWith(prefix));
  return [
    ...flawsIn(file, () => requireSigned(envelope, role, { keys: delegations.keys, name: file })),
    ...someOf(foreign).map((path) => flawOf(file, `lists ${path}, which must begin with ${prefix}`)),
  ];
}

/** What keeps this server from signing its own roles under them. */
export function onlineFlaws(
  { root, targets, shared }: { root: Root; targets: Targets; shared: TrustFolder['shared'] },
  { signers, assignment }: { readonly signers: RepositorySigners; readonly assignment: { kid: string } },
): readonly Flaw[] {
  const flaws: Flaw[] = [];
  const may = (role: RoleKeys, keyid: string) => role.keyids.includes(keyid) && role.threshold === 1;
  const ours = (role: string, keyid: string) =>
    `must have this server's key ${keyid.slice(0, 12)} for ${role}, with a threshold of 1: run tidegate trust rotate ${role}`;
  for (const role of ['snapshot', 'timestamp'] as const) {
    const { keyid } = signers[role];
    if (!may(root.roles[role], keyid)) flaws.push(flawOf(rootFile(root.version), ours(role, keyid)));
  }
  const lists = targets.delegations?.roles.filter(({ name }) => name.startsWith('manifests-')) ?? [];
  if (lists.some((role) => !may(role, signers.manifests.keyid)))
    flaws.push(flawOf('targets.json', ours('manifests', signers.manifests.keyid)));
  const keys = shared.get(ASSIGNMENT_KEYS);
  const listed = keys === undefined ? [] : (JSON.parse(Buffer.from(keys).toString()) as PublicKeySet).keys;
  if (listed.every(({ kid }) => kid !== assignment.kid)) {
    const message = `must have this server's key ${assignment.kid}: run tidegate trust rotate assignment`;
    flaws.push(flawOf(ASSIGNMENT_KEYS, message));
  }
  return flaws;
}

/** Longer lives than ours make a stolen key good for longer; what has run out is for people to renew. */
export function expiryFlaws(
  file: string,
  signed: Pick<Signed, 'expires'>,
  { kind, now }: { readonly kind: 'root' | 'targets' | 'artifacts'; readonly now: Instant },
): readonly Flaw[] {
  const left = expiresAt(signed) - now;
  if (left <= 0)
    return [flawOf(file, `has expired on ${signed.expires}: run tidegate trust sign to renew it`)];
  const most = LIFETIMES[kind] + DAY;
  if (left <= most) return [];
  return [
    flawOf(file, `expires on ${signed.expires}; expected at most ${LIFETIMES[kind] / DAY} days from now`),
  ];
}

/** Everything that is wrong with the folder; `now`: expiries are held against it. */
export function folderFlaws(folder: TrustFolder, now: Instant): readonly Flaw[] {
  const { roots, roles, shared } = folder;
  if (roots.length === 0 && roles.size === 0) return folder.flaws;
  const flaws: Flaw[] = [...folder.flaws];
  const { whole, flaws: ofRoots } = wholeRoots(folder);
  flaws.push(...ofRoots);
  const newest = roots.at(-1)?.envelope.signed;
  if (newest === undefined || whole.length === 0) {
    if (roots.length === 0) flaws.push(flawOf('1.root.json', 'is missing: run tidegate trust init'));
    return flaws;
  }
  flaws.push(...expiryFlaws(rootFile(newest.version), newest, { kind: 'root', now }));
  flaws.push(...foreignFlaws(folder));
  const targets = roles.get('targets');
  if (targets === undefined) {
    flaws.push(flawOf('targets.json', 'is missing: run tidegate trust init'));
    return flaws;
  }
  const { signed } = targets.envelope;
  flaws.push(...targetsFlaws(targets, { root: newest, shared }));
  flaws.push(...expiryFlaws('targets.json', signed, { kind: 'targets', now }));
  flaws.push(...separationFlaws(newest, signed));
  for (const { name } of signed.delegations?.roles ?? []) {
    if (name.startsWith('artifacts-') && !roles.has(name))
      flaws.push(
        flawOf(`${name}.json`, 'is missing, and targets.json delegates to it: run tidegate trust sign'),
      );
  }
  for (const [name, role] of roles) {
    if (name === 'targets') continue;
    flaws.push(...artifactsFlaws(name, role, signed));
    flaws.push(...expiryFlaws(`${name}.json`, role.envelope.signed, { kind: 'artifacts', now }));
  }
  return flaws;
}

/** A key on the server is no key of people's. */
function separationFlaws(root: Root, { delegations }: Targets): readonly Flaw[] {
  const { root: top, targets, snapshot, timestamp } = root.roles;
  const online = new Map<string, string>();
  const offline = new Map<string, string>();
  for (const [role, { keyids }] of [
    ['snapshot', snapshot],
    ['timestamp', timestamp],
  ] as const)
    for (const keyid of keyids) online.set(keyid, role);
  for (const [role, { keyids }] of [
    ['root', top],
    ['targets', targets],
  ] as const)
    for (const keyid of keyids) offline.set(keyid, role);
  for (const { name, keyids } of delegations?.roles ?? [])
    for (const keyid of keyids) (name.startsWith('manifests-') ? online : offline).set(keyid, name);
  return [...offline].flatMap(([keyid, role]) => {
    const other = online.get(keyid);
    if (other === undefined) return [];
    const message = `has the key ${keyid.slice(0, 12)} for ${role} and for ${other}, which a server holds: give ${role} a key of people's own`;
    return [flawOf(rootFile(root.version), message)];
  });
}

/** A signature by nobody in particular does no harm, and was no mistake that somebody wants to find later. */
function foreignFlaws(folder: TrustFolder): readonly Flaw[] {
  const { roots, roles } = folder;
  const root = roots.at(-1);
  const before = roots.at(-2)?.envelope.signed;
  const targets = roles.get('targets');
  const checks: [string, Envelope, readonly (readonly [RoleKeys, Readonly<Record<string, TufKey>>])[]][] = [];
  if (root !== undefined) {
    const { signed } = root.envelope;
    const may = [signed, ...(before === undefined ? [] : [before])];
    checks.push([rootFile(signed.version), root.envelope, may.map((each) => [each.roles.root, each.keys])]);
    if (targets !== undefined)
      checks.push(['targets.json', targets.envelope, [[signed.roles.targets, signed.keys]]]);
  }
  const delegations = targets?.envelope.signed.delegations;
  for (const role of delegations?.roles ?? []) {
    const file = roles.get(role.name);
    if (file !== undefined)
      checks.push([`${role.name}.json`, file.envelope, [[role, delegations?.keys ?? {}]]]);
  }
  return checks.flatMap(([file, envelope, may]) => {
    const counted = new Set(may.flatMap(([role, known]) => [...signersOf(envelope, role, known)]));
    return envelope.signatures
      .filter(({ keyid }) => !counted.has(keyid))
      .map(({ keyid }) => {
        const message = `has a signature by ${nameOf(keyid, folder)} that does not count: take it out, or sign again`;
        return flawOf(file, message);
      });
  });
}

/**
 * What a later commit may not do to an earlier one's: a version that was begun only gains signatures; what is new has a higher
 * version.
 */
export function historyFlaws(before: TrustFolder, after: TrustFolder): readonly Flaw[] {
  const flaws: Flaw[] = [];
  const compare = (file: string, old: Envelope, now: Envelope | undefined) => {
    if (now === undefined) {
      if (old.signatures.length > 0)
        flaws.push(flawOf(file, 'was taken away, and somebody has signed it: restore it'));
    } else if (now.signed.version < old.signed.version)
      flaws.push(
        flawOf(file, `has version ${now.signed.version}, which must not be below ${old.signed.version}`),
      );
    else if (now.signed.version === old.signed.version) {
      if (contentOfSigned(now.signed) !== contentOfSigned(old.signed)) {
        if (old.signatures.length === 0) return;
        const message = `says something else under version ${now.signed.version}, which somebody has signed: signatures alone may be added to it`;
        flaws.push(flawOf(file, message));
      } else if (old.signatures.some(({ keyid }) => now.signatures.every((each) => each.keyid !== keyid)))
        flaws.push(flawOf(file, `lost a signature of version ${now.signed.version}; restore it`));
    }
  };
  // A root that too few have signed is no version yet: another proposal may take its place.
  for (const [index, { envelope }] of wholeRoots(before).whole.entries())
    compare(rootFile(index + 1), envelope, after.roots[index]?.envelope);
  for (const [name, { envelope }] of before.roles)
    compare(`${name}.json`, envelope, after.roles.get(name)?.envelope);
  return flaws;
}

/** Names come from anybody: `constructor` is one. */
function ownValue<Value>(record: Readonly<Record<string, Value>>, key: string): Value | undefined {
  return Object.hasOwn(record, key) ? record[key] : undefined;
}

/** One example says it, and ten say it all. */
function someOf(paths: readonly string[]): readonly string[] {
  return paths.slice(0, 10);
}

function flawsIn(file: string, check: () => void): readonly Flaw[] {
  try {
    check();
    return [];
  } catch (error) {
    if (!(error instanceof MetadataError)) throw error;
    const next = error.code === 'signatures' ? '; tidegate trust status says whose are missing' : '';
    return [flawOf(file, error.message.replace(`${file} `, '').replace(`${file}, `, '') + next)];
  }
}

/** `file`: below `trust/`. */
export function flawOf(file: string, message: string): Flaw {
  return { file: `${TRUST_FOLDER}/${file}`, message };
}
