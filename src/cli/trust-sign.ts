/**
 * `tidegate trust sign`: a person's part of a ceremony. What documents want beyond what is listed is proposed first, so that what is
 * signed is what the commit releases.
 */

import { isFinished, knownGoodOf } from '../core/model/outcome.ts';
import { KeyFileError } from '../trust/errors.ts';
import { readSigningKey } from '../trust/keys.ts';
import { loadSigners } from '../trust/signer-module.ts';
import { broughtUpToDate, type Changes, countersigned } from '../trust/tuf/ceremony.ts';
import { artifactTargets } from '../trust/tuf/content.ts';
import { nameOf, readTrustFolder, type TrustFolder } from '../trust/tuf/folder.ts';
import { localSigner, type Signer } from '../trust/tuf/signer.ts';
import { CommandError, EXIT, type ExitCode } from './errors.ts';
import type { Io } from './io.ts';
import { printable } from './output.ts';
import { openFleetRepository } from './repository.ts';
import { orProblem, soundTrustIn, wantedIn, writeTrust } from './trust-folder.ts';

export interface TrustSignOptions {
  readonly repo: string;
  /** Files with private keys. None: what is to be signed is proposed, and not signed. */
  readonly key?: readonly string[];
  /** A module whose signers sign, too. */
  readonly signer?: string;
  /** Target paths that nobody is to vouch for any more. */
  readonly withdraw?: readonly string[];
  readonly dryRun: boolean;
}

export async function run(options: TrustSignOptions, io: Io): Promise<ExitCode> {
  const { repo, key: paths = [], signer: module, withdraw: withdrawn = [], dryRun } = options;
  const before = await soundTrustIn(repo);
  const signers: Signer[] = [];
  for (const path of paths) signers.push(localSigner(await orCommandError(readSigningKey(path, io.env))));
  if (module !== undefined) signers.push(...Object.values(await orCommandError(loadSigners(module, io.env))));
  const wanted = await wantedIn(repo);
  if (withdrawn.length > 0) await refuseNeeded(repo, withdrawn);
  const changes = orProblem(() => broughtUpToDate(before, { wanted, withdrawn, now: io.clock.now() }));
  const folder = withChanges(before, changes);
  const signatures = await countersigned(folder, signers);
  const all: Changes = new Map([...changes, ...signatures]);
  io.out.lines([...proposalLines(before, folder, changes), ...signatureLines(folder, signatures, signers)]);
  if (all.size === 0) {
    const why =
      signers.length === 0 ? 'nothing is to be proposed' : 'nothing waits for a signature of that key';
    io.err.lines([`${why}; tidegate trust status shows what is missing`]);
    return EXIT.fine;
  }
  if (dryRun) io.err.lines(['nothing was written']);
  else await writeTrust(repo, all, io);
  return EXIT.fine;
}

/** What devices may be sent back to has to stay signed; as far as this clone knows the record. */
async function refuseNeeded(repo: string, withdrawn: readonly string[]): Promise<void> {
  const found = await openFleetRepository({ repo, branch: 'main' }).catch(() => undefined);
  await found?.git.close();
  for (const attempts of found?.outcomes.values() ?? []) {
    const needed = [knownGoodOf(attempts), ...attempts.filter((attempt) => !isFinished(attempt))];
    for (const attempt of needed) {
      if (attempt === undefined) continue;
      const path = artifactTargets(attempt.manifest).find(([each]) => withdrawn.includes(each))?.[0];
      if (path === undefined) continue;
      const what = `attempt ${attempt.attempt} of ${attempt.rollout}, which is known-good or under way, installs ${path}`;
      throw new CommandError(`${what}: have another one succeed first`, EXIT.problems);
    }
  }
}

async function orCommandError<Value>(reading: Promise<Value>): Promise<Value> {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof KeyFileError) throw new CommandError(error.message);
    throw error;
  }
}

/** The folder as it would be. */
function withChanges(before: TrustFolder, changes: Changes): TrustFolder {
  const files = new Map<string, Uint8Array>();
  for (const [index, { bytes }] of before.roots.entries()) files.set(`${index + 1}.root.json`, bytes);
  for (const [name, { bytes }] of before.roles) files.set(`${name}.json`, bytes);
  for (const [path, bytes] of [...before.shared, ...changes]) files.set(path, bytes);
  return { ...readTrustFolder(files), keys: before.keys, names: before.names };
}

/** What whoever signs has to know: what devices will take that they did not take before. */
function proposalLines(before: TrustFolder, after: TrustFolder, changes: Changes): string[] {
  const lines: string[] = [];
  for (const [name, { envelope }] of after.roles) {
    const old = before.roles.get(name)?.envelope.signed;
    if (!changes.has(`${name}.json`)) continue;
    const { version, expires, targets } = envelope.signed;
    lines.push(`${name} version ${version}, until ${expires}:`);
    const added = Object.entries(targets).filter(
      ([path, file]) => JSON.stringify(old?.targets[path]) !== JSON.stringify(file),
    );
    for (const [path, { hashes, length }] of added)
      lines.push(`  + ${printable(path)}  ${length} bytes, sha256 ${hashes.sha256}`);
    for (const path of Object.keys(old?.targets ?? {}))
      if (!Object.hasOwn(targets, path)) lines.push(`  - ${printable(path)}`);
    const known = old?.delegations?.roles.map((role) => role.name) ?? [];
    for (const { name: role } of envelope.signed.delegations?.roles ?? [])
      if (!known.includes(role)) lines.push(`  + ${printable(role)} signs for its product`);
  }
  const root = after.roots.at(-1)?.envelope.signed;
  if (root !== undefined && changes.has(`${root.version}.root.json`))
    lines.push(`root version ${root.version}, until ${root.expires}`);
  return lines;
}

function signatureLines(folder: TrustFolder, signatures: Changes, signers: readonly Signer[]): string[] {
  const who = signers.map(({ keyid }) => nameOf(keyid, folder)).join(', ');
  return [...signatures.keys()].map((file) => `signed by ${printable(who)}: trust/${file}`);
}
