/**
 * Commits by the names that people give them, in a repository on this machine: a branch, a branch of a remote, a tag, HEAD, or an id, with
 * `~N` behind it for the N-th commit before. Native git is not needed for it.
 */
import nodeFs from 'node:fs';
import git from 'isomorphic-git';
import { GitObjectError } from './errors.ts';
import type { Git, Oid } from './git.ts';
import { locateRepository } from './locate.ts';
import { readShallow } from './shallow.ts';

export type Resolved =
  | { readonly kind: 'found'; readonly oid: Oid }
  /** `isShallow`: the copy does not have all of the history, and the commit may be in the rest of it. */
  | { readonly kind: 'unknown'; readonly isShallow: boolean };

/** The commit that `name` means in the repository at `path`. Throws GitRepositoryError where there is none. */
export async function resolveRevision(repository: Git, path: string, name: string): Promise<Resolved> {
  const gitdir = await locateRepository(path);
  const [, base = name, steps = '0'] = /^(.+?)(?:~([0-9]{1,6}))?$/.exec(name) ?? [];
  let oid = await commitOf(repository, gitdir, base);
  for (let left = Number(steps); left > 0 && oid !== undefined; left--) {
    oid = (await repository.commit(oid)).parents[0];
  }
  if (oid !== undefined) return { kind: 'found', oid };
  return { kind: 'unknown', isShallow: (await readShallow(gitdir)).size > 0 };
}

/** Where the history of two commits parted; undefined where they have none in common, or it is not in this copy. */
export async function mergeBase(path: string, oids: readonly [Oid, Oid]): Promise<Oid | undefined> {
  const gitdir = await locateRepository(path);
  const found: unknown = await git.findMergeBase({ fs: nodeFs, gitdir, oids: [...oids] });
  const [first] = Array.isArray(found) ? found : [];
  return typeof first === 'string' ? first : undefined;
}

async function commitOf(repository: Git, gitdir: string, name: string): Promise<Oid | undefined> {
  for (const ref of refsFor(name)) {
    try {
      return await peel(repository, gitdir, await git.resolveRef({ fs: nodeFs, gitdir, ref }));
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }
  if (!/^[0-9a-f]{4,40}$/.test(name)) return undefined;
  try {
    const oid = await git.expandOid({ fs: nodeFs, gitdir, oid: name });
    return await peel(repository, gitdir, oid);
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/** In git's order (gitrevisions(7)). */
function refsFor(name: string): readonly string[] {
  // A name that git would not have as a ref is none.
  if (name.startsWith('-') || name.startsWith('/') || name.includes('..')) return [];
  if (name === 'HEAD' || name.startsWith('refs/')) return [name];
  return [`refs/tags/${name}`, `refs/heads/${name}`, `refs/remotes/${name}`, `refs/remotes/${name}/HEAD`];
}

/** Through annotated tags to the commit that they name; undefined where they name none. */
async function peel(repository: Git, gitdir: string, oid: Oid): Promise<Oid | undefined> {
  try {
    return (await repository.commit(oid)).oid;
  } catch (error) {
    if (!(error instanceof GitObjectError)) throw error;
  }
  const { tag } = await git.readTag({ fs: nodeFs, gitdir, oid });
  return await peel(repository, gitdir, tag.object);
}

function isNotFound(error: unknown): boolean {
  if (error instanceof GitObjectError) return true;
  const names = ['NotFoundError', 'AmbiguousError', 'ObjectTypeError'];
  return error instanceof Error && names.includes(error.name);
}
