/**
 * One try to deliver one message. Nothing that an answer says is kept but its status and when to come again: a receiver may be
 * any address that somebody committed, and its answers are not for their eyes.
 *
 * Which status means what: Standard Webhooks 1.0.0, "Delivery success and failure".
 */
import { type DurationMs, formatDuration, HOUR, type Instant, SECOND } from '../core/model/time.ts';
import type { Message } from '../store/outbox.ts';
import { type SigningKeys, webhookHeaders } from '../trust/standard-webhooks.ts';
import { CLOUD_EVENT_TYPE } from './cloud-event.ts';
import type { ResolvedReceiver } from './receivers.ts';
import { SLACK_MESSAGE_TYPE } from './slack-message.ts';

export type Posted =
  | { readonly kind: 'delivered' }
  /** The receiver will never take it. `words` say so after its name, with the next step. */
  | { readonly kind: 'gone'; readonly error: string; readonly words: string }
  | {
      readonly kind: 'failed';
      /** A part of a sentence, after the receiver's name: `answers 503`. */
      readonly error: string;
      /** Whether another message would fare no better now. */
      readonly isDown: boolean;
      readonly retryAfterMs?: DurationMs;
      /** `error` ends with what happens next, or what a person can do. */
      readonly saysNext?: true;
    };

export interface PostOptions {
  readonly fetch: typeof fetch;
  readonly signal: AbortSignal;
  readonly timeoutMs: DurationMs;
  readonly signingKeys: SigningKeys;
  readonly now: Instant;
}

const CONTENT_TYPES: Readonly<Record<ResolvedReceiver['format'], string>> = {
  cloudevents: CLOUD_EVENT_TYPE,
  slack: SLACK_MESSAGE_TYPE,
};

/** However far off a receiver puts us. */
const RETRY_AFTER_MS_MAX = HOUR;

export async function post(
  { id, body }: Pick<Message, 'id' | 'body'>,
  { format, target }: ResolvedReceiver,
  { fetch, signal, timeoutMs, signingKeys, now }: PostOptions,
): Promise<Posted> {
  if ('trouble' in target)
    return { kind: 'failed', error: `cannot be told: ${target.trouble}`, isDown: true };
  try {
    const response = await fetch(target.url, {
      method: 'POST',
      headers: {
        'Content-Type': CONTENT_TYPES[format],
        'User-Agent': 'tidegate',
        ...webhookHeaders({ id, body, at: now }, signingKeys),
      },
      body,
      // Followed, one would take what was meant for this receiver elsewhere.
      redirect: 'manual',
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
    });
    // Closes the connection, however long the answer would have been.
    await response.body?.cancel();
    return judge(response, now);
  } catch (error) {
    return { kind: 'failed', error: reasonOf(error, timeoutMs), isDown: true };
  }
}

const GONE: Posted = {
  kind: 'gone',
  error: 'answers 410',
  words:
    'answers 410, it wants no more notices, and this one is given up; take it out of notifications in the Fleet document',
};

function judge({ status, headers }: Response, now: Instant): Posted {
  if (status >= 200 && status < 300) return { kind: 'delivered' };
  if (status === 410) return GONE;
  const isRedirect = status >= 300 && status < 400;
  const error = isRedirect
    ? `answers ${status}, a redirect, which is not followed: correct its address`
    : `answers ${status}`;
  const retryAfterMs = retryAfterOf(headers.get('retry-after'), now);
  // Another 4xx may be about this message alone; the others go on.
  const isDown = status >= 500 || isRedirect || [401, 403, 404, 408, 425, 429].includes(status);
  return { kind: 'failed', error, isDown, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
}

/** RFC 9110 §10.2.3: seconds, or a date. */
function retryAfterOf(text: string | null, now: Instant): DurationMs | undefined {
  if (text === null) return undefined;
  const afterMs = /^[0-9]{1,9}$/.test(text) ? Number(text) * SECOND : Date.parse(text) - now;
  return Number.isNaN(afterMs) ? undefined : Math.min(Math.max(0, afterMs), RETRY_AFTER_MS_MAX);
}

/** Only the code: messages of fetch may contain the URL. */
function reasonOf(error: unknown, timeoutMs: DurationMs): string {
  if (!(error instanceof Error)) return 'cannot be reached';
  if (error.name === 'TimeoutError') return `does not answer within ${formatDuration(timeoutMs)}`;
  const { cause } = error;
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  const isCode = typeof code === 'string' && /^[A-Z][A-Z0-9_]{1,63}$/.test(code);
  return isCode ? `cannot be reached (${code})` : 'cannot be reached';
}
