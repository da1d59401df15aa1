/**
 * Where a person operates a fleet from: their clone, a bare repository, or an address. Seen through the git port, its
 * branches are those of where commits go: the remote's, where a clone has one. Nothing in here touches what a person has
 * in their work tree or index, but for one case: a repository without a remote whose branch is checked out. There the
 * files that a commit changes are written, if nobody has touched them, and the rest stays as it is.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GitRepositoryError } from '../git/errors.ts';
import type { Git, MoveResult, NewCommit, Oid } from '../git/git.ts';
import { openRepository } from '../git/local.ts';
import { checkFormat, locateRepository } from '../git/locate.ts';
import { parsePlace } from '../git/place.ts';
import { changedPaths } from '../git/tree.ts';
import { openFleetGit } from './open.ts';
import { lastWords, type Person, type PersonGit, personGit, withoutPassword } from './person-git.ts';

export interface Workplace {
  readonly git: Git;
  /** Where commits go, for people. */
  readonly place: string;
  /** The clone that a person should update afterwards, if it is one. */
  readonly clone?: string;
  /** Whether the person's git is set up to sign with an SSH key, which is what counts. */
  readonly canSign: boolean;
  /** With `sign` it is signed, otherwise as the person's git is configured. Throws where it cannot be made. */
  writeCommit(commit: NewCommit, options: { readonly sign: boolean }): Promise<Oid>;
  /** What the person's git calls them; undefined where it does not know. */
  readonly user: string | undefined;
  close(): Promise<void>;
}

export interface WorkplaceOptions {
  /** A path, or an address that git understands. */
  readonly repo: string;
  /** The branch that people change: its remote is the one that commits go to. */
  readonly branch: string;
  /** Who commits where git knows nobody: `Name <email>`. */
  readonly identity: string;
  readonly person: Person;
}

/** History that is fetched from an address: enough to find what a rollback undoes. */
const DEPTH = 200;

/** Throws {@link GitRepositoryError} where there is nothing to work in, or not without the git program. */
export async function openWorkplace(options: WorkplaceOptions): Promise<Workplace> {
  const place = parsePlace(options.repo);
  return place.kind === 'local'
    ? await openPath({ ...options, repo: place.path })
    : await openAddress({ ...options, repo: place.url });
}

/**
 * An address is worked at from a bare clone that lives as long as the command. A token is what a program logs in with: then, as
 * where there is no git program, the server's engine works in it, and commits are made by `identity`, unsigned.
 */
async function openAddress(options: WorkplaceOptions): Promise<Workplace> {
  const { person } = options;
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-'));
  const remove = () => rm(folder, { recursive: true, force: true });
  try {
    const native = person.env['TIDEGATE_GIT_TOKEN'] ? undefined : await personGit(folder, person);
    const opened =
      native === undefined
        ? await openByEngine(folder, options)
        : await openByPerson(folder, native, options);
    return {
      ...opened,
      async close() {
        await opened.close();
        await remove();
      },
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

async function openByEngine(folder: string, options: WorkplaceOptions): Promise<Workplace> {
  const { repo: address, branch, identity, person } = options;
  const git = await openFleetGit(address, { folder, branch, identity, env: person.env });
  return { ...committingItself(git), place: address };
}

async function openByPerson(
  folder: string,
  native: PersonGit,
  options: WorkplaceOptions,
): Promise<Workplace> {
  const { repo: address } = options;
  await must(native, ['init', '--quiet', '--bare', '.'], address);
  await must(native, ['remote', 'add', REMOTE, address], address);
  const git = await openRepository(folder);
  return {
    git: overRemote(git, { native, remote: REMOTE, address, depth: DEPTH }),
    place: address,
    ...(await committing(native, options)),
    close: () => git.close(),
  };
}

const REMOTE = 'origin';

/** Without a person's git: unsigned, by the port's own identity. */
function committingItself(git: Git): Omit<Workplace, 'place'> {
  return {
    git,
    canSign: false,
    user: undefined,
    writeCommit: (commit) => git.writeCommit(commit),
    close: () => git.close(),
  };
}

async function openPath(options: WorkplaceOptions): Promise<Workplace> {
  const { repo: path, identity, person, branch } = options;
  const git = await openRepository(path, { identity });
  const workTree = await checkFormat(await locateRepository(path));
  const native = await personGit(path, person);
  const close = () => git.close();
  if (native === undefined) {
    if (workTree !== undefined) throw noGit(path);
    return { ...committingItself(git), place: path };
  }
  const own = await committing(native, options);
  const remote = workTree === undefined ? undefined : await remoteOf(native, branch);
  if (remote === undefined) {
    const moveBranch: Git['moveBranch'] = async (move) =>
      (await isCheckedOutHere(native, move.branch))
        ? await moveWithFiles(native, git, move)
        : await git.moveBranch(move);
    return { git: { ...git, moveBranch }, place: path, ...own, close };
  }
  const address = (await native(['remote', 'get-url', remote])).out;
  const place = `${remote} (${withoutPassword(address)})`;
  return { git: overRemote(git, { native, remote, address: place }), place, clone: path, ...own, close };
}

function noGit(place: string): GitRepositoryError {
  const message = `${withoutPassword(place)} cannot be committed to without the git program; install git, or name a bare repository on this machine`;
  return new GitRepositoryError(place, message);
}

/** The remote that the branch follows, else `origin`, else the only one. */
async function remoteOf(native: PersonGit, branch: string): Promise<string | undefined> {
  const followed = (await native(['config', `branch.${branch}.remote`])).out;
  const remotes = (await native(['remote'])).out.split('\n').filter((name) => name !== '');
  if (remotes.includes(followed)) return followed;
  if (remotes.length === 0) return undefined;
  const [remote] = remotes.includes(REMOTE) ? [REMOTE] : remotes;
  if (remote === REMOTE || remotes.length === 1) return remote;
  const message = `this clone has the remotes ${remotes.join(', ')} and none is ${REMOTE}; say which one ${branch} follows: git config branch.${branch}.remote ${remotes[0]}`;
  throw new GitRepositoryError('.', message);
}

/** Commits as the person's git makes them. */
async function committing(
  native: PersonGit,
  { identity }: WorkplaceOptions,
): Promise<Pick<Workplace, 'canSign' | 'writeCommit' | 'user'>> {
  const setting = async (...args: readonly string[]) => (await native(['config', ...args])).out;
  const format = await setting('gpg.format');
  const key = (await setting('user.signingKey')) || (await setting('gpg.ssh.defaultKeyCommand'));
  const signsAlways = (await setting('--type=bool', 'commit.gpgSign')) === 'true';
  const user = await setting('user.name');
  const isKnown = (await native(['var', 'GIT_COMMITTER_IDENT'])).isFine && user !== '';
  return {
    canSign: format === 'ssh' && key !== '',
    user: user === '' ? undefined : user,
    async writeCommit({ tree, parents, message, at }, { sign }) {
      const date = `${Math.floor(at / 1000)} +0000`;
      const made = await native(
        [
          'commit-tree',
          tree,
          ...parents.flatMap((parent) => ['-p', parent]),
          ...(sign || signsAlways ? ['-S'] : []),
          '-F',
          '-',
        ],
        {
          input: message,
          env: {
            GIT_AUTHOR_DATE: date,
            GIT_COMMITTER_DATE: date,
            ...(isKnown ? {} : asEnvironment(identity)),
          },
        },
      );
      if (made.isFine) return made.out;
      const next =
        sign || signsAlways
          ? 'see that git commit -S works, then try again'
          : 'see that git commit works, then try again';
      throw new GitRepositoryError('.', `git could not make the commit: ${lastWords(made)}; ${next}`);
    },
  };
}

function asEnvironment(identity: string): Readonly<Record<string, string>> {
  const [, name = '', email = ''] = /^(.*) <(.*)>$/.exec(identity) ?? [];
  return {
    GIT_AUTHOR_NAME: name,
    GIT_AUTHOR_EMAIL: email,
    GIT_COMMITTER_NAME: name,
    GIT_COMMITTER_EMAIL: email,
  };
}

/** The clone with the remote's branches in place of its own: fetched when they are asked for, moved by a push. */
function overRemote(
  git: Git,
  given: { native: PersonGit; remote: string; address: string; depth?: number },
): Git {
  const { native, remote, address, depth } = given;
  const tips = new Map<string, Oid | undefined>();

  async function fetchTip(branch: string): Promise<Oid | undefined> {
    const ref = `refs/heads/${branch}`;
    const listed = await must(native, ['ls-remote', '--refs', remote, ref], address);
    const oid = /^([0-9a-f]{40})\t/m.exec(listed)?.[1];
    if (oid === undefined) return undefined;
    const shallow = depth === undefined ? [] : [`--depth=${depth}`];
    await must(
      native,
      ['fetch', '--quiet', '--no-tags', '--no-write-fetch-head', ...shallow, remote, ref],
      address,
    );
    return oid;
  }

  return {
    ...git,
    async branch(branch) {
      if (!tips.has(branch)) tips.set(branch, await fetchTip(branch));
      return tips.get(branch);
    },
    async moveBranch({ branch, from, to }) {
      const ref = `refs/heads/${branch}`;
      // The lease is what makes it a compare and swap: `to` follows `from`, so nothing is ever overwritten.
      const lease = `--force-with-lease=${ref}:${from ?? ''}`;
      const pushed = await native(['push', '--porcelain', '--quiet', lease, remote, `${to}:${ref}`]);
      tips.clear();
      if (pushed.isFine) return { kind: 'moved' };
      const [, rejection] = /^!\t\S+\t(.*)$/m.exec(pushed.out) ?? [];
      if (rejection !== undefined && LOST.test(rejection)) return { kind: 'lost' };
      const said = rejection === undefined ? lastWords(pushed) : `${rejection} ${lastWords(pushed)}`;
      return { kind: 'refused', reason: `${address} refuses the push to ${branch}: ${said}` };
    },
  };
}

/** What git and servers say of a branch that somebody else has moved meanwhile. */
const LOST =
  /stale info|fetch first|non-fast-forward|cannot lock ref|incorrect old value|failed to update ref/;

async function isCheckedOutHere(native: PersonGit, branch: string): Promise<boolean> {
  const inside = await native(['rev-parse', '--is-inside-work-tree']);
  return (
    inside.out === 'true' &&
    (await native(['symbolic-ref', '--quiet', 'HEAD'])).out === `refs/heads/${branch}`
  );
}

/** As `git commit --only` of the files that differ, and of nothing else that the person may have staged. */
async function moveWithFiles(
  native: PersonGit,
  git: Git,
  { branch, from, to }: { branch: string; from: Oid | undefined; to: Oid },
): Promise<MoveResult> {
  if ((await git.branch(branch)) !== from || from === undefined) return { kind: 'lost' };
  const merging = await native(['rev-parse', '--quiet', '--verify', 'MERGE_HEAD']);
  if (merging.isFine)
    return { kind: 'refused', reason: 'a merge is under way here; commit it or run git merge --abort' };
  const [before, after] = [await git.commit(from), await git.commit(to)];
  const paths = (await changedPaths(git, before.tree, after.tree)).map(({ path }) => path);
  const touched = await native([
    'status',
    '--porcelain',
    '--ignored',
    '--untracked-files=all',
    '--',
    ...paths.map(literal),
  ]);
  if (!touched.isFine || touched.out !== '') {
    const what = touched.isFine
      ? touched.out
          .split('\n')
          .map((line) => line.slice(3))
          .join(', ')
      : lastWords(touched);
    return {
      kind: 'refused',
      reason: `what would be committed has changes of yours: ${what}; commit or stash them first`,
    };
  }
  const subject = after.message.split('\n', 1)[0] ?? '';
  const moved = await native(['update-ref', '-m', `tidegate: ${subject}`, `refs/heads/${branch}`, to, from]);
  if (!moved.isFine) return { kind: 'lost' };
  const restored = await native([
    'restore',
    `--source=${to}`,
    '--staged',
    '--worktree',
    '--',
    ...paths.map(literal),
  ]);
  if (restored.isFine) return { kind: 'moved' };
  return {
    kind: 'refused',
    reason: `commit ${to} is on ${branch}, but its files could not be written (${lastWords(restored)}); run git restore --staged --worktree ${paths.join(' ')}`,
  };
}

/** A path that means itself, whatever characters are in it, from the top of the work tree. */
function literal(path: string): string {
  return `:(top,literal)${path}`;
}

async function must(native: PersonGit, args: readonly string[], place: string): Promise<string> {
  const run = await native(args);
  if (run.isFine) return run.out;
  const next = /could not read (Username|Password)|Authentication failed|error: 40[13]/.test(run.err)
    ? 'log in as for git ls-remote, or, for an address, set TIDEGATE_GIT_TOKEN'
    : 'see that git ls-remote works with it';
  throw new GitRepositoryError(
    place,
    `${withoutPassword(place)}: git ${args[0]} failed: ${lastWords(run)}; ${next}`,
  );
}
