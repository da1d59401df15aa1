/**
 * One comment that is kept up to date. Whoever keeps it may be killed anywhere, and another may keep the same one at the same time: so
 * it is looked for before it is made, and again afterwards, and of several the oldest stays.
 *
 * https://docs.github.com/en/rest/issues/comments: comments on the conversation of a pull request are those of an issue. Reading,
 * making, changing and deleting them takes "Pull requests: write" or "Issues: write".
 */
import { memberOf } from '../../request.ts';
import type { CommentResult, Refused, StickyComment } from '../forge.ts';
import { type Answered, ask, type Context } from './asking.ts';
import { BODY_LENGTH_MAX } from './pull-requests.ts';
import { type Doing, refusal, refused, saidBy } from './refusals.ts';

const COMMENTING: Doing = {
  may: 'comment on pull requests',
  permission: '"Pull requests: write"',
  refuses: 'the comment',
  next: 'look at the pull request',
};
const PER_PAGE = 100;
/** Each of them as long as GitHub takes it. */
const PAGE_BYTES_MAX = 16 * 1024 * 1024;
/** Of a conversation, so many comments are looked through. */
const PAGES_MAX = 30;

interface Comment {
  readonly id: number;
  readonly body: string;
  readonly url: string;
}

interface Found {
  readonly kind: 'found';
  /** Oldest first. */
  readonly comments: readonly Comment[];
}

/** `author`: whose comments are ours. Somebody else may write the marker, too. */
export async function keepComment(
  context: Context,
  { pullRequest, marker, body, author }: StickyComment & { readonly author: string },
  signal: AbortSignal,
): Promise<CommentResult> {
  const text = `${marker}\n${body}`.slice(0, BODY_LENGTH_MAX);
  const ours = { pullRequest, marker, author };
  const before = await find(context, ours, signal);
  if (before.kind !== 'found') return before;
  if (before.comments.length > 0) return await settle(context, before.comments, text, signal);

  const url = `${context.repositoryUrl}/issues/${pullRequest}/comments`;
  const made = await ask(context, signal, { method: 'POST', url, body: { body: text } });
  if (made.kind !== 'answered') return made;
  if (made.status !== 201) return failure(context, made);
  const after = await find(context, ours, signal);
  // It is there. Whether it is there alone is seen the next time.
  if (after.kind !== 'found' || after.comments.length === 0) return kept(made.body);
  return await settle(context, after.comments, text, signal);
}

/** Leaves the oldest with this text, and no other. */
async function settle(
  context: Context,
  [first, ...more]: readonly Comment[],
  text: string,
  signal: AbortSignal,
): Promise<CommentResult> {
  for (const { id } of more) {
    const gone = await ask(context, signal, { method: 'DELETE', url: commentUrl(context, id) });
    if (gone.kind !== 'answered') return gone;
    if (gone.status !== 204 && gone.status !== 404) return failure(context, gone);
  }
  if (first === undefined || isSameText(first.body, text)) return { kind: 'kept', url: first?.url ?? '' };
  const url = commentUrl(context, first.id);
  const changed = await ask(context, signal, { method: 'PATCH', url, body: { body: text } });
  if (changed.kind !== 'answered') return changed;
  return changed.status === 200 ? kept(changed.body) : failure(context, changed);
}

function commentUrl({ repositoryUrl }: Context, id: number): string {
  return `${repositoryUrl}/issues/comments/${id}`;
}

async function find(
  context: Context,
  { pullRequest, marker, author }: { pullRequest: number; marker: string; author: string },
  signal: AbortSignal,
): Promise<Found | Exclude<CommentResult, { kind: 'kept' }>> {
  const comments: Comment[] = [];
  for (let page = 1; page <= PAGES_MAX; page++) {
    const query = `per_page=${PER_PAGE}&page=${page}`;
    const url = `${context.repositoryUrl}/issues/${pullRequest}/comments?${query}`;
    const asked = await ask(context, signal, { method: 'GET', url, answerBytesMax: PAGE_BYTES_MAX });
    if (asked.kind !== 'answered') return asked;
    if (asked.status !== 200) return failure(context, asked);
    if (!Array.isArray(asked.body)) {
      return refused(`${context.place} answered what is no list of comments; it is tried again`);
    }
    for (const each of asked.body) {
      const comment = commentIn(each);
      const isOurs = memberOf(memberOf(each, 'user'), 'login') === author;
      if (comment !== undefined && isOurs && isMarked(comment.body, marker)) comments.push(comment);
    }
    // The pages are counted here: a link may lead anywhere.
    if (!hasNext(asked)) return { kind: 'found', comments: comments.sort((a, b) => a.id - b.id) };
  }
  const reason = `pull request ${pullRequest} of ${context.place} has more than ${PER_PAGE * PAGES_MAX} comments`;
  return comments.length > 0 ? { kind: 'found', comments } : { kind: 'gone', reason };
}

function hasNext({ headers }: Answered): boolean {
  return /;\s*rel="?next"?/.test(headers.get('link') ?? '');
}

function commentIn(value: unknown): Comment | undefined {
  const [id, body] = [memberOf(value, 'id'), memberOf(value, 'body')];
  if (!Number.isSafeInteger(id) || typeof body !== 'string') return undefined;
  return { id: Number(id), body, url: urlIn(value) };
}

/** It may have been edited on the page, which ends lines as browsers do. */
function isMarked(body: string, marker: string): boolean {
  return body.split(/\r?\n/, 1)[0]?.trimEnd() === marker;
}

function isSameText(a: string, b: string): boolean {
  return a.replaceAll('\r\n', '\n').trimEnd() === b.trimEnd();
}

function kept(comment: unknown): CommentResult {
  return { kind: 'kept', url: urlIn(comment) };
}

function urlIn(comment: unknown): string {
  const url = memberOf(comment, 'html_url');
  return typeof url === 'string' && url.length <= 500 && /^https?:\/\/[\x21-\x7e]+$/.test(url) ? url : '';
}

/** A conversation that was locked or deleted, and one that takes no more, will take this one no later. */
function failure(context: Context, answer: Answered): Refused | Extract<CommentResult, { kind: 'gone' }> {
  const said = saidBy(context, answer);
  const isLocked = answer.status === 403 && /\blocked\b/i.test(said);
  if (!isLocked && answer.status !== 410 && answer.status !== 422)
    return refusal(context, answer, COMMENTING);
  return { kind: 'gone', reason: `${context.place} takes no comment there (${answer.status}${said})` };
}
