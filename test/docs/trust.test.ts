/** The page about trust, rehearsed: its own commands, in its own order, against a server that runs. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { git, MAIN, run, temporaryFolder } from '../cli/fixture.ts';
import { eventually, startServer } from '../e2e/serving.ts';

const page = readFileSync(new URL('../../docs/trust.md', import.meta.url), 'utf8');
const PERSON = {
  GIT_AUTHOR_NAME: 'Ada',
  GIT_AUTHOR_EMAIL: 'ada@example.org',
  GIT_COMMITTER_NAME: 'Ada',
  GIT_COMMITTER_EMAIL: 'ada@example.org',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_CONFIG_GLOBAL: '/dev/null',
};

interface Status {
  readonly trust: { readonly development: boolean; readonly rootVersion: number } | null;
  readonly problems: readonly unknown[];
  readonly headInForce: boolean;
}

test('every command of the page works, in its order, and the server follows it to the end', async () => {
  const root = await temporaryFolder();
  await run(['init', join(root, 'first')]);
  await git(root, 'init', '--quiet', '--bare', '--initial-branch=main', 'fleet.git');
  const first = join(root, 'first');
  await git(first, 'init', '--quiet', '--initial-branch=main');
  await git(first, 'add', '--all');
  await git(first, 'commit', '--quiet', '--message', 'First');
  await git(first, 'push', '--quiet', join(root, 'fleet.git'), 'main');
  const server = await startServer({ repo: join(root, 'fleet.git'), data: join(root, 'data') });
  await eventually('metadata is published', async () => (await server.get<Status>('/api/status')).trust);

  const program = join(root, 'tidegate');
  await writeFile(program, `#!/bin/sh\nexec "${process.execPath}" "${MAIN}" "$@"\n`);
  await chmod(program, 0o755);
  const blocks = [...page.matchAll(/^```sh\n([\s\S]*?)^```/gm)].map(([, block = '']) => block);
  expect(blocks.length).toBeGreaterThan(6);
  const script = join(root, 'page.sh');
  await writeFile(script, `set -eux\n${blocks.join('\n')}`);
  await promisify(execFile)('bash', [script], {
    cwd: root,
    env: {
      ...process.env,
      ...PERSON,
      PATH: `${root}:${process.env['PATH']}`,
      TIDEGATE_SERVER: server.url,
      TIDEGATE_KEYS_PASSPHRASE: 'correct horse battery',
      FLEET_REPOSITORY: join(root, 'fleet.git'),
      DATA: join(root, 'data'),
    },
  });

  const status = await eventually('the server follows the newest root', async () => {
    const found = await server.get<Status>('/api/status');
    return found.trust?.rootVersion === 3 ? found : undefined;
  });
  expect(status).toMatchObject({ trust: { development: false }, problems: [], headInForce: true });
  const targets = await eventually('the permit is published', async () => {
    const timestamp = await server.get<{ signed: { meta: { 'snapshot.json': { version: number } } } }>(
      '/tuf/metadata/timestamp.json',
    );
    const { version } = timestamp.signed.meta['snapshot.json'];
    const snapshot = await server.get<{ signed: { meta: Record<string, { version: number }> } }>(
      `/tuf/metadata/${version}.snapshot.json`,
    );
    const found = await server.get<{ signed: { targets: object } }>(
      `/tuf/metadata/${snapshot.signed.meta['targets.json']?.version}.targets.json`,
    );
    return 'permits/thermostat.json' in found.signed.targets ? found : undefined;
  });
  expect(Object.keys(targets.signed.targets)).toEqual(['assignment-keys.json', 'permits/thermostat.json']);
});
