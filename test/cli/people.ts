/** People at work: a bare repository that is served, a clone of it, and commands run in their environment. */
import { execFileSync } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Attempt } from '../../src/core/model/outcome.ts';
import {
  fleetFiles,
  git,
  recordAttempts,
  repositoryOf,
  rolloutText,
  run,
  temporaryFolder,
} from './fixture.ts';

export const NAME = 'thermostat-firmware';

/** Of this machine only what git needs to be found. */
export const PERSON: Readonly<Record<string, string>> = {
  PATH: process.env['PATH'] ?? '',
  HOME: '/nonexistent',
  USER: 'ada',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_CONFIG_GLOBAL: '/dev/null',
};

export interface People {
  /** The served repository. */
  readonly bare: string;
  /** A clone of it with a work tree, configured for Ada. */
  readonly clone: string;
  /** Runs a command in the clone, or where `--repo` says. */
  tidegate(...args: readonly string[]): ReturnType<typeof run>;
  /** Native git in the bare repository. */
  served(...args: readonly string[]): Promise<string>;
}

/** Releases 2.5.0, 2.6.0 … one commit each; attempt N, from the N-th commit, is in the N-th of `states`. */
export async function people(...states: readonly Attempt['state'][]): Promise<People> {
  const source = await repositoryOf(
    ...states.map((_, index) => ({
      ...fleetFiles(`2.${5 + index}.0`),
      [`fleet/rollouts/${NAME}.yaml`]: rolloutText({ version: `2.${5 + index}.0` }),
    })),
  );
  const root = await temporaryFolder();
  const [bare, clone] = [join(root, 'fleet.git'), join(root, 'clone')];
  await git(root, 'clone', '--quiet', '--bare', source, bare);
  await git(bare, 'remote', 'remove', 'origin');
  await recordAttempts(
    bare,
    states.map((state, index) => ({ from: `main~${states.length - 1 - index}`, state })),
  );
  await git(root, 'clone', '--quiet', bare, clone);
  await git(clone, 'config', 'user.name', 'Ada');
  await git(clone, 'config', 'user.email', 'ada@example.org');
  return {
    bare,
    clone,
    tidegate: (...args) => run(args.includes('--repo') ? args : [...args, '--repo', clone], { env: PERSON }),
    served: (...args) => git(bare, ...args),
  };
}

/** A folder with every program of PATH but git, for those who have none. */
export async function withoutGit(): Promise<Readonly<Record<string, string>>> {
  const folder = join(await temporaryFolder(), 'bin');
  await mkdir(folder);
  return { ...PERSON, PATH: folder };
}

/** Makes the served repository refuse every push to main, as a protected branch does. */
export function protect(bare: string): void {
  const hook = join(bare, 'hooks', 'update');
  execFileSync('sh', [
    '-c',
    `printf '#!/bin/sh\\necho "main is protected" >&2\\nexit 1\\n' > "$0" && chmod +x "$0"`,
    hook,
  ]);
}
