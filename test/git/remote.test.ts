/** The git port over a remote: every engine and way there, with real git at the other end. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe } from 'vitest';
import { createIsomorphicEngine } from '../../src/git/isomorphic/engine.ts';
import { createBareRepository } from '../../src/git/local.ts';
import { createNativeEngine } from '../../src/git/native/engine.ts';
import { openRemote } from '../../src/git/remote.ts';
import { describeGit } from './git-contract.ts';
import { hasGitServer, localSsh, startGitServer } from './git-server.ts';

async function emptyRemote() {
  const root = await mkdtemp(join(tmpdir(), 'tidegate-remote-'));
  await createBareRepository(join(root, 'served', 'fleet.git'), { defaultBranch: 'main' });
  return root;
}

describe.skipIf(!hasGitServer)('a remote keeps the contract', () => {
  for (const createEngine of [createIsomorphicEngine, createNativeEngine]) {
    const engine = createEngine();
    describeGit(
      `remote over HTTP, ${engine.name}`,
      async () => {
        const root = await emptyRemote();
        const server = await startGitServer(join(root, 'served'));
        const git = await openRemote(`${server.url}/fleet.git`, { folder: join(root, 'mirrors'), engine });
        const close = async () => {
          await server.close();
          await rm(root, { recursive: true });
        };
        return { git, close };
      },
      { goesBack: false },
    );
  }

  describeGit(
    'remote over ssh, native',
    async () => {
      const root = await emptyRemote();
      const engine = createNativeEngine({ env: { ...process.env, GIT_SSH_COMMAND: await localSsh(root) } });
      const url = `ssh://git@fleet.example${join(root, 'served', 'fleet.git')}`;
      const git = await openRemote(url, { folder: join(root, 'mirrors'), engine });
      return { git, close: () => rm(root, { recursive: true }) };
    },
    { goesBack: false },
  );
});
