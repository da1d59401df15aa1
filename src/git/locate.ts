/** Finds the repository in a folder, and refuses what cannot be used. Reads nothing but its layout and configuration. */
import nodeFs from 'node:fs';
import { access, constants, readFile, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import git from 'isomorphic-git';
import { errorCode, isAbsent, unlessAbsent } from '../durable-fs.ts';
import { GitRepositoryError } from './errors.ts';

/** The git folder that holds the objects and branches of the repository at `path`. */
export async function locateRepository(path: string): Promise<string> {
  const top = resolve(path);
  try {
    if (!(await stat(top)).isDirectory()) {
      throw new GitRepositoryError(path, `${path} is a file: name the folder of a git repository`);
    }
    for (const gitDir of [await dotGitOf(top), top]) {
      const commonDir = await commonDirOf(gitDir);
      if (commonDir !== undefined) return await realpath(commonDir);
    }
  } catch (error) {
    throw openError(error, path);
  }
  throw new GitRepositoryError(
    path,
    `${path} is not a git repository: name its top folder (the one with .git) or a bare repository, or run \`git init\` there`,
  );
}

/** `.git` is a folder, or in a linked work tree or a submodule a file that names one. */
async function dotGitOf(top: string): Promise<string> {
  const dotGit = join(top, '.git');
  const text = await readFile(dotGit, 'utf8').catch((error) => {
    if (errorCode(error) !== 'EISDIR') return unlessAbsent(error);
    return undefined;
  });
  const named = text === undefined ? undefined : /^gitdir: (.+)$/m.exec(text)?.[1];
  return named === undefined ? dotGit : resolve(top, named);
}

/** Where the objects and branches of `gitDir` are, or undefined where it is no git folder or may not be read. */
async function commonDirOf(gitDir: string): Promise<string | undefined> {
  try {
    await access(join(gitDir, 'HEAD'), constants.R_OK);
    const shared = await readFile(join(gitDir, 'commondir'), 'utf8').catch(unlessAbsent);
    const commonDir = shared === undefined ? gitDir : resolve(gitDir, shared.trim());
    for (const folder of ['objects', 'refs'])
      await access(join(commonDir, folder), constants.R_OK | constants.X_OK);
    return commonDir;
  } catch (error) {
    return unlessAbsent(error);
  }
}

/** Refuses what would be misread; the answer is the main work tree, undefined in a bare repository. */
export async function checkFormat(commonDir: string): Promise<string | undefined> {
  const setting = async (path: string): Promise<unknown> =>
    await git.getConfig({ fs: nodeFs, gitdir: commonDir, path });
  const refuse = (what: string, nextStep: string) =>
    new GitRepositoryError(commonDir, `${commonDir} ${what}, which is not supported: ${nextStep}`);
  try {
    const version = Number((await setting('core.repositoryformatversion')) ?? 0);
    if (!(version <= 1)) throw refuse(`has repository format ${version}`, 'use format 0 or 1');
    const objectFormat = (await setting('extensions.objectformat')) ?? 'sha1';
    if (objectFormat !== 'sha1') {
      throw refuse(
        `names its objects with ${objectFormat}`,
        'create it with `git init --object-format=sha1`',
      );
    }
    const refStorage = (await setting('extensions.refstorage')) ?? 'files';
    if (refStorage !== 'files') {
      throw refuse(`keeps its branches as ${refStorage}`, 'run `git refs migrate --ref-format=files` there');
    }
    const alternates = await readFile(join(commonDir, 'objects/info/alternates'), 'utf8').catch(unlessAbsent);
    if (alternates?.trim()) {
      throw refuse(
        'borrows objects from another repository (objects/info/alternates)',
        'run `git repack -a -d` there and delete that file',
      );
    }
    const isBare = (await setting('core.bare')) ?? basename(commonDir) !== '.git';
    const workTree = await setting('core.worktree');
    if (isBare === true) return undefined;
    return typeof workTree === 'string' ? resolve(commonDir, workTree) : dirname(commonDir);
  } catch (error) {
    throw openError(error, commonDir);
  }
}

function openError(error: unknown, path: string): unknown {
  if (isAbsent(error)) {
    return new GitRepositoryError(path, `there is no folder ${path}: create it, or correct the path`, error);
  }
  if (errorCode(error) === 'EACCES' || errorCode(error) === 'EPERM') {
    const message = `${path} may not be read by this user: give the user read permission on the whole repository`;
    return new GitRepositoryError(path, message, error);
  }
  return error;
}
