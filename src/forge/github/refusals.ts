/**
 * What an answer that is none means for whoever set the token.
 *
 * https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
 * https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api
 */
import { formatInstant, type Instant, MINUTE, SECOND } from '../../core/model/time.ts';
import { excerpt, memberOf } from '../../request.ts';
import type { Refused } from '../forge.ts';
import type { Answered, Context } from './asking.ts';

/** What was asked for, in words. */
export interface Doing {
  /** After "does not let the token". */
  readonly may: string;
  /** After "give it the permission". */
  readonly permission: string;
  /** After "refuses": what, and what to do about it. */
  readonly refuses: string;
  readonly next: string;
}

/** "Best practices": after a secondary limit without a time, wait for at least a minute. */
const LIMITED_MS = MINUTE;

export function refused(reason: string, retryAt?: Instant): Refused {
  return { kind: 'refused', reason, ...(retryAt === undefined ? {} : { retryAt }) };
}

export function refusal(context: Context, answer: Answered, doing: Doing): Refused {
  const { place, clock } = context;
  const retryAt = limitedUntil(answer, clock.now());
  if (retryAt !== undefined) {
    return refused(
      `${place} limits how often it is asked; it is tried again after ${formatInstant(retryAt)}`,
      retryAt,
    );
  }
  const { status } = answer;
  const said = saidBy(context, answer);
  switch (status) {
    case 401:
      return refused(
        `${place} does not know the token: it has expired or was revoked; set TIDEGATE_GITHUB_TOKEN to a new one`,
      );
    case 403:
    case 404:
      return refused(
        `${place} does not let the token ${doing.may} (${status}${said}); ` +
          `give it the permission ${doing.permission} for this repository, or a classic token the scope repo`,
      );
    case 422:
      return refused(`${place} refuses ${doing.refuses}${said}; ${doing.next}`);
    default:
      return refused(`${place} answered ${status}${said}; it is tried again`);
  }
}

/** When a rate limit ends, if the answer is about one. */
function limitedUntil({ status, headers, body }: Answered, now: Instant): Instant | undefined {
  if (status !== 403 && status !== 429) return undefined;
  const afterSeconds = numberIn(headers.get('retry-after'));
  if (afterSeconds !== undefined) return now + afterSeconds * SECOND;
  const resetSeconds = numberIn(headers.get('x-ratelimit-reset'));
  if (headers.get('x-ratelimit-remaining') === '0' && resetSeconds !== undefined) {
    return Math.max(now, resetSeconds * SECOND);
  }
  return status === 429 || /rate limit/i.test(wordsIn(body)) ? now + LIMITED_MS : undefined;
}

function numberIn(text: string | null): number | undefined {
  return text !== null && /^[0-9]{1,12}$/.test(text) ? Number(text) : undefined;
}

/** GitHub's own words, with those about single fields, as `: words`; empty where there are none. */
export function saidBy({ token }: Context, { body }: Answered): string {
  // A server that shows what it was sent shows the token, too: it goes before anything is cut.
  const words = wordsIn(body).replaceAll(token, '(token)');
  return words === '' ? '' : `: ${excerpt(words)}`;
}

function wordsIn(body: unknown): string {
  const errors = memberOf(body, 'errors');
  const details = (Array.isArray(errors) ? errors : []).slice(0, 3).map((each: unknown) => {
    const [message, field, code] = ['message', 'field', 'code'].map((key) => memberOf(each, key));
    return typeof message === 'string'
      ? message
      : [field, code].filter((text) => typeof text === 'string').join(' ');
  });
  return [memberOf(body, 'message'), ...details]
    .filter((text) => typeof text === 'string' && text !== '')
    .join(', ');
}
