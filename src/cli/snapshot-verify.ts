/**
 * `tidegate snapshot verify`: reads every object of a snapshot, which checks that each is what its id says, and tells
 * whether the snapshot is a known-good one. Equal ids prove equal desired state, and plain git shows the same.
 */
import { resolve } from 'node:path';
import type { Attempt } from '../core/model/outcome.ts';
import { plural } from '../core/words.ts';
import { OUTCOMES_BRANCH } from '../fleet-repo/outcomes.ts';
import { GitObjectError } from '../git/errors.ts';
import type { Git, Oid } from '../git/git.ts';
import { changedPaths, entryAt } from '../git/tree.ts';
import { CommandError, EXIT, type ExitCode } from './errors.ts';
import type { Io } from './io.ts';
import { type Output, printable, shortOid, wrap } from './output.ts';
import {
  type FleetRepository,
  findSnapshot,
  knownGoods,
  type NamedSnapshot,
  openFleetRepository,
  type RepositoryOptions,
} from './repository.ts';

export interface SnapshotVerifyOptions extends RepositoryOptions {
  /** The branch's, unless said. */
  readonly snapshot?: string;
  /** Whose known-good snapshot it must be; any rollout's, unless said. */
  readonly rollout?: string;
  readonly format: 'text' | 'json';
}

/** What `--format json` prints. */
export interface Verification {
  readonly snapshot: string;
  /** What was verified, in git's spelling. */
  readonly name: string;
  readonly objects: number;
  /** Objects that are missing or do not hash to their ids, with the path that leads there. */
  readonly broken: readonly { readonly path: string; readonly oid: string; readonly message: string }[];
  /** Rollouts whose known-good snapshot it is. */
  readonly knownGoodOf: readonly { readonly rollout: string; readonly attempt: number }[];
  /** How it differs from the other rollouts' known-good snapshots. */
  readonly differs: readonly Difference[];
  /** Commands that show the same. */
  readonly commands: readonly string[];
}

interface Difference {
  readonly rollout: string;
  readonly attempt: number;
  readonly snapshot: string;
  /** Null where the known-good snapshot cannot be read. */
  readonly paths: readonly string[] | null;
  /** Set where `outcomes` links another tree than it names. */
  readonly linked?: string;
}

export async function run(options: SnapshotVerifyOptions, io: Io): Promise<ExitCode> {
  const repository = await openFleetRepository(options);
  const found = await findSnapshot(repository, options.snapshot ?? options.branch);
  const verification = await verify(repository, found, options);
  if (options.format === 'json') io.out.write(`${JSON.stringify(verification, null, 2)}\n`);
  else io.out.lines(verificationLines(verification, io.out));
  return verification.broken.length === 0 && verification.knownGoodOf.length > 0 ? EXIT.fine : EXIT.problems;
}

async function verify(
  repository: FleetRepository,
  found: NamedSnapshot,
  options: SnapshotVerifyOptions,
): Promise<Verification> {
  const { git, outcomes } = repository;
  const walked = await walk(git, found.snapshot);
  const compared = knownGoods(outcomes).filter(
    ({ rollout }) => options.rollout === undefined || rollout === options.rollout,
  );
  if (options.rollout !== undefined && compared.length === 0) {
    const next = 'tidegate snapshot list shows what there is';
    throw new CommandError(`rollout "${options.rollout}" has no known-good snapshot yet; ${next}`);
  }
  const knownGoodOf: Attempt[] = [];
  const differs: Difference[] = [];
  for (const attempt of compared) {
    const linked = await linkedTree(git, attempt);
    if (attempt.snapshot === found.snapshot && linked === attempt.snapshot) knownGoodOf.push(attempt);
    else differs.push(await differenceFrom(git, found, { attempt, linked }));
  }
  return {
    snapshot: found.snapshot,
    name: found.name,
    ...walked,
    knownGoodOf: knownGoodOf.map(({ rollout, attempt }) => ({ rollout, attempt })),
    differs,
    commands: commandsFor(repository, found, knownGoodOf[0] ?? compared[0]),
  };
}

/** Reading an object checks its hash; every object is read once. */
async function walk(git: Git, tree: Oid): Promise<Pick<Verification, 'objects' | 'broken'>> {
  const seen = new Set<Oid>();
  const broken: { path: string; oid: string; message: string }[] = [];
  const visit = async (path: string, mode: string, oid: Oid): Promise<void> => {
    // A submodule's commit lies in another repository.
    if (seen.has(oid) || mode === '160000') return;
    seen.add(oid);
    try {
      if (mode === '040000') {
        for (const entry of await git.tree(oid)) await visit(`${path}/${entry.name}`, entry.mode, entry.oid);
      } else await git.blob(oid);
    } catch (error) {
      if (!(error instanceof GitObjectError)) throw error;
      broken.push({ path, oid: error.oid, message: error.message });
    }
  };
  await visit('fleet', '040000', tree);
  return { objects: seen.size, broken };
}

/** The tree that keeps the known-good snapshot alive; it must be the one that the outcome names. */
async function linkedTree(git: Git, { rollout }: Attempt): Promise<Oid | undefined> {
  const tip = await git.branch(OUTCOMES_BRANCH);
  if (tip === undefined) return undefined;
  return (await entryAt(git, (await git.commit(tip)).tree, `known-good/${rollout}`))?.oid;
}

async function differenceFrom(
  git: Git,
  found: NamedSnapshot,
  { attempt, linked }: { attempt: Attempt; linked: Oid | undefined },
): Promise<Difference> {
  const { rollout, snapshot } = attempt;
  const paths = await pathsBetween(git, snapshot, found.snapshot);
  return {
    rollout,
    attempt: attempt.attempt,
    snapshot,
    paths,
    ...(linked === snapshot ? {} : { linked: linked ?? 'nothing' }),
  };
}

async function pathsBetween(git: Git, before: Oid, after: Oid): Promise<readonly string[] | null> {
  try {
    return (await changedPaths(git, before, after)).map(({ path }) => `fleet/${path}`);
  } catch (error) {
    if (error instanceof GitObjectError) return null;
    throw error;
  }
}

function commandsFor(
  { repo, git: _git }: FleetRepository,
  found: NamedSnapshot,
  attempt: Attempt | undefined,
): string[] {
  const path = resolve(repo);
  const git = `git -C ${/^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`}`;
  return [
    `${git} rev-parse ${found.name}`,
    ...(attempt === undefined
      ? []
      : [
          `${git} rev-parse ${OUTCOMES_BRANCH}:known-good/${attempt.rollout}`,
          `${git} diff ${OUTCOMES_BRANCH}:known-good/${attempt.rollout} ${found.name}`,
        ]),
    `${git} fsck`,
  ];
}

const PATHS_SHOWN = 10;

function verificationLines(verification: Verification, out: Output): string[] {
  const { snapshot, name, objects, broken, knownGoodOf, differs, commands } = verification;
  const what = name === snapshot ? `snapshot ${snapshot}` : `${name} is ${snapshot}`;
  const lines: string[] = [];
  for (const { rollout, attempt } of knownGoodOf) {
    const text = `${what}, the known-good snapshot of ${rollout} (attempt ${attempt})`;
    lines.push(...wrap(`✓ ${text}`, out).map((line) => out.paint('green', line)));
  }
  if (knownGoodOf.length === 0) {
    lines.push(...wrap(`✗ ${what}, which is not known-good`, out).map((line) => out.paint('red', line)));
    for (const difference of differs) lines.push(...differenceLines(difference, out));
    if (differs.length === 0) lines.push('  no rollout has succeeded yet, so none has a known-good snapshot');
  }
  if (broken.length === 0) lines.push(`✓ ${plural(objects, 'object')} read, each is what its id says`);
  for (const { path, oid, message } of broken) {
    lines.push(
      out.paint('red', `✗ ${printable(path)}: object ${oid} is broken`),
      ...wrap(printable(message), out, '    '),
    );
  }
  return [...lines, '', 'Plain git shows the same:', ...commands.map((command) => `    ${command}`)];
}

function differenceLines({ rollout, attempt, snapshot, paths, linked }: Difference, out: Output): string[] {
  const whose = `${rollout}'s (attempt ${attempt}, ${shortOid(snapshot)})`;
  if (linked !== undefined) {
    const text = `${OUTCOMES_BRANCH}:known-good/${rollout} links ${linked} where attempt ${attempt} names ${snapshot}`;
    return wrap(text, out, '  ');
  }
  if (paths === null) return wrap(`${whose} cannot be read to compare it`, out, '  ');
  const more = paths.length - PATHS_SHOWN;
  return [
    `  from ${whose} it differs in`,
    ...paths.slice(0, PATHS_SHOWN).map((path) => `    ${printable(path)}`),
    ...(more > 0 ? [`    and ${plural(more, 'more file')}`] : []),
  ];
}
