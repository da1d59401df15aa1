/** One comment per marker and pull request, whatever happens on the way. */
import { describe, expect, test } from 'vitest';
import { SECOND } from '../../src/core/model/time.ts';
import type { CommentResult, Forge, StickyComment } from '../../src/forge/forge.ts';
import { githubApi } from '../../src/forge/github.ts';
import { type GithubServer, type Instead, invalid, said, startGithub, TOKEN } from './github-server.ts';

const NOW = Date.UTC(2026, 10, 21, 8);
const clock = { now: () => NOW };
const repository = { host: 'github.com', owner: 'acme', name: 'fleet' };
const never = new AbortController().signal;
const SHA = '28e1879d'.padEnd(40, '0');
const MARKER = '<!-- tidegate:attempt kiosk/2 -->';
const COMMENT: StickyComment = { pullRequest: 7, marker: MARKER, body: 'It runs.' };
const PULL = { number: 7, base: 'main', commits: [SHA] };

function forgeOf({ apiUrl }: Pick<GithubServer, 'apiUrl'>, over: { author?: string } = {}): Forge {
  return githubApi({ repository, token: TOKEN, apiUrl, fetch, clock, ...over });
}

async function withPull(options: Parameters<typeof startGithub>[0] = {}): Promise<GithubServer> {
  const github = await startGithub(options);
  github.merged(PULL);
  return github;
}

function writes({ requests }: GithubServer): readonly string[] {
  return requests.map(({ method }) => method).filter((method) => method !== 'GET');
}

describe('a comment', () => {
  test('is made once, changed afterwards, and left alone where it says the same', async () => {
    const github = await withPull();
    const forge = forgeOf(github);
    const url = 'https://github.com/acme/fleet/pull/7#issuecomment-1000001';
    expect(await forge.keepComment(COMMENT, never)).toEqual({ kind: 'kept', url });
    expect(await forge.keepComment(COMMENT, never)).toEqual({ kind: 'kept', url });
    expect(await forge.keepComment({ ...COMMENT, body: 'It ran.' }, never)).toEqual({ kind: 'kept', url });
    expect(github.comments).toMatchObject([{ issue: 7, edits: 1, body: `${MARKER}\nIt ran.` }]);
    expect(writes(github)).toEqual(['POST', 'PATCH']);
    expect(github.requests.filter(({ path }) => path === '/user')).toHaveLength(1);
  });

  test('of another marker, and one of somebody else with ours, are left alone', async () => {
    const github = await withPull();
    const forge = forgeOf(github);
    const planted = github.comment(7, 'mallory', `${MARKER}\nAll is well.`);
    github.comment(7, 'tidegate-acme', `Quoted:\n${MARKER}`);
    await forge.keepComment({ ...COMMENT, marker: '<!-- tidegate:attempt kiosk/20 -->' }, never);
    await forge.keepComment(COMMENT, never);
    await forge.keepComment({ ...COMMENT, body: 'It ran.' }, never);
    expect(github.comments).toHaveLength(4);
    expect(planted).toMatchObject({ body: `${MARKER}\nAll is well.`, edits: 0 });
  });

  test('is found on the last page of a long conversation, and by lines that end as browsers end them', async () => {
    const github = await withPull();
    for (let at = 0; at < 230; at++) github.comment(7, 'ada', `remark ${at}`);
    github.comment(7, 'tidegate-acme', `${MARKER}\r\nIt runs.`);
    await forgeOf(github).keepComment(COMMENT, never);
    expect(writes(github)).toEqual([]);
    expect(github.requests.map(({ path }) => path).slice(1)).toEqual(
      [1, 2, 3].map((page) => `/repos/acme/fleet/issues/7/comments?per_page=100&page=${page}`),
    );
  });

  test('is not looked for without end', async () => {
    const github = await withPull();
    const path = '/repos/acme/fleet/issues/7/comments';
    const endless = { status: 200, headers: { Link: `<${path}>; rel="next"` }, body: [] };
    const forge = forgeOf(github, { author: 'tidegate-acme' });
    github.insteadOfNext(...Array.from({ length: 1000 }, () => endless));
    expect(await forge.keepComment(COMMENT, never)).toEqual({
      kind: 'gone',
      reason: 'pull request 7 of github.com/acme/fleet has more than 3000 comments',
    });
    expect(github.requests).toHaveLength(30);
  });

  test('whose answer was lost is found when it is kept again', async () => {
    const github = await withPull();
    const forge = forgeOf(github, { author: 'tidegate-acme' });
    // As if the answer to making it had been cut off.
    github.comment(7, 'tidegate-acme', `${MARKER}\nIt runs.`);
    github.insteadOfNext('cut');
    expect(await forge.keepComment(COMMENT, never)).toMatchObject({ kind: 'refused' });
    expect(await forge.keepComment({ ...COMMENT, body: 'It ran.' }, never)).toMatchObject({ kind: 'kept' });
    expect(github.comments).toHaveLength(1);
  });

  test('that two make at once ends as one, the oldest', async () => {
    let looked = 0;
    let letGo = () => {};
    const bothLooked = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    const github = await withPull({
      // Neither makes it before both have seen that there is none.
      async before({ method, path }) {
        if (method === 'GET' && path.includes('/comments')) looked += 1;
        if (looked === 2) letGo();
        if (method === 'POST') await bothLooked;
      },
    });
    const [one, other] = await Promise.all([
      forgeOf(github).keepComment(COMMENT, never),
      forgeOf(github).keepComment(COMMENT, never),
    ]);
    expect([one.kind, other.kind]).toEqual(['kept', 'kept']);
    expect(github.comments.map(({ id }) => id)).toEqual([1_000_001]);
    expect(writes(github)).toContain('DELETE');
  });

  test('longer than GitHub takes is cut', async () => {
    const github = await withPull();
    const body = 'x'.repeat(100_000);
    expect(await forgeOf(github).keepComment({ ...COMMENT, body }, never)).toMatchObject({ kind: 'kept' });
    expect(github.comments[0]?.body).toHaveLength(65_536);
  });

  test('of a workflow of GitHub Actions is kept without asking who it is', async () => {
    const github = await withPull({ login: null });
    const forge = forgeOf(github, { author: 'github-actions[bot]' });
    await forge.keepComment(COMMENT, never);
    await forge.keepComment({ ...COMMENT, body: 'It ran.' }, never);
    expect(github.comments).toMatchObject([{ author: 'github-actions[bot]', edits: 1 }]);
    expect(github.requests.some(({ path }) => path === '/user')).toBe(false);
  });
});

describe('what GitHub refuses is a value', () => {
  async function kept(answers: readonly Instead[], pull: object = {}): Promise<CommentResult> {
    const github = await startGithub();
    github.merged({ ...PULL, ...pull });
    github.insteadOfNext(...answers);
    const result = await forgeOf(github, { author: 'tidegate-acme' }).keepComment(COMMENT, never);
    expect(JSON.stringify(result)).not.toContain(TOKEN);
    return result;
  }
  const none = { status: 200, body: [] };

  test('a read-only token is told which permission it lacks', async () => {
    expect(await kept([none, said(403, 'Resource not accessible by integration')])).toEqual({
      kind: 'refused',
      reason:
        'github.com/acme/fleet does not let the token comment on pull requests (403: Resource not accessible by integration); ' +
        'give it the permission "Pull requests: write" for this repository, or a classic token the scope repo',
    });
  });

  test('a rate limit says when to come again', async () => {
    const reset = { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': String(NOW / SECOND + 600) };
    expect(await kept([said(403, 'API rate limit exceeded', reset)])).toMatchObject({
      kind: 'refused',
      retryAt: NOW + 600 * SECOND,
    });
    const secondary = said(403, 'You have exceeded a secondary rate limit.', { 'retry-after': '90' });
    expect(await kept([none, secondary])).toMatchObject({ retryAt: NOW + 90 * SECOND });
  });

  test('a conversation that is locked, deleted or full takes it no later', async () => {
    expect(await kept([], { isLocked: true })).toEqual({
      kind: 'gone',
      reason:
        'github.com/acme/fleet takes no comment there (403: Unable to create comment because issue is locked.)',
    });
    expect(await kept([said(410, 'This issue was deleted')])).toMatchObject({ kind: 'gone' });
    const full = invalid({ message: 'Commenting is disabled on issues with more than 2500 comments' });
    expect(await kept([none, full])).toMatchObject({ kind: 'gone' });
  });

  test('an app, which may not ask who it is', async () => {
    const github = await withPull({ login: null });
    expect(await forgeOf(github).keepComment(COMMENT, never)).toMatchObject({
      kind: 'refused',
      reason: expect.stringMatching(
        /does not let the token say whose it is \(403: .*of a person or a machine user/,
      ),
    });
    expect(writes(github)).toEqual([]);
  });

  test('a comment that went while it was looked at is tried again', async () => {
    const github = await withPull();
    github.comment(7, 'tidegate-acme', `${MARKER}\nbefore`);
    const forge = forgeOf(github, { author: 'tidegate-acme' });
    const listed = {
      status: 200,
      body: [{ id: 5, body: `${MARKER}\nbefore`, user: { login: 'tidegate-acme' } }],
    };
    github.insteadOfNext(listed);
    expect(await forge.keepComment(COMMENT, never)).toMatchObject({ kind: 'refused' });
    expect(await forge.keepComment(COMMENT, never)).toMatchObject({ kind: 'kept' });
  });
});

describe('the pull request of a commit', () => {
  const of = (github: GithubServer, commit = SHA) =>
    forgeOf(github).pullRequestOf({ commit, base: 'main' }, never);

  test('is the one that was merged, also as several commits, and into this branch', async () => {
    const github = await startGithub();
    const last = '3f0c9a52'.padEnd(40, '0');
    github.merged({ number: 3, base: 'develop', commits: [SHA] });
    github.merged({ number: 8, base: 'main', commits: [SHA, last] });
    expect(await of(github)).toEqual({ kind: 'pullRequest', number: 8 });
    expect(await of(github, last)).toEqual({ kind: 'pullRequest', number: 8 });
  });

  test('is none for what was pushed, is still open, or GitHub does not have', async () => {
    const github = await startGithub();
    expect(await of(github)).toEqual({ kind: 'none' });
    github.insteadOfNext({
      status: 200,
      body: [{ number: 9, state: 'open', merged_at: null, base: { ref: 'main' } }],
    });
    expect(await of(github)).toEqual({ kind: 'none' });
    github.insteadOfNext({ status: 422, body: { message: `No commit found for SHA: ${SHA}` } });
    expect(await of(github)).toEqual({ kind: 'none' });
  });

  test('is refused to who may not read', async () => {
    const github = await startGithub();
    github.insteadOfNext(said(404, 'Not Found'));
    expect(await of(github)).toMatchObject({
      kind: 'refused',
      reason: expect.stringMatching(/read pull requests \(404: Not Found\); give it the permission/),
    });
  });
});
