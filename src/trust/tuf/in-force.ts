/**
 * Which of what people have signed is in force. The newest of the repository, as far as clients will take it; else what has been
 * published: a folder that is half signed, or tampered with, takes nothing away from what devices have.
 */

import { DAY, type Instant, SECOND } from '../../core/model/time.ts';
import type { PublicKeySet } from '../signing-key.ts';
import { type Flaw, TRUST_FOLDER, type TrustFolder } from './folder.ts';
import {
  artifactsFlaws,
  expiryFlaws,
  flawOf,
  onlineFlaws,
  sharedFlaws,
  targetsFlaws,
  wholeRoots,
} from './judge.ts';
import { MetadataError, parseMetadata, type Root, type Targets } from './metadata.ts';
import {
  contentOfSigned,
  type DevelopmentTrust,
  type PeoplesTrust,
  type RepositorySigners,
  type RepositoryState,
  rolePlace,
  rootPlace,
  type SignedFile,
  type Trust,
  targetPlace,
} from './repository.ts';
import { chainOf, rootFile } from './root-chain.ts';

export interface InForce {
  readonly trust: Trust;
  /** What of the folder is not in force, and why. */
  readonly flaws: readonly Flaw[];
}

export interface InForceRequest {
  /** Of the newest commit; undefined where none has been read. */
  readonly folder: TrustFolder | undefined;
  readonly state: RepositoryState | undefined;
  /** A published file, by place. */
  readonly published: (place: string) => Promise<Uint8Array | undefined>;
  /** The first root that this server ever published, which is all that devices know for certain. */
  readonly pinnedRoot: () => Promise<Uint8Array | undefined>;
  readonly development: () => Promise<DevelopmentTrust>;
  readonly signers: RepositorySigners;
  readonly assignment: PublicKeySet['keys'][number];
  readonly now: Instant;
}

/** Throws {@link MetadataError} where nothing is in force: people's trust has flaws, and nothing was published before. */
export async function trustInForce(request: InForceRequest): Promise<InForce> {
  const { folder, state } = request;
  const before = state === undefined || state.development ? undefined : await publishedTrust(state, request);
  if (folder === undefined || folder.roots.length === 0) {
    if (before === undefined) return { trust: await request.development(), flaws: folder?.flaws ?? [] };
    const lost = flawOf('1.root.json', 'is not there any more: restore the folder from history');
    // Not read yet is not lost.
    return { trust: before, flaws: folder === undefined ? [] : [lost] };
  }
  const taken = await take(folder, before, request).catch(unjudged);
  if ('trust' in taken) return { ...taken, flaws: few(taken.flaws) };
  const flaws = few(taken.flaws);
  if (before !== undefined) return { trust: before, flaws };
  if (state !== undefined) return { trust: await request.development(), flaws };
  const said = flaws.map(({ file, message }) => `${file} ${message}`).join('; ');
  throw new MetadataError('signatures', said);
}

/** Whatever was pushed or is broken, what is published goes on. */
function unjudged(error: unknown): { readonly flaws: readonly Flaw[] } {
  return {
    flaws: [flawOf('', `cannot be judged: ${error instanceof Error ? error.message : String(error)}`)],
  };
}

/** More than these nobody reads. */
const FLAWS_MAX = 50;

function few(flaws: readonly Flaw[]): readonly Flaw[] {
  if (flaws.length <= FLAWS_MAX) return flaws;
  return [
    ...flaws.slice(0, FLAWS_MAX),
    flawOf('', `has ${flaws.length - FLAWS_MAX} more problems: run tidegate validate`),
  ];
}

/** The newest of each file that goes together with the others; else what is wrong with the newest. */
async function take(
  folder: TrustFolder,
  before: PeoplesTrust | undefined,
  request: InForceRequest,
): Promise<InForce | { readonly flaws: readonly Flaw[] }> {
  const { whole, flaws: ofRoots } = wholeRoots(folder);
  const chain = await takenRoots(whole, request);
  const flaws: Flaw[] = [...folder.flaws, ...ofRoots, ...chain.flaws];
  const own = { targets: folder.roles.get('targets'), shared: folder.shared };
  // A signature that was added later is no other file: what was published under that version stays.
  const isOut = isPublished('targets', own.targets, request);
  const ofFolder = isOut ? before : own;
  if (isOut && own.targets !== undefined) flaws.push(...sharedFlaws(own.targets.envelope.signed, own.shared));
  let first: readonly Flaw[] | undefined;
  for (const roots of new Set([chain.roots, before?.roots])) {
    const root = roots?.at(-1)?.envelope.signed;
    if (roots === undefined || root === undefined) continue;
    for (const candidate of [ofFolder, before]) {
      if (candidate === undefined) continue;
      const found = candidateFlaws(candidate, root, request);
      // Under a root that is not whole yet, the rest waits for it.
      first ??= ofRoots.length > 0 ? [] : found;
      if (found.length > 0 || candidate.targets === undefined) continue;
      const { targets, shared } = candidate;
      const artifacts = takenArtifacts(folder, targets.envelope.signed, before, request);
      if (artifacts.missing.length > 0) {
        // Without them products that devices have would be listed no more.
        if (first.length === 0) first = artifacts.missing;
        continue;
      }
      const trust: PeoplesTrust = { kind: 'people', roots, targets, shared, artifacts: artifacts.files };
      return { trust, flaws: [...flaws, ...first, ...artifacts.flaws] };
    }
  }
  return { flaws: [...flaws, ...(first ?? [])] };
}

function candidateFlaws(
  { targets, shared }: Pick<PeoplesTrust, 'shared'> & { readonly targets: SignedFile<Targets> | undefined },
  root: Root,
  { signers, assignment, state, now }: InForceRequest,
): readonly Flaw[] {
  if (targets === undefined) return [flawOf('targets.json', 'is missing or cannot be read')];
  const { signed } = targets.envelope;
  return [
    ...expiryUnlessPublished('root', rootFile(root.version), root, { state, now }),
    ...targetsFlaws(targets, { root, shared }),
    ...versionFlaws('targets', signed, { state, now }),
    ...onlineFlaws({ root, targets: signed, shared }, { signers, assignment }),
  ];
}

/** By role: the folder's, else what was published, if `targets` still wants it. */
function takenArtifacts(
  folder: TrustFolder,
  targets: Targets,
  before: PeoplesTrust | undefined,
  request: InForceRequest,
): {
  readonly files: ReadonlyMap<string, SignedFile<Targets>>;
  readonly flaws: readonly Flaw[];
  /** Of roles that devices have, or, where nobody knows which they have, of any. */
  readonly missing: readonly Flaw[];
} {
  const files = new Map<string, SignedFile<Targets>>();
  const flaws: Flaw[] = [];
  const names = targets.delegations?.roles.map(({ name }) => name) ?? [];
  for (const name of names.filter((each) => each.startsWith('artifacts-'))) {
    const inFolder = folder.roles.get(name);
    const own = isPublished(name, inFolder, request) ? before?.artifacts.get(name) : inFolder;
    const ofOwn =
      own === undefined
        ? [flawOf(`${name}.json`, 'is missing, and targets.json delegates to it: run tidegate trust sign')]
        : [...artifactsFlaws(name, own, targets), ...versionFlaws(name, own.envelope.signed, request)];
    flaws.push(...ofOwn);
    if (own !== undefined && ofOwn.length === 0) files.set(name, own);
    else {
      const old = before?.artifacts.get(name);
      if (old !== undefined && artifactsFlaws(name, old, targets).length === 0) files.set(name, old);
    }
  }
  const { state } = request;
  const had = state === undefined ? names : Object.keys(state.roles);
  const missing = had
    .filter((name) => name.startsWith('artifacts-') && !files.has(name))
    .map(
      (name) =>
        flaws.find(({ file }) => file.endsWith(`/${name}.json`)) ??
        flawOf('targets.json', `must delegate to ${name}, which devices have`),
    );
  return { files, flaws, missing };
}

/** Whether the file says what is published under its version: then that file, with the signatures it had, is what devices have. */
function isPublished(
  name: string,
  file: SignedFile<Targets> | undefined,
  { state }: Pick<InForceRequest, 'state'>,
): boolean {
  const published = state?.development === false ? state.roles[name] : undefined;
  if (file === undefined || published?.version !== file.envelope.signed.version) return false;
  return published.content === contentOfSigned(file.envelope.signed);
}

/** Devices have seen the version that is published: below it there is nothing for them, and beside it an attack. */
function versionFlaws(
  name: string,
  signed: Targets,
  { state, now }: Pick<InForceRequest, 'state' | 'now'>,
): readonly Flaw[] {
  const before = state?.roles[name];
  const file = `${name}.json`;
  if (signed.version > now / SECOND + VERSIONS_AHEAD_MAX)
    return [
      flawOf(
        file,
        `has version ${signed.version}, so far ahead that it leaves no room: give it a version nearer to the last one`,
      ),
    ];
  if (before === undefined || signed.version > before.version)
    return expiryUnlessPublished(name, file, signed, { state: undefined, now });
  if (signed.version === before.version && before.content === contentOfSigned(signed)) return [];
  const most = `devices have seen version ${before.version}`;
  return [flawOf(file, `has version ${signed.version}, and ${most}: give it a version above`)];
}

/** A year, in versions that count seconds. */
const VERSIONS_AHEAD_MAX = (365 * DAY) / SECOND;

/** What is out already may run out; nothing new that has run out, or that lives too long, is published. */
function expiryUnlessPublished(
  name: string,
  file: string,
  signed: Root | Targets,
  { state, now }: Pick<InForceRequest, 'state' | 'now'>,
): readonly Flaw[] {
  if (name === 'root' && state !== undefined && signed.version <= state.root.version) return [];
  const kind = name === 'root' || name === 'targets' ? name : 'artifacts';
  return expiryFlaws(file, signed, { kind, now });
}

/** The roots of the folder, if they go on from those that devices have: those are for ever. */
async function takenRoots(
  whole: readonly SignedFile<Root>[],
  { state, published, pinnedRoot }: InForceRequest,
): Promise<{ readonly roots?: readonly SignedFile<Root>[]; readonly flaws: readonly Flaw[] }> {
  // Only what counts is published, and nothing of how somebody has written it.
  const roots = whole.map(({ envelope }) => ({ envelope, bytes: Buffer.from(JSON.stringify(envelope)) }));
  const pinned = await pinnedRoot();
  const [first] = whole;
  if (pinned !== undefined && first !== undefined) {
    const known = parseMetadata(pinned, 'root', rootFile(1)).signed;
    if (contentOfSigned(known) !== contentOfSigned(first.envelope.signed)) {
      const next =
        'restore it; only where devices are to begin anew, take 1.root.json away from the keys of this server';
      return { flaws: [flawOf(rootFile(1), `is not the one that this server began with: ${next}`)] };
    }
  }
  for (let version = 1; version <= (state?.root.version ?? 0); version += 1) {
    const name = rootFile(version);
    const bytes = await published(rootPlace(version));
    const own = roots[version - 1];
    if (bytes === undefined) continue;
    if (own === undefined) return { flaws: [flawOf(name, 'is missing, and devices have it: restore it')] };
    const theirs = { bytes: Buffer.from(bytes), envelope: parseMetadata(bytes, 'root', name) };
    if (contentOfSigned(theirs.envelope.signed) !== contentOfSigned(own.envelope.signed)) {
      const next = 'restore it, or run tidegate trust init anew where it was made from other roots';
      return { flaws: [flawOf(name, `is not the one that devices have: ${next}`)] };
    }
    // A signature that was added later is no other file.
    roots[version - 1] = theirs;
  }
  return roots.length === 0 ? { flaws: [] } : { roots, flaws: [] };
}

/** What people have signed, as it was published. */
async function publishedTrust(
  state: RepositoryState,
  { published }: Pick<InForceRequest, 'published'>,
): Promise<PeoplesTrust> {
  const read = async (place: string): Promise<Uint8Array> => {
    const bytes = await published(place);
    if (bytes !== undefined) return bytes;
    throw new MetadataError('absent', `${place} was published and is not in the store any more`);
  };
  const readRole = async (name: string): Promise<SignedFile<Targets>> => {
    const bytes = await read(rolePlace(name, state.roles[name] ?? { version: 0 }));
    return { bytes, envelope: parseMetadata(bytes, 'targets', `${TRUST_FOLDER}/${name}.json`) };
  };
  const roots: Uint8Array[] = [];
  for (let version = 1; version <= state.root.version; version += 1)
    roots.push(await read(rootPlace(version)));
  const targets = await readRole('targets');
  const shared = new Map<string, Uint8Array>();
  for (const [path, { hashes }] of Object.entries(targets.envelope.signed.targets))
    shared.set(path, await read(targetPlace(path, hashes.sha256)));
  const artifacts = new Map<string, SignedFile<Targets>>();
  for (const name of Object.keys(state.roles))
    if (name.startsWith('artifacts-')) artifacts.set(name, await readRole(name));
  return { kind: 'people', roots: chainOf(roots), targets, shared, artifacts };
}
