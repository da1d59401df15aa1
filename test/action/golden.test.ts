/** What people read, letter by letter: a change of it is seen in the review. At a fixed time, so in this process. */

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type Ports, runAction } from '../../src/action/action.ts';
import { readSettings } from '../../src/action/settings.ts';
import { NOW, temporaryFolder } from '../cli/fixture.ts';
import { startGithub, TOKEN } from '../forge/github-server.ts';
import { census, counted, example, ROLLOUT, released } from './examples.ts';
import { addBranch, checkout, pullRequestEvent, repositoryWith } from './runner.ts';

test.each([
  ['played', counted, 'true'],
  ['broken', released.replace('thermostat@2.4.1', 'thermostat@8.8.8'), 'false'],
])('the comment and the summary of a pull request that is %s', async (name, changed, simulate) => {
  const repository = await repositoryWith(example, { [ROLLOUT]: changed });
  await addBranch(repository, 'outcomes', { 'census.json': census });
  const github = await startGithub({ login: null });
  github.merged({ number: 5, commits: [repository.base], base: 'main' });
  const folder = await temporaryFolder();
  await writeFile(join(folder, 'event.json'), JSON.stringify(pullRequestEvent(repository.base)));
  const read = await readSettings({
    GITHUB_WORKSPACE: await checkout(repository),
    GITHUB_EVENT_NAME: 'pull_request',
    GITHUB_EVENT_PATH: join(folder, 'event.json'),
    GITHUB_REPOSITORY: 'acme/fleet',
    GITHUB_API_URL: github.apiUrl,
    GITHUB_SERVER_URL: 'https://github.com',
    GITHUB_RUN_ID: '77',
    GITHUB_STEP_SUMMARY: join(folder, 'summary.md'),
    RUNNER_TEMP: folder,
    'INPUT_GITHUB-TOKEN': TOKEN,
    INPUT_SIMULATE: simulate,
  });
  if (!read.ok) throw new Error(read.message);
  const log: string[] = [];
  const ports: Ports = {
    env: process.env,
    fetch,
    clock: { now: () => NOW },
    // However slow the machine is.
    within: () => new AbortController().signal,
    version: '0.1.0',
    say: (line) => void log.push(line),
  };
  await runAction(read.settings, ports);
  await expect(github.comments[0]?.body).toMatchFileSnapshot(`golden/${name}-comment.md`);
  await expect(await readFile(join(folder, 'summary.md'), 'utf8')).toMatchFileSnapshot(
    `golden/${name}-summary.md`,
  );
  await expect(`${log.join('\n')}\n`).toMatchFileSnapshot(`golden/${name}-log.txt`);
});
