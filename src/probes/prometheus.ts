/**
 * Asks Prometheus, or what speaks like it, for one number.
 *
 * https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries
 */
import type { Answer } from '../core/gates/probe.ts';
import { excerpt, memberOf, type Reply, type RequestOptions, request } from '../request.ts';

export interface PrometheusServer {
  /** What `/api/v1/query` is added to. Without credentials, query and a slash at its end. */
  readonly baseUrl: string;
  /** Visible ASCII. It is sent to the server and nowhere else, and stands in no message. */
  readonly token?: string;
}

/** Shorter than we wait, so that a query which takes too long is ended there, too. */
const EVALUATION_TIMEOUT = '9s';

/** The value now. Exactly one finite number will do: a scalar, or a vector of one sample; all else is trouble. */
export async function askPrometheus(
  query: string,
  signal: AbortSignal,
  options: RequestOptions & { readonly server: PrometheusServer },
): Promise<Answer> {
  const { baseUrl, token } = options.server;
  const url = new URL(`${baseUrl}/api/v1/query`);
  const headers = {
    'Content-Type': 'application/x-www-form-urlencoded',
    ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
  };
  const body = new URLSearchParams({ query, timeout: EVALUATION_TIMEOUT }).toString();
  const reply = await request(url, { method: 'POST', headers, body }, signal, options);
  return answerIn(reply, { place: `Prometheus at ${url.host}`, quote: quotingWithout(token) });
}

interface Context {
  readonly place: string;
  /** What the server said, for a message. */
  readonly quote: (text: string) => string;
}

/** A server that shows what it was sent shows the token, too: it goes before anything is cut. */
function quotingWithout(token: string | undefined): Context['quote'] {
  return (text) => excerpt(token === undefined ? text : text.replaceAll(token, '(token)'));
}

function answerIn(reply: Reply, context: Context): Answer {
  const { place } = context;
  if (reply.kind === 'none') {
    return trouble(
      `${place} cannot be asked: ${reply.cause}; see that it runs and that --prometheus-url names it`,
    );
  }
  if (reply.kind === 'redirect') {
    const to = reply.to === undefined ? 'elsewhere' : `to ${reply.to}`;
    return trouble(
      `${place} answered ${reply.status}, which leads ${to} and is not followed; give --prometheus-url the address behind it`,
    );
  }
  const { status, body } = reply;
  const json = body.kind === 'json' ? body.value : undefined;
  if (memberOf(json, 'status') === 'error') return refusal(json, context);
  if (status !== 200) return trouble(`${place} answered ${status}; ${adviceFor(status)}`);
  if (body.kind === 'too-large') {
    return trouble(`${place} answered more than 256 KiB where one number is expected; ${AGGREGATE}`);
  }
  if (memberOf(json, 'status') !== 'success') {
    return trouble(
      `${place} answered what Prometheus does not; see that --prometheus-url names it and not a page`,
    );
  }
  const warnings = memberOf(json, 'warnings');
  // A part of the data may be missing: a sum over half the fleet looks as good as half the errors.
  if (Array.isArray(warnings) && warnings.length > 0) {
    return trouble(
      `${place} warns: ${wordsIn(warnings[0], context)}; the number may be of a part of the data, see why it warns`,
    );
  }
  return numberIn(memberOf(json, 'data'), context);
}

// The result

const AGGREGATE = 'aggregate it, as with sum() or max()';

function numberIn(data: unknown, context: Context): Answer {
  const result = memberOf(data, 'result');
  const type = memberOf(data, 'resultType');
  switch (type) {
    case 'scalar':
      return numberFrom(result, context);
    case 'vector': {
      if (!Array.isArray(result)) break;
      if (result.length === 0) {
        return trouble(
          'the query found nothing where one number is expected: no series has that name and those labels now; ' +
            'correct it, or add "or vector(0)" where nothing means 0',
        );
      }
      if (result.length > 1) {
        return trouble(`the query found ${result.length} samples where one is expected; ${AGGREGATE}`);
      }
      if (memberOf(result[0], 'histogram') !== undefined) {
        return trouble(
          'the query found a histogram where a number is expected; take one of it, as with histogram_quantile()',
        );
      }
      return numberFrom(memberOf(result[0], 'value'), context);
    }
    case 'matrix':
      return trouble(
        'the query found samples over time where one number is expected; take one of them, as with rate() or avg_over_time()',
      );
    case 'string':
      return trouble('the query found a text where one number is expected; correct it');
    default:
  }
  return trouble(
    `${context.place} answered a result that Prometheus does not have; see that --prometheus-url names it`,
  );
}

/** As Prometheus writes numbers: Number() would also take '', ' 1 ' and 0x10. */
const NUMBER = /^[+-]?[0-9]{1,400}(?:\.[0-9]{1,400})?(?:[eE][+-]?[0-9]{1,4})?$/;

/** `[instant, "number"]`. */
function numberFrom(pair: unknown, { place, quote }: Context): Answer {
  const text: unknown = Array.isArray(pair) ? pair[1] : undefined;
  if (typeof text !== 'string') {
    return trouble(
      `${place} answered a value that Prometheus does not have; see that --prometheus-url names it`,
    );
  }
  const value = NUMBER.test(text) ? Number(text) : Number.NaN;
  if (Number.isFinite(value)) return { kind: 'value', value };
  return trouble(
    `the query gave "${quote(text)}", which is no finite number; see that it divides by nothing that can be 0`,
  );
}

// Refusals

/** Kinds of errors that are the server's trouble, not the query's. */
const PASSING = new Set(['timeout', 'canceled', 'internal', 'unavailable', 'too_many_requests']);

function refusal(json: unknown, context: Context): Answer {
  const type = memberOf(json, 'errorType');
  const isPassing = typeof type === 'string' && PASSING.has(type);
  return trouble(
    `${context.place} cannot answer the query: ${wordsIn(memberOf(json, 'error'), context)}; ` +
      (isPassing ? 'make it cheaper, or look at the log there' : 'correct it'),
  );
}

function wordsIn(said: unknown, { quote }: Context): string {
  return typeof said === 'string' && said !== '' ? quote(said) : 'it does not say why';
}

function adviceFor(status: number): string {
  switch (status) {
    case 401:
    case 403:
      return 'set TIDEGATE_PROMETHEUS_TOKEN to a token that may query';
    case 404:
    case 405:
      return 'give --prometheus-url the address that has /api/v1/query below it';
    default:
      return 'look at the log there';
  }
}

function trouble(because: string): Answer {
  return { kind: 'trouble', because };
}
