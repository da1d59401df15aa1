/**
 * Pull requests: asking people to merge, and finding the one that brought a commit.
 *
 * https://docs.github.com/en/rest/pulls/pulls#create-a-pull-request
 * https://docs.github.com/en/rest/commits/commits#list-pull-requests-associated-with-a-commit
 */
import { memberOf } from '../../request.ts';
import type { BroughtBy, PullRequest, PullRequestResult, Refused } from '../forge.ts';
import { ask, type Context } from './asking.ts';
import { type Doing, refusal, refused } from './refusals.ts';

/** What GitHub takes at most; it counts characters. */
const TITLE_LENGTH_MAX = 256;
export const BODY_LENGTH_MAX = 65_536;

const OPENING: Doing = {
  may: 'open pull requests',
  permission: '"Pull requests: write"',
  refuses: 'the pull request',
  next: 'open one by hand, or merge the branch',
};

export async function openPullRequest(
  context: Context,
  request: PullRequest,
  signal: AbortSignal,
): Promise<PullRequestResult> {
  const { title, body, branch: head, base } = request;
  const asked = await ask(context, signal, {
    method: 'POST',
    url: `${context.repositoryUrl}/pulls`,
    body: { title: title.slice(0, TITLE_LENGTH_MAX), body: body.slice(0, BODY_LENGTH_MAX), head, base },
  });
  if (asked.kind !== 'answered') return asked;
  if (asked.status === 201) return opened(context, asked.body);
  if (asked.status !== 422) return refusal(context, asked, OPENING);
  const known = await findOpen(context, request, signal);
  return known ?? refusal(context, asked, OPENING);
}

/** The pull request that is open already, if there is one. */
async function findOpen(
  context: Context,
  { branch, base }: PullRequest,
  signal: AbortSignal,
): Promise<PullRequestResult | undefined> {
  const { owner } = context.repository;
  const query = new URLSearchParams({ head: `${owner}:${branch}`, base, state: 'open', per_page: '1' });
  const asked = await ask(context, signal, { method: 'GET', url: `${context.repositoryUrl}/pulls?${query}` });
  if (asked.kind !== 'answered') return asked;
  if (asked.status !== 200) return refusal(context, asked, OPENING);
  const [found] = Array.isArray(asked.body) ? asked.body : [];
  return found === undefined ? undefined : opened(context, found);
}

function opened({ place }: Context, pullRequest: unknown): PullRequestResult {
  const url = memberOf(pullRequest, 'html_url');
  if (typeof url === 'string' && url.length <= 500 && /^https?:\/\/[\x21-\x7e]+$/.test(url))
    return { kind: 'open', url };
  return refused(`${place} answered without the URL of the pull request; look there whether it is open`);
}

const FINDING: Doing = {
  may: 'read pull requests',
  permission: '"Pull requests: write"',
  refuses: 'to say which pull request brought a commit',
  next: 'it is tried again',
};

/** Of a merge commit, a squash or a rebase: GitHub knows what it made. A commit that it does not have came from nowhere. */
export async function pullRequestOf(
  context: Context,
  { commit, base }: { readonly commit: string; readonly base: string },
  signal: AbortSignal,
): Promise<BroughtBy | Refused> {
  const url = `${context.repositoryUrl}/commits/${commit}/pulls?per_page=10`;
  const asked = await ask(context, signal, { method: 'GET', url });
  if (asked.kind !== 'answered') return asked;
  if (asked.status === 422) return { kind: 'none' };
  if (asked.status !== 200) return refusal(context, asked, FINDING);
  const merged = (Array.isArray(asked.body) ? asked.body : []).filter(
    (each: unknown) =>
      typeof memberOf(each, 'merged_at') === 'string' && memberOf(memberOf(each, 'base'), 'ref') === base,
  );
  // A branch that was merged into another one first is in the history of two.
  const found = merged.find((each) => memberOf(each, 'merge_commit_sha') === commit) ?? merged[0];
  const number = memberOf(found, 'number');
  return Number.isSafeInteger(number) ? { kind: 'pullRequest', number: Number(number) } : { kind: 'none' };
}
