import { describe, expect, test } from 'vitest';
import { SECOND } from '../../src/core/model/time.ts';
import { forgeFor } from '../../src/forge/choose.ts';
import { ForgeError } from '../../src/forge/errors.ts';
import type { Forge, PullRequest, PullRequestResult } from '../../src/forge/forge.ts';
import { githubApi } from '../../src/forge/github.ts';
import { type GithubServer, type Instead, invalid, said, startGithub, TOKEN } from './github-server.ts';

const NOW = Date.UTC(2026, 10, 21, 8);
const clock = { now: () => NOW };
const repository = { host: 'github.com', owner: 'acme', name: 'fleet' };
const never = new AbortController().signal;

const REQUEST: PullRequest = {
  branch: 'tidegate/rollback/kiosk/2',
  base: 'main',
  title: 'Revert "Release 1.1.0"',
  body: 'This reverts commit 28e1879d.\n',
};

function forgeOf(
  { apiUrl }: Pick<GithubServer, 'apiUrl'>,
  over: { token?: string; timeoutMs?: number } = {},
): Forge {
  return githubApi({ repository, token: TOKEN, apiUrl, fetch, clock, ...over });
}

describe('a pull request', () => {
  test('is opened as GitHub wants to be asked', async () => {
    const github = await startGithub();
    const result = await forgeOf(github).openPullRequest(REQUEST, never);
    expect(result).toEqual({ kind: 'open', url: 'https://github.com/acme/fleet/pull/1' });
    expect(github.pulls).toMatchObject([
      { head: REQUEST.branch, base: 'main', title: REQUEST.title, body: REQUEST.body },
    ]);
    expect(github.requests).toMatchObject([
      {
        method: 'POST',
        path: '/repos/acme/fleet/pulls',
        headers: {
          accept: 'application/vnd.github+json',
          authorization: `Bearer ${TOKEN}`,
          'user-agent': 'tidegate',
          'x-github-api-version': '2022-11-28',
        },
      },
    ]);
  });

  test('that is open already is found, also among those of other branches', async () => {
    const github = await startGithub();
    const forge = forgeOf(github);
    await forge.openPullRequest({ ...REQUEST, branch: 'tidegate/rollback/sign/2' }, never);
    const first = await forge.openPullRequest(REQUEST, never);
    expect(await forge.openPullRequest(REQUEST, never)).toEqual(first);
    expect(github.pulls).toHaveLength(2);
  });

  test('whose answer was lost is found when it is asked for again', async () => {
    const github = await startGithub();
    const forge = forgeOf(github);
    const opened = await forge.openPullRequest(REQUEST, never);
    github.insteadOfNext('cut');
    expect(await forge.openPullRequest(REQUEST, never)).toMatchObject({ kind: 'refused' });
    expect(await forge.openPullRequest(REQUEST, never)).toEqual(opened);
  });

  test('that was closed is no pull request: another is opened', async () => {
    const github = await startGithub();
    const forge = forgeOf(github);
    await forge.openPullRequest(REQUEST, never);
    (github.pulls[0] as { state: string }).state = 'closed';
    expect(await forge.openPullRequest(REQUEST, never)).toMatchObject({ url: /\/pull\/2$/ });
  });

  test('has a title and a body that GitHub takes, however long they are here', async () => {
    const github = await startGithub();
    const long = { ...REQUEST, title: 'x'.repeat(1000), body: 'y'.repeat(100_000) };
    expect(await forgeOf(github).openPullRequest(long, never)).toMatchObject({ kind: 'open' });
    expect([github.pulls[0]?.title.length, github.pulls[0]?.body.length]).toEqual([256, 65_536]);
  });
});

describe('what GitHub refuses is said with the next step', () => {
  const HOUR_AHEAD = String(NOW / SECOND + 3600);
  const cases: readonly [name: string, answers: readonly Instead[], reason: RegExp, retryAt?: number][] = [
    [
      'an expired token',
      [said(401, 'Bad credentials')],
      /^github\.com\/acme\/fleet does not know the token: .*set TIDEGATE_GITHUB_TOKEN to a new one$/,
    ],
    [
      'a token without the permission',
      [said(403, 'Resource not accessible by personal access token')],
      /\(403: Resource not accessible by personal access token\); give it the permission "Pull requests: write"/,
    ],
    [
      'a repository that the token does not see',
      [said(404, 'Not Found')],
      /\(404: Not Found\); give it the permission/,
    ],
    [
      'a branch that has nothing new',
      [invalid({ code: 'custom', message: 'No commits between main and tidegate/rollback/kiosk/2' })],
      /refuses the pull request: Validation Failed, No commits between main and .*; open one by hand, or merge the branch$/,
    ],
    [
      'a branch that is not there',
      [invalid({ field: 'head', code: 'invalid' })],
      /refuses the pull request: Validation Failed, head invalid;/,
    ],
    [
      'a primary rate limit',
      [
        said(403, 'API rate limit exceeded', {
          'x-ratelimit-remaining': '0',
          'x-ratelimit-reset': HOUR_AHEAD,
        }),
      ],
      /limits how often it is asked; it is tried again after 2026-11-21T09:00:00Z$/,
      NOW + 3600 * SECOND,
    ],
    [
      'too many requests',
      [said(429, 'Too many requests', { 'retry-after': '90' })],
      /tried again after 2026-11-21T08:01:30Z$/,
      NOW + 90 * SECOND,
    ],
    [
      'a secondary rate limit with a time',
      [said(403, 'You have exceeded a secondary rate limit.', { 'retry-after': '60' })],
      /tried again after 2026-11-21T08:01:00Z$/,
      NOW + 60 * SECOND,
    ],
    [
      'a secondary rate limit without one',
      [said(403, 'You have exceeded a secondary rate limit. Please wait a few minutes.')],
      /tried again after 2026-11-21T08:01:00Z$/,
      NOW + 60 * SECOND,
    ],
    [
      'a page of a proxy',
      [{ status: 502, body: '<html><body>Bad Gateway</body></html>' }],
      /^github\.com\/acme\/fleet answered 502; it is tried again$/,
    ],
    [
      'a page that is called a pull request',
      [{ status: 201, body: '<html>Sign in</html>' }],
      /answered without the URL of the pull request; look there whether it is open$/,
    ],
    [
      'a URL that is none of a page',
      [{ status: 201, body: { html_url: 'javascript:alert(1)' } }],
      /answered without the URL of the pull request/,
    ],
    [
      'an answer without end',
      [
        {
          status: 201,
          body: { html_url: 'https://github.com/acme/fleet/pull/1', padding: 'x'.repeat(2 ** 21) },
        },
      ],
      /answered without the URL of the pull request/,
    ],
    [
      'a repository that was renamed',
      [{ status: 307, headers: { Location: 'https://api.github.com/repositories/1/pulls' }, body: {} }],
      /answered 307; the repository was renamed or moved: give --repo its new URL$/,
    ],
    ['an answer that breaks off', ['cut'], /cannot be asked: .*; it is tried again$/],
    [
      'a server that shows what it was sent',
      [said(422, `Headers: {"authorization": "Bearer ${TOKEN}"}`)],
      /refuses the pull request: Headers: .*\(token\)/,
    ],
  ];

  test.each(cases)('%s', async (_, answers, reason, retryAt) => {
    const github = await startGithub();
    github.insteadOfNext(...answers);
    const result = await forgeOf(github).openPullRequest(REQUEST, never);
    expect(result).toEqual({
      kind: 'refused',
      reason: expect.stringMatching(reason),
      ...(retryAt === undefined ? {} : { retryAt }),
    });
    expect(JSON.stringify(result)).not.toContain(TOKEN);
  });

  test('a token that the server does not know', async () => {
    const github = await startGithub();
    const result = await forgeOf(github, { token: 'another' }).openPullRequest(REQUEST, never);
    expect(reasonOf(result)).toContain('does not know the token');
  });

  test('words without end, and words that could steer a terminal, are cut to what fits in a line', async () => {
    const github = await startGithub();
    github.insteadOfNext(said(500, `\u001b[2J\n${'x'.repeat(5000)}`));
    const reason = reasonOf(await forgeOf(github).openPullRequest(REQUEST, never));
    expect(reason.length).toBeLessThan(300);
    expect(reason).not.toMatch(/\p{Cc}/u);
  });

  test('a refusal of the second question, whether there is one already', async () => {
    const github = await startGithub();
    github.insteadOfNext(
      invalid({ code: 'custom', message: 'A pull request already exists' }),
      said(401, 'Bad credentials'),
    );
    expect(reasonOf(await forgeOf(github).openPullRequest(REQUEST, never))).toContain(
      'does not know the token',
    );
  });

  test('silence, and a server that is not there', async () => {
    const github = await startGithub();
    github.insteadOfNext('silence');
    const silent = await forgeOf(github, { timeoutMs: 50 }).openPullRequest(REQUEST, never);
    expect(reasonOf(silent)).toBe(
      'github.com/acme/fleet cannot be asked: no whole answer within 0.05 s; it is tried again',
    );
    const nobody = await forgeOf({ apiUrl: 'http://127.0.0.1:1' }).openPullRequest(REQUEST, never);
    expect(reasonOf(nobody)).toMatch(/cannot be asked: .+; it is tried again$/);
  });

  test('an end of the wait', async () => {
    const github = await startGithub();
    github.insteadOfNext('silence');
    const stop = new AbortController();
    const asking = forgeOf(github).openPullRequest(REQUEST, stop.signal);
    stop.abort();
    expect(await asking).toMatchObject({ kind: 'refused' });
  });
});

describe('the forge of a repository', () => {
  /** Where it would be asked. */
  async function askedAt(url: string, env: Record<string, string>): Promise<string | undefined> {
    let asked: string | undefined;
    const forge = forgeFor(url, {
      env,
      clock,
      fetch: async (input) => {
        asked = String(input);
        return Response.json({ html_url: 'https://github.com/acme/fleet/pull/1' }, { status: 201 });
      },
    });
    await forge?.openPullRequest(REQUEST, never);
    return asked;
  }

  test.each([
    ['https://github.com/acme/fleet.git', 'https://api.github.com/repos/acme/fleet/pulls'],
    ['https://github.com/acme/fleet', 'https://api.github.com/repos/acme/fleet/pulls'],
    ['https://GitHub.com/acme/fleet/', 'https://api.github.com/repos/acme/fleet/pulls'],
    ['git@github.com:acme/fleet.git', 'https://api.github.com/repos/acme/fleet/pulls'],
    ['ssh://git@github.com/acme/fleet.git', 'https://api.github.com/repos/acme/fleet/pulls'],
    ['ssh://git@ssh.github.com:443/acme/fleet.git', 'https://api.github.com/repos/acme/fleet/pulls'],
    ['github.com:acme/fleet.v2', 'https://api.github.com/repos/acme/fleet.v2/pulls'],
    ['https://github.example.org/acme/fleet.git', 'https://github.example.org/api/v3/repos/acme/fleet/pulls'],
    [
      'https://github.example.org:8443/acme/fleet',
      'https://github.example.org:8443/api/v3/repos/acme/fleet/pulls',
    ],
    [
      'ssh://git@github.example.org:2222/acme/fleet',
      'https://github.example.org/api/v3/repos/acme/fleet/pulls',
    ],
    ['https://acme.ghe.com/acme/fleet.git', 'https://api.acme.ghe.com/repos/acme/fleet/pulls'],
    ['/srv/fleet.git', undefined],
    ['./acme/fleet', undefined],
    ['file:///srv/acme/fleet', undefined],
    ['https://github.com/fleet.git', undefined],
    ['https://github.com/acme/sub/fleet.git', undefined],
    ['git@github.com:acme/..', undefined],
    ['https://github.com/acme/fl%20eet', undefined],
  ])('%s is asked at %s', async (url, expected) => {
    expect(await askedAt(url, { TIDEGATE_GITHUB_TOKEN: TOKEN })).toBe(expected);
    expect(await askedAt(url, {})).toBeUndefined();
  });

  test('may have its API elsewhere', async () => {
    const env = {
      TIDEGATE_GITHUB_TOKEN: TOKEN,
      TIDEGATE_GITHUB_API_URL: 'https://proxy.example.org/github/',
    };
    const expected = 'https://proxy.example.org/github/repos/acme/fleet/pulls';
    expect(await askedAt('git@github.com:acme/fleet.git', env)).toBe(expected);
  });

  test.each([
    'http://api.example.org',
    'github.example.org',
    'https://user:pass@example.org',
    'ftp://x/',
    '',
  ])('is not asked at %j, which would give the token away or is no place', async (apiUrl) => {
    const env = { TIDEGATE_GITHUB_TOKEN: TOKEN, TIDEGATE_GITHUB_API_URL: apiUrl };
    const asking = askedAt('git@github.com:acme/fleet.git', env);
    await expect(asking).rejects.toThrow(ForgeError);
    await expect(asking).rejects.toThrow(/^TIDEGATE_GITHUB_API_URL: expected an https URL/);
  });

  test.each(['', 'two words', 'line\n', 'naïve'])('has no use for the token %j', async (token) => {
    const asking = askedAt('git@github.com:acme/fleet.git', { TIDEGATE_GITHUB_TOKEN: token });
    await expect(asking).rejects.toThrow(/^TIDEGATE_GITHUB_TOKEN holds white space or is empty/);
  });
});

function reasonOf(result: PullRequestResult): string {
  expect(result.kind).toBe('refused');
  return result.kind === 'refused' ? result.reason : '';
}
