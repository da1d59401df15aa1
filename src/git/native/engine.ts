/** The engine for ssh and for large repositories: the git binary, where there is one. */
import type { GitEngine } from '../engine.ts';
import { GitRepositoryError } from '../errors.ts';
import { printable } from '../remote-trouble.ts';
import { type NativeOptions, nativeGit } from './git.ts';
import { nativeObjects } from './objects.ts';
import { nativeTransport } from './transport.ts';

export function createNativeEngine(options: NativeOptions = {}): GitEngine {
  const native = nativeGit(options);
  return {
    name: 'native',
    objects: (commonDir) => nativeObjects(native, commonDir),
    connect: (remote) => nativeTransport(native, remote),
    async repack(commonDir, signal) {
      const args = ['repack', '-a', '-d', '-k', '-q'];
      const { exitCode, stderr } = await native.run(args, { commonDir, signal });
      if (exitCode !== 0)
        throw new GitRepositoryError(
          commonDir,
          `git cannot repack ${commonDir} (${printable(stderr.slice(-300))}); look at the disk it is on`,
        );
    },
  };
}
