/**
 * A TUF client (specification 1.0.34, section 5) for devices: what is trusted goes in and comes out as plain text, the network
 * and the time are passed in, and every file that is trusted is told before the next one is asked for, so that a device that
 * loses power has lost nothing but what came after.
 */
import { hash } from 'node:crypto';
import type { Instant } from '../core/model/time.ts';
import {
  type Delegations,
  type Envelope,
  expiresAt,
  LENGTH_MAX,
  MetadataError,
  type MetaFile,
  parseMetadata,
  type Root,
  requireSigned,
  type Signed,
  type TargetFile,
  type Targets,
} from '../trust/tuf/metadata.ts';

/** What a device trusts, as files: kept by the device, whole or not at all. It begins with `{ root: <1.root.json>, roles: {} }`. */
export interface TrustedFiles {
  readonly root: string;
  readonly timestamp?: string;
  readonly snapshot?: string;
  /** `targets` and those that it delegates to, by name. */
  readonly roles: Readonly<Record<string, string>>;
}

export interface TufPorts {
  /**
   * A file below `/tuf`: at most `bytesMax` bytes of it (one more is enough to be refused); undefined where the server says that
   * it is not there. Throws where it cannot be had.
   */
  readonly fetch: (path: string, bytesMax: number) => Promise<Uint8Array | undefined>;
  /** Kept for good before this resolves. */
  readonly keep: (files: TrustedFiles) => Promise<void>;
  /** One instant for a whole update. */
  readonly now: Instant;
}

/** New roots in one update. */
const ROOTS_MAX = 256;
/** Roles that are asked about one target. */
const DELEGATIONS_MAX = 32;

/**
 * Brings root, timestamp, snapshot and targets up to date. Throws {@link MetadataError} where what the server says is not to be
 * trusted; what was kept until then is.
 */
export async function refresh(files: TrustedFiles, ports: TufPorts): Promise<TrustedFiles> {
  const withRoot = await updateRoot(files, ports);
  const withTimestamp = await updateTimestamp(withRoot, ports);
  const withSnapshot = await updateSnapshot(withTimestamp, ports);
  const { files: updated } = await updateRole(withSnapshot, { name: 'targets', delegator: 'root' }, ports);
  return updated;
}

export interface FoundTarget {
  readonly files: TrustedFiles;
  /** Absent: nobody vouches for such a target. */
  readonly target?: TargetFile & { readonly role: string; readonly roleVersion: number };
}

/** What the roles that may say so say of a target: after a {@link refresh}, at the same instant. */
export async function findTarget(files: TrustedFiles, path: string, ports: TufPorts): Promise<FoundTarget> {
  let current = files;
  const visited = new Set<string>();
  let toVisit: { readonly name: string; readonly delegator: string }[] = [
    { name: 'targets', delegator: 'root' },
  ];
  for (
    let next = toVisit.shift();
    next !== undefined && visited.size < DELEGATIONS_MAX;
    next = toVisit.shift()
  ) {
    if (visited.has(next.name)) continue;
    visited.add(next.name);
    const loaded = await updateRole(current, next, ports);
    current = loaded.files;
    const { targets, delegations, version } = loaded.envelope.signed;
    const file = Object.hasOwn(targets, path) ? targets[path] : undefined;
    if (file !== undefined)
      return { files: current, target: { ...file, role: next.name, roleVersion: version } };
    const { name } = next;
    const children: { name: string; delegator: string }[] = [];
    for (const role of delegations?.roles ?? []) {
      if (!role.paths.some((pattern) => matchesPattern(path, pattern))) continue;
      children.push({ name: role.name, delegator: name });
      // Nobody else is asked.
      if (role.terminating) toVisit = [];
      if (role.terminating) break;
    }
    toVisit = [...children, ...toVisit];
  }
  return { files: current };
}

/** The content of a target that metadata lists. Throws {@link MetadataError} where it is not what is listed. */
export async function downloadTarget(
  path: string,
  { length, hashes }: TargetFile,
  { fetch }: Pick<TufPorts, 'fetch'>,
): Promise<Uint8Array> {
  const slash = path.lastIndexOf('/') + 1;
  const place = `targets/${path.slice(0, slash)}${hashes.sha256}.${path.slice(slash)}`;
  const bytes = await fetch(place, length);
  if (bytes === undefined) throw new MetadataError('absent', `${path} is listed and not there`);
  requireSame(bytes, { length, hashes }, path);
  return bytes;
}

/** `*` and `?` stand for what is not a slash. */
export function matchesPattern(path: string, pattern: string): boolean {
  const parts = pattern.split('/');
  const names = path.split('/');
  return parts.length === names.length && parts.every((part, at) => matchesGlob(names[at] ?? '', part));
}

function matchesGlob(name: string, glob: string): boolean {
  // Without a regular expression: a pattern of many stars would take for ever.
  let [at, from, star, mark] = [0, 0, -1, 0];
  while (at < name.length) {
    if (from < glob.length && (glob[from] === '?' || (glob[from] === name[at] && glob[from] !== '*'))) {
      at += 1;
      from += 1;
    } else if (glob[from] === '*') {
      star = from;
      mark = at;
      from += 1;
    } else if (star >= 0) {
      from = star + 1;
      mark += 1;
      at = mark;
    } else return false;
  }
  while (glob[from] === '*') from += 1;
  return from === glob.length;
}

// 5.3

async function updateRoot(files: TrustedFiles, { fetch, keep, now }: TufPorts): Promise<TrustedFiles> {
  const first = rootOf(files);
  let current = files;
  let root = first;
  for (let updates = 0; updates < ROOTS_MAX; updates += 1) {
    const name = `${root.version + 1}.root.json`;
    const bytes = await fetch(`metadata/${name}`, LENGTH_MAX.root);
    if (bytes === undefined) break;
    const next = parseMetadata(bytes, 'root', name);
    requireSigned(next, root.roles.root, {
      keys: root.keys,
      name: `${name}, as version ${root.version} wants it,`,
    });
    requireSigned(next, next.signed.roles.root, { keys: next.signed.keys, name });
    if (next.signed.version !== root.version + 1)
      throw new MetadataError(
        'version',
        `${name} must have version ${root.version + 1}, found ${next.signed.version}`,
      );
    root = next.signed;
    current = { ...current, root: textOf(bytes) };
    await keep(current);
  }
  requireUnexpired(root, 'root.json', now);
  // 5.3.11: whoever stole a key may have raised versions beyond what the new one will ever reach.
  const isRotated = (['timestamp', 'snapshot'] as const).some((role) => !isSameRole(first, root, role));
  if (!isRotated) return current;
  const { timestamp: _timestamp, snapshot: _snapshot, ...rest } = current;
  await keep(rest);
  return rest;
}

function isSameRole(a: Root, b: Root, role: 'timestamp' | 'snapshot'): boolean {
  const keys = ({ roles }: Root) => JSON.stringify([[...roles[role].keyids].sort(), roles[role].threshold]);
  return keys(a) === keys(b);
}

// 5.4

async function updateTimestamp(files: TrustedFiles, { fetch, keep, now }: TufPorts): Promise<TrustedFiles> {
  const root = rootOf(files);
  const bytes = await fetch('metadata/timestamp.json', LENGTH_MAX.timestamp);
  if (bytes === undefined) throw new MetadataError('absent', 'timestamp.json is not there');
  const next = parseMetadata(bytes, 'timestamp', 'timestamp.json');
  requireSigned(next, root.roles.timestamp, { keys: root.keys, name: 'timestamp.json' });
  const trusted = files.timestamp === undefined ? undefined : parsed(files.timestamp, 'timestamp');
  if (trusted !== undefined) {
    requireNotOlder(next.signed, trusted, 'timestamp.json');
    requireNotOlder(next.signed.meta['snapshot.json'], trusted.meta['snapshot.json'], 'snapshot.json');
  }
  // One of the same version is the one that is trusted already, whatever its bytes.
  const isNews = trusted === undefined || next.signed.version > trusted.version;
  requireUnexpired(isNews ? next.signed : trusted, 'timestamp.json', now);
  if (!isNews) return files;
  const updated = { ...files, timestamp: textOf(bytes) };
  await keep(updated);
  return updated;
}

// 5.5

async function updateSnapshot(files: TrustedFiles, { fetch, keep, now }: TufPorts): Promise<TrustedFiles> {
  const root = rootOf(files);
  const meta = parsed(files.timestamp ?? '', 'timestamp').meta['snapshot.json'];
  const trusted = files.snapshot === undefined ? undefined : parsed(files.snapshot, 'snapshot');
  const isKnown =
    files.snapshot !== undefined &&
    trusted?.version === meta.version &&
    isSame(bytesOf(files.snapshot), meta);
  const bytes = isKnown
    ? bytesOf(files.snapshot ?? '')
    : await fetch(`metadata/${meta.version}.snapshot.json`, meta.length ?? LENGTH_MAX.snapshot);
  if (bytes === undefined) throw new MetadataError('absent', `${meta.version}.snapshot.json is not there`);
  requireSame(bytes, meta, 'snapshot.json');
  const next = parseMetadata(bytes, 'snapshot', 'snapshot.json');
  requireSigned(next, root.roles.snapshot, { keys: root.keys, name: 'snapshot.json' });
  requireVersion(next.signed, meta, 'snapshot.json');
  for (const [file, before] of Object.entries(trusted?.meta ?? {})) {
    const after = Object.hasOwn(next.signed.meta, file) ? next.signed.meta[file] : undefined;
    if (after === undefined)
      throw new MetadataError('absent', `snapshot.json does not name ${file} any more`);
    requireNotOlder(after, before, file);
  }
  requireUnexpired(next.signed, 'snapshot.json', now);
  if (isKnown) return files;
  const updated = { ...files, snapshot: textOf(bytes) };
  await keep(updated);
  return updated;
}

// 5.6

async function updateRole(
  files: TrustedFiles,
  { name, delegator }: { readonly name: string; readonly delegator: string },
  { fetch, keep, now }: TufPorts,
): Promise<{ files: TrustedFiles; envelope: Envelope<Targets> }> {
  const file = `${name}.json`;
  const { meta: all } = parsed(files.snapshot ?? '', 'snapshot');
  const meta = Object.hasOwn(all, file) ? all[file] : undefined;
  if (meta === undefined) throw new MetadataError('absent', `snapshot.json does not name ${file}`);
  const trusted = Object.hasOwn(files.roles, name) ? files.roles[name] : undefined;
  const isKnown = trusted !== undefined && isSame(bytesOf(trusted), meta);
  const bytes = isKnown
    ? bytesOf(trusted)
    : await fetch(
        `metadata/${meta.version}.${encodeURIComponent(name)}.json`,
        meta.length ?? LENGTH_MAX.targets,
      );
  if (bytes === undefined) throw new MetadataError('absent', `${meta.version}.${file} is not there`);
  requireSame(bytes, meta, file);
  const envelope = parseMetadata(bytes, 'targets', file);
  const { keys, role } = signersFor(files, name, delegator);
  requireSigned(envelope, role, { keys, name: file });
  requireVersion(envelope.signed, meta, file);
  requireUnexpired(envelope.signed, file, now);
  if (isKnown) return { files, envelope };
  const updated = { ...files, roles: { ...files.roles, [name]: textOf(bytes) } };
  await keep(updated);
  return { files: updated, envelope };
}

function signersFor(
  files: TrustedFiles,
  name: string,
  delegator: string,
): Pick<Delegations, 'keys'> & { role: Root['roles']['root'] } {
  if (delegator === 'root') {
    const { keys, roles } = rootOf(files);
    return { keys, role: roles.targets };
  }
  const { delegations } = parsed(files.roles[delegator] ?? '', 'targets');
  const role = delegations?.roles.find((each) => each.name === name);
  if (delegations === undefined || role === undefined)
    throw new MetadataError('absent', `${delegator}.json delegates nothing to ${name}`);
  return { keys: delegations.keys, role };
}

// What every step asks

function rootOf({ root }: TrustedFiles): Root {
  return parsed(root, 'root');
}

function parsed<Type extends Signed['_type']>(text: string, type: Type): Extract<Signed, { _type: Type }> {
  return parseMetadata(bytesOf(text), type, `the trusted ${type}.json`).signed;
}

function requireUnexpired(signed: Signed, name: string, now: Instant): void {
  if (now < expiresAt(signed)) return;
  throw new MetadataError('expired', `${name} expired at ${signed.expires}, by this device's clock`);
}

function requireVersion({ version }: Signed, meta: MetaFile, name: string): void {
  if (version !== meta.version)
    throw new MetadataError('mismatch', `${name} must have version ${meta.version}, found ${version}`);
}

function requireNotOlder(
  next: { readonly version: number },
  before: { readonly version: number },
  name: string,
): void {
  if (next.version >= before.version) return;
  throw new MetadataError(
    'version',
    `${name} has version ${next.version}, and ${before.version} was seen before`,
  );
}

function requireSame(bytes: Uint8Array, expected: Pick<MetaFile, 'length' | 'hashes'>, name: string): void {
  const { length, hashes } = expected;
  if (length !== undefined && bytes.byteLength !== length)
    throw new MetadataError(
      bytes.byteLength > length ? 'too-large' : 'mismatch',
      `${name} must have ${length} bytes, found ${bytes.byteLength > length ? 'more' : bytes.byteLength}`,
    );
  if (hashes !== undefined && hash('sha256', bytes) !== hashes.sha256)
    throw new MetadataError('mismatch', `${name} has another digest than is listed`);
}

function isSame(bytes: Uint8Array, { length, hashes }: MetaFile): boolean {
  return bytes.byteLength === length && hashes !== undefined && hash('sha256', bytes) === hashes.sha256;
}

function textOf(bytes: Uint8Array): string {
  return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
}

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
