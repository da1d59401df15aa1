/** The GitHub Action as a runner runs it: the committed bundle, over real repositories, with a GitHub on loopback. */
import { cp, mkdir, readFile, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { rolloutText, run, temporaryFolder } from '../cli/fixture.ts';
import { type GithubServer, said, startGithub } from '../forge/github-server.ts';
import { census, censusOf, counted, example, ROLLOUT, ROOT, released, thermostats } from './examples.ts';
import { addBranch, checkout, namesIn, type Repository, repositoryWith, runBundle } from './runner.ts';

const ZEROS = '0'.repeat(40);

async function githubFor({ base }: Repository): Promise<GithubServer> {
  const github = await startGithub({ login: null });
  github.merged({ number: 5, commits: [base], base: 'main' });
  return github;
}

async function goodPull(): Promise<Repository> {
  const repository = await repositoryWith(example, { [ROLLOUT]: released });
  await addBranch(repository, 'outcomes', { 'census.json': census });
  return repository;
}

describe('a good pull request', () => {
  test('passes, and is told of once, however often it is examined', async () => {
    const repository = await goodPull();
    const github = await githubFor(repository);
    const workspace = await checkout(repository);
    const given = { workspace, base: repository.base, apiUrl: github.apiUrl };
    const first = await runBundle(given);
    expect(first).toMatchObject({ exit: 0, errors: '' });
    expect(first.log).toBe('valid: 0 errors and 0 warnings in 11 documents\n');
    expect(first.outputs).toMatchObject({ valid: 'true', errors: '0', warnings: '0', chart: '' });
    expect(first.summary).toContain('by the census of 2026-11-20T00:00:00Z, origin/outcomes');
    await runBundle(given);
    expect(github.comments).toHaveLength(1);
    const [comment] = github.comments;
    expect(comment?.author).toBe('github-actions[bot]');
    expect(comment?.body).toMatch(/^<!-- tidegate:plan \. -->\n## Tidegate\n\n✅ Valid: no problems/);
    expect(comment?.body).toContain('[The run](https://github.com/acme/fleet/actions/runs/77)');
    const changes = github.requests.filter(({ method }) => method !== 'GET').map(({ method }) => method);
    expect(changes.slice(0, 1)).toEqual(['POST']);
    expect(changes.slice(1).every((method) => method === 'PATCH')).toBe(true);
  });

  test('leaves the plan in a file, as tidegate plan prints it', async () => {
    const repository = await goodPull();
    const workspace = await checkout(repository);
    const { outputs } = await runBundle({ workspace, base: repository.base });
    const theirs = await run(['plan', workspace, '--base', repository.base, '--format', 'json']);
    const [ours, printed] = [await readFile(outputs['plan-json'] ?? '', 'utf8'), theirs.out].map((text) =>
      JSON.parse(text),
    );
    expect(withoutTimes(ours)).toEqual(withoutTimes(printed));
    expect(JSON.parse(await readFile(outputs['sarif'] ?? '', 'utf8'))).toMatchObject({ version: '2.1.0' });
    expect(await readFile(outputs['summary'] ?? '', 'utf8')).toContain('## Tidegate');
  });

  test('runs from a folder that holds nothing but what a checkout of the action has', async () => {
    const folder = await temporaryFolder();
    await mkdir(join(folder, 'dist'));
    for (const name of ['action.yml', 'package.json', 'dist/action'])
      await cp(join(ROOT, name), join(folder, name), { recursive: true });
    expect(await namesIn(folder)).toEqual(['action.yml', 'dist', 'package.json']);
    const repository = await goodPull();
    const workspace = await checkout(repository);
    const bundle = join(folder, 'dist/action/index.js');
    expect(await runBundle({ workspace, base: repository.base, bundle })).toMatchObject({
      exit: 0,
      errors: '',
    });
  });

  test('is played where that is asked for', async () => {
    const repository = await repositoryWith(example, { [ROLLOUT]: counted });
    await addBranch(repository, 'outcomes', { 'census.json': census });
    const workspace = await checkout(repository);
    const { exit, log, summary, outputs } = await runBundle({
      workspace,
      base: repository.base,
      inputs: { simulate: 'true' },
    });
    expect({ exit, log }).toMatchObject({ exit: 0 });
    expect(summary).toContain('### Played before it is merged');
    expect(summary).toMatch(/\| with nothing wrong \| 1 \| no \|.* succeeded \|/);
    expect(summary).toMatch(/\| with crash=4x \| 3 \| /);
    expect(summary).toContain('```mermaid\ngantt\n');
    expect(await readFile(outputs['chart'] ?? '', 'utf8')).toMatch(/^<svg /);
  });
});

describe('a bad pull request', () => {
  test('fails, with what it changes first', async () => {
    const other = example['fleet/rollouts/gateway-software.yaml'] ?? '';
    const repository = await repositoryWith(
      {
        ...example,
        'fleet/rollouts/gateway-software.yaml': other.replace(
          /distributionSet: \S+/,
          'distributionSet: gateway@9.9.9',
        ),
      },
      { [ROLLOUT]: released.replace('thermostat@2.4.1', 'thermostat@8.8.8') },
    );
    const github = await githubFor(repository);
    const workspace = await checkout(repository);
    const { exit, log, summary, outputs } = await runBundle({
      workspace,
      base: repository.base,
      apiUrl: github.apiUrl,
    });
    expect(exit).toBe(1);
    const [first, second] = log.split('\n');
    expect(first).toMatch(/^::error file=fleet\/rollouts\/thermostat-firmware\.yaml,line=12,/);
    expect(second).toMatch(/^::error file=fleet\/rollouts\/gateway-software\.yaml,/);
    expect(outputs).toMatchObject({ valid: 'false', errors: '2' });
    for (const text of [summary, github.comments[0]?.body]) {
      expect(text).toContain('❌ Not valid: 2 errors in 11 documents.');
      expect(text).toContain('The documents have errors');
    }
  });

  test('in a folder of the workspace is annotated there', async () => {
    const repository = await repositoryWith(example, { [ROLLOUT]: `${released}\nnonsense` });
    const workspace = await checkout(repository, { into: 'fleets/homes' });
    const { exit, log, summary } = await runBundle({
      workspace,
      base: repository.base,
      inputs: { path: 'fleets/homes' },
    });
    expect(exit).toBe(1);
    expect(log).toMatch(/^::error file=fleets\/homes\/fleet\/rollouts\/thermostat-firmware\.yaml,/);
    expect(summary).toMatch(/^## Tidegate: fleets\/homes\n/);
  });

  test('with warnings alone fails where strict is asked for', async () => {
    const repository = await repositoryWith(example, { [ROLLOUT]: released });
    // No device that the other rollout is for.
    await addBranch(repository, 'outcomes', { 'census.json': censusOf(thermostats) });
    const workspace = await checkout(repository);
    const [lax, strict] = [
      await runBundle({ workspace, base: repository.base }),
      await runBundle({ workspace, base: repository.base, inputs: { strict: 'true' } }),
    ];
    expect(Number(lax.outputs['warnings'])).toBeGreaterThan(0);
    expect([lax.exit, strict.exit]).toEqual([0, 1]);
  });

  test('puts nothing into the page but text', async () => {
    const evil = 'fleet/rollouts/x`</b>@ada ![i](https:%2F%2Fevil)\n::error::mine.yaml'.replaceAll('\n', ' ');
    const repository = await repositoryWith(example, {
      [evil]: `${rolloutText({})}\n  [click](https://evil.example) @everyone <img src=x> ::set-output name=a::b`,
    });
    const workspace = await checkout(repository);
    const { exit, log, summary } = await runBundle({ workspace, base: repository.base });
    expect(exit).toBe(1);
    expect(log.split('\n').filter((line) => /^::(?!error |warning |notice[ :])/.test(line))).toEqual([]);
    expect(summary).not.toMatch(/<img|<b>|[^\\]\]\(https|@ada|@everyone/);
  });
});

describe('where there is no comment', () => {
  test.each([
    ['a fork, whose token may only read', said(403, 'Resource not accessible by integration')],
    ['a rate limit', said(403, 'API rate limit exceeded', { 'retry-after': '60' })],
    ['a server error', said(502, 'Bad Gateway')],
  ])('%s: the result is the same, and a notice says so', async (_case, answer) => {
    const repository = await goodPull();
    const github = await githubFor(repository);
    github.refuseChanges(answer);
    const workspace = await checkout(repository);
    const { exit, log } = await runBundle({ workspace, base: repository.base, apiUrl: github.apiUrl });
    expect(exit).toBe(0);
    expect(log).toMatch(
      /^::notice::no comment was written: github\.com\/acme\/fleet .*pull-requests: write/m,
    );
    expect(github.comments).toEqual([]);
  });

  test('without a token nobody is asked', async () => {
    const repository = await goodPull();
    const github = await githubFor(repository);
    const workspace = await checkout(repository);
    const given = { workspace, base: repository.base, apiUrl: github.apiUrl };
    const { exit, log } = await runBundle({ ...given, inputs: { 'github-token': '' } });
    expect(exit).toBe(0);
    expect(log).toContain('::notice::no comment was written: there is no token;');
    const quiet = await runBundle({ ...given, inputs: { comment: 'false' } });
    expect(quiet).toMatchObject({ exit: 0 });
    expect(quiet.log).not.toContain('::notice');
    expect(github.requests).toEqual([]);
  });

  test('a push is compared with the commit before it, and the first one of a branch with the default branch', async () => {
    const repository = await goodPull();
    const github = await githubFor(repository);
    const workspace = await checkout(repository);
    const pushed = (before: string) => ({
      name: 'push',
      payload: { before, repository: { default_branch: 'main' } },
    });
    for (const [before, words] of [
      [repository.base, `Compared with commit ${repository.base.slice(0, 10)}`],
      [ZEROS, 'Compared with origin/main'],
    ] as const) {
      const { exit, log, summary } = await runBundle({
        workspace,
        event: pushed(before),
        apiUrl: github.apiUrl,
      });
      expect({ exit, log }).toEqual({ exit: 0, log: 'valid: 0 errors and 0 warnings in 11 documents\n' });
      expect(summary).toContain(words);
    }
    expect(github.requests).toEqual([]);
  });
});

describe('what cannot be examined', () => {
  test('a checkout without the base fails and says how to fetch it', async () => {
    const repository = await goodPull();
    const workspace = await checkout(repository, { depth: 1 });
    const { exit, log, summary, outputs } = await runBundle({ workspace, base: repository.base });
    expect(exit).toBe(1);
    expect(log).toMatch(/^::error::there is no commit .*fetch-depth: 0/);
    expect(log).not.toContain(workspace);
    expect(summary).toContain('❌ Not examined: there is no commit');
    expect(outputs).toEqual({ valid: 'false', errors: '', warnings: '' });
  });

  test('a checkout without the record passes, and says how to fetch it', async () => {
    const repository = await goodPull();
    const workspace = await checkout(repository, { depth: 2 });
    const { exit, summary } = await runBundle({ workspace, base: repository.base });
    expect(exit).toBe(0);
    expect(summary).toContain('the branch `outcomes` is not in it');
    expect(summary).toContain('`fetch-depth: 0`');
  });

  test('a repository without fleet/', async () => {
    const repository = await repositoryWith({ 'README.md': 'nothing here\n' }, {});
    const workspace = await checkout(repository);
    const { exit, log } = await runBundle({ workspace, inputs: { base: ZEROS } });
    expect(exit).toBe(1);
    expect(log).toContain('::error::the repository has no folder fleet/;');
  });

  test.each([
    [{ simulate: 'yes' }, 'the input simulate must be true or false, found "yes"; correct it'],
    [
      { strict: '1\n::set-env::' },
      'the input strict must be true or false, found "1\\n::set-env::"; correct it',
    ],
    [{ path: '../elsewhere' }, 'the input path must lie inside the workspace, found "../elsewhere"'],
    [{ path: '/etc' }, 'the input path must lie inside the workspace, found "/etc"'],
    [{ path: 'gone' }, 'the input path names no folder of the workspace, found "gone"'],
    [{ path: 'out' }, 'the input path must lie inside the workspace, found "out"'],
  ])('the inputs %j are refused in a sentence', async (inputs, message) => {
    const workspace = await temporaryFolder();
    await symlink('/', join(workspace, 'out'));
    const { exit, log, errors } = await runBundle({ workspace, inputs });
    expect({ exit, errors }).toEqual({ exit: 1, errors: '' });
    expect(log).toContain(`::error::${message}`);
    expect(log.trimEnd().split('\n')).toHaveLength(1);
  });

  test('a bug is one sentence, and the stack is for debug logging', async () => {
    const repository = await goodPull();
    const workspace = await checkout(repository);
    const given = { workspace, base: repository.base };
    const [quiet, loud] = [
      await runBundle({ ...given, env: { RUNNER_TEMP: '/dev/null/temp' } }),
      await runBundle({ ...given, env: { RUNNER_TEMP: '/dev/null/temp', RUNNER_DEBUG: '1' } }),
    ];
    expect(quiet).toMatchObject({ exit: 1, errors: '' });
    expect(quiet.log).toMatch(/^::error::Tidegate failed, which is a bug of its own: ENOTDIR/);
    expect(quiet.log).not.toContain('    at ');
    expect(loud.log).toContain('    at ');
  });
});

test('a huge plan is cut where a comment ends, and says so', async () => {
  const many = Object.fromEntries(
    Array.from({ length: 400 }, (_, n) => [
      `fleet/rollouts/many-${n}.yaml`,
      released
        .replace('name: thermostat-firmware', `name: many-${n}`)
        .replace('priority: 10', `priority: ${100 + n}`),
    ]),
  );
  const repository = await repositoryWith(example, many);
  await addBranch(repository, 'outcomes', { 'census.json': census });
  const github = await githubFor(repository);
  const workspace = await checkout(repository);
  const { summary } = await runBundle({ workspace, base: repository.base, apiUrl: github.apiUrl });
  const body = github.comments[0]?.body ?? '';
  expect(body.length).toBeLessThanOrEqual(65_536);
  expect(body.length).toBeGreaterThan(55_000);
  expect(body).toMatch(/_Left out, as GitHub takes no more here: .*plan-json\._\n\n\[The run\]\(.*\)\n?$/);
  expect(Buffer.byteLength(summary)).toBeLessThanOrEqual(1024 * 1024);
});

function withoutTimes(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, (key, each) => (/At$/.test(key) ? undefined : each)));
}
