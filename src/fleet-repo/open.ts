/** Opens the fleet's repository, wherever it is: what `--repo` names, with the engine that suits it. */
import type { Credentials, GitEngine } from '../git/engine.ts';
import { GitRepositoryError } from '../git/errors.ts';
import { rememberFolders } from '../git/folder-memory.ts';
import type { Git } from '../git/git.ts';
import { createIsomorphicEngine } from '../git/isomorphic/engine.ts';
import { openRepository } from '../git/local.ts';
import { createNativeEngine } from '../git/native/engine.ts';
import { type Place, parsePlace } from '../git/place.ts';
import { openRemote, type RemoteOptions } from '../git/remote.ts';
import { OUTCOMES_BRANCH } from './outcomes.ts';

/** `auto`: native git for ssh, isomorphic-git for everything else. */
export type EngineChoice = 'auto' | GitEngine['name'];

export interface FleetGitOptions
  extends Omit<RemoteOptions, 'engine' | 'credentials' | 'alsoFollow' | 'folders' | 'whenEmpty'> {
  readonly engine?: EngineChoice;
  /**
   * TIDEGATE_GIT_TOKEN and TIDEGATE_GIT_USERNAME log in over HTTP; native git is run with PATH, HOME, GIT_SSH_COMMAND
   * and what else concerns it.
   */
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** What of the branch that people change is read. */
const FOLDERS = ['fleet', 'ops', 'trust'];

/** What forges call the user that a token stands for does not matter to most of them; GitHub documents this one. */
const USERNAME = 'x-access-token';

/**
 * `repo` is a path or a URL. A remote's branch `outcomes` is followed along with `branch`. Throws
 * {@link GitRepositoryError} where the repository cannot be used, and says what to do.
 */
export async function openFleetGit(repo: string, options: FleetGitOptions): Promise<Git> {
  const { engine: choice = 'auto', env, ...remoteOptions } = options;
  const place = parsePlace(repo);
  const engine = engineFor(place, choice, options);
  if (place.kind === 'local') {
    const { identity, clock } = options;
    const local = await openRepository(place.path, {
      engine,
      ...(identity === undefined ? {} : { identity }),
      ...(clock === undefined ? {} : { clock }),
    });
    return rememberFolders(local);
  }
  const credentials = place.kind === 'http' ? credentialsFrom(env) : undefined;
  if (place.kind === 'http' && credentials !== undefined && !place.isProtected) {
    throw new GitRepositoryError(
      place.url,
      `${place.url} would carry the token where others can read it; use https://, or unset TIDEGATE_GIT_TOKEN`,
    );
  }
  const remote = await openRemote(place.url, {
    ...remoteOptions,
    engine,
    alsoFollow: [OUTCOMES_BRANCH],
    folders: FOLDERS,
    whenEmpty: 'commit a fleet/ folder to it and push (`tidegate init` makes one)',
    ...(credentials === undefined ? {} : { credentials }),
  });
  return rememberFolders(remote);
}

function engineFor(place: Place, choice: EngineChoice, { env, clock }: FleetGitOptions): GitEngine {
  const time = clock === undefined ? {} : { clock };
  if (place.kind === 'ssh' && choice === 'isomorphic') {
    const message = `${place.url} needs the engine native: isomorphic-git has no ssh; choose native or auto, or an https:// URL`;
    throw new GitRepositoryError(place.url, message);
  }
  const isNative = choice === 'native' || (choice === 'auto' && place.kind === 'ssh');
  return isNative ? createNativeEngine({ env, ...time }) : createIsomorphicEngine(time);
}

function credentialsFrom(env: FleetGitOptions['env']): Credentials | undefined {
  const password = env['TIDEGATE_GIT_TOKEN'];
  if (password === undefined || password === '') return undefined;
  return { username: env['TIDEGATE_GIT_USERNAME'] || USERNAME, password };
}
