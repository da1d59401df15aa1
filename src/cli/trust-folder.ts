/** The folder `trust/` of a working folder, for the `trust` commands: read, changed, and never anything but public metadata. */
import { mkdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { readFolder } from '../documents/folder.ts';
import { releasesIn } from '../documents/releases.ts';
import { isAbsent, writeFileDurably } from '../durable-fs.ts';
import { readTrustIn } from '../fleet-repo/working-trust.ts';
import type { Changes, Wanted } from '../trust/tuf/ceremony.ts';
import { artifactTargets } from '../trust/tuf/content.ts';
import {
  isTrustFile,
  parsePublicKey,
  publicKeyPem,
  TRUST_FOLDER,
  type TrustFolder,
} from '../trust/tuf/folder.ts';
import { keyIdOf, MetadataError, type TargetFile, type TufKey } from '../trust/tuf/metadata.ts';
import { CommandError, EXIT } from './errors.ts';
import type { Io } from './io.ts';
import { printable } from './output.ts';

/** {@link readTrustIn}, for commands that need all of it. Throws {@link CommandError} where a file cannot be read. */
export async function soundTrustIn(repo: string): Promise<TrustFolder> {
  await requireFleet(repo);
  const folder = await readTrustIn(repo);
  const [flaw] = folder.flaws;
  if (flaw !== undefined) throw new CommandError(`${flaw.file} ${flaw.message}`, EXIT.problems);
  return folder;
}

export async function requireFleet(repo: string): Promise<void> {
  const isThere = await stat(join(repo, 'fleet')).then(
    (found) => found.isDirectory(),
    (error: unknown) => {
      if (isAbsent(error)) return false;
      throw error;
    },
  );
  if (!isThere)
    throw new CommandError(
      `${repo} has no folder fleet/; name the working folder of a fleet repository with --repo`,
    );
}

/** Writes what a step changes, each file whole or not at all, and says which. */
export async function writeTrust(repo: string, changes: Changes, io: Io): Promise<void> {
  for (const [path, bytes] of changes) {
    const file = join(repo, TRUST_FOLDER, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFileDurably(file, bytes, 0o644);
  }
  io.err.lines([...changes.keys()].sort().map((path) => `wrote ${join(TRUST_FOLDER, path)}`));
}

/** What the documents of the working folder want people to vouch for, by product. */
export async function wantedIn(repo: string): Promise<Wanted> {
  const wanted = new Map<string, Readonly<Record<string, TargetFile>>>();
  for (const { manifest } of releasesIn(await readFolder(repo)))
    wanted.set(manifest.product, {
      ...wanted.get(manifest.product),
      ...Object.fromEntries(artifactTargets(manifest)),
    });
  return wanted;
}

/** A public key by name, of `trust/keys/<name>.pub`, or by its file, which is then taken into that folder. */
export interface NamedKey {
  readonly name: string;
  readonly key: TufKey;
}

export async function publicKeys(
  folder: TrustFolder,
  names: readonly string[],
): Promise<readonly NamedKey[]> {
  const found: NamedKey[] = [];
  for (const written of names) {
    const key = folder.keys.get(written);
    found.push(key === undefined ? await keyInFile(written) : { name: written, key });
  }
  const twice = found.find(({ name }, at) => found.findIndex((each) => each.name === name) !== at);
  if (twice !== undefined) throw new CommandError(`${twice.name} is named twice; a key counts once`);
  return found;
}

/** Files of keys that the folder does not have yet: from then on they are called by name. */
export function keyFiles(keys: readonly NamedKey[], { keys: known }: TrustFolder): Changes {
  const files = new Map<string, Uint8Array>();
  for (const { name, key } of keys) {
    const before = known.get(name);
    if (before !== undefined && keyIdOf(before) !== keyIdOf(key))
      throw new CommandError(`trust/keys/${name}.pub is another key; give the new one a name of its own`);
    if (before === undefined) files.set(`keys/${name}.pub`, publicKeyPem(key));
  }
  return files;
}

async function keyInFile(path: string): Promise<NamedKey> {
  const name = basename(path).replace(/\.pub$/, '');
  if (!isTrustFile(`keys/${name}.pub`))
    throw new CommandError(
      `${path} would be called "${printable(name)}"; give the file a name of letters, digits and . _ -`,
    );
  try {
    return { name, key: parsePublicKey(await readFile(path)) };
  } catch (error) {
    if (error instanceof MetadataError) throw new CommandError(`${path} ${error.message}`);
    if (!isAbsent(error)) throw error;
    const next = 'name one of trust/keys, or a file with a public key, as tidegate trust key makes it';
    throw new CommandError(`there is no key "${printable(path)}"; ${next}`);
  }
}

/** What metadata has against a step is a problem of its files, not of the command. */
export function orProblem<Value>(step: () => Value): Value {
  try {
    return step();
  } catch (error) {
    if (error instanceof MetadataError) throw new CommandError(error.message, EXIT.problems);
    throw error;
  }
}
