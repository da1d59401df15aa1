/**
 * Asks a server of somebody's own whether a rollout may go on. Where it is stands in the repository, so it is asked only where
 * the server was told that gates may ask.
 */
import type { Clock } from '../clock.ts';
import type { Answer, Question } from '../core/gates/probe.ts';
import { excerpt, memberOf, type Reply, type RequestOptions, request } from '../request.ts';
import { webhookHeaders } from '../trust/standard-webhooks.ts';
import { type AllowedHost, isAllowed } from './hosts.ts';

export interface WebhookAccess {
  readonly hosts: readonly AllowedHost[];
  /** What questions are signed with; absent: they are not. */
  readonly key?: Uint8Array;
}

export interface WebhookOptions extends RequestOptions {
  readonly access: WebhookAccess;
  readonly clock: Pick<Clock, 'now'>;
  readonly randomHex: () => string;
}

const BECAUSE_LENGTH_MAX = 500;

/** The verdict now; whatever is none is trouble. Only the host of the URL stands in words: the rest of it may be a secret. */
export async function askWebhook(
  { url: text, about }: Extract<Question, { kind: 'webhook' }>,
  signal: AbortSignal,
  options: WebhookOptions,
): Promise<Answer> {
  const { hosts, key } = options.access;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    return trouble('the URL of the webhook is none that starts with https://; correct it');
  }
  const host = excerpt(url.host);
  if (url.username !== '' || url.password !== '') {
    return trouble(
      `the URL of the webhook at ${host} has credentials in it, which everybody reads who reads the repository; ` +
        'take them away, and set TIDEGATE_GATE_WEBHOOK_SECRET, by which it can tell who asks',
    );
  }
  if (!isAllowed(url, hosts)) {
    // Without a port it would be HTTPS that is allowed.
    const wanted = url.protocol === 'http:' && url.port === '' ? `${host}:80` : host;
    return trouble(
      `gates may not ask ${wanted}: the server was not started with --gate-webhook-host ${wanted}; ` +
        'have it added there, or correct the URL',
    );
  }
  const body = JSON.stringify(about);
  const at = options.clock.now();
  const headers = {
    'Content-Type': 'application/json',
    ...(key === undefined ? {} : webhookHeaders({ id: `msg_${options.randomHex()}`, at, body }, [key])),
  };
  const reply = await request(url, { method: 'POST', headers, body }, signal, options);
  return answerIn(reply, `the webhook at ${host}`);
}

function answerIn(reply: Reply, place: string): Answer {
  if (reply.kind === 'none') {
    return trouble(`${place} cannot be asked: ${reply.cause}; see that it runs and that the URL is right`);
  }
  if (reply.kind === 'redirect') {
    const to = reply.to === undefined ? 'elsewhere' : `to ${reply.to}`;
    return trouble(
      `${place} answered ${reply.status}, which leads ${to} and is not followed; write the URL behind it`,
    );
  }
  const { status, body } = reply;
  if (status !== 200)
    return trouble(`${place} answered ${status} where 200 is expected; ${adviceFor(status)}`);
  if (body.kind === 'too-large') {
    return trouble(`${place} answered more than 256 KiB where a verdict is expected; see what it sends`);
  }
  if (body.kind === 'other') {
    return trouble(`${place} answered what is no JSON; have it answer ${EXPECTED}`);
  }
  return verdictIn(body.value, place);
}

const EXPECTED = '{"verdict": "pass"}, "halt" or "wait"';

function verdictIn(json: unknown, place: string): Answer {
  const verdict = memberOf(json, 'verdict');
  if (verdict !== 'pass' && verdict !== 'halt' && verdict !== 'wait') {
    const found =
      typeof verdict === 'string' ? `the verdict "${excerpt(verdict, 50)}"` : 'JSON without a verdict';
    return trouble(`${place} answered ${found}; have it answer ${EXPECTED}`);
  }
  const because = memberOf(json, 'because');
  // A halt counts whatever is wrong with its reason.
  const said = typeof because === 'string' ? excerpt(because, BECAUSE_LENGTH_MAX) : '';
  return { kind: 'verdict', verdict, because: said === '' ? 'it does not say why' : said };
}

function adviceFor(status: number): string {
  switch (status) {
    case 401:
    case 403:
      return 'see that TIDEGATE_GATE_WEBHOOK_SECRET is what it checks signatures with';
    case 404:
    case 405:
    case 410:
      return 'correct the URL';
    default:
      return 'look at the log there';
  }
}

function trouble(because: string): Answer {
  return { kind: 'trouble', because };
}
