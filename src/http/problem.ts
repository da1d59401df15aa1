/**
 * Errors as RFC 9457 problem documents. One table gives every code its status and title; who answers with one adds
 * what was found and what to do next.
 */

const PROBLEMS = {
  'malformed-request': { status: 400, title: 'This is not HTTP as we speak it' },
  'invalid-json': { status: 400, title: 'The body is not JSON' },
  'invalid-body': { status: 400, title: 'The body is not what this path takes' },
  'invalid-query': { status: 400, title: 'The query is not what this path takes' },
  'api-token-refused': { status: 401, title: 'The API token is missing or wrong' },
  'token-missing': { status: 401, title: 'A device token is needed' },
  'token-malformed': { status: 401, title: 'The device token cannot be read' },
  'token-bad-signature': { status: 401, title: "The device token is not signed with the device's key" },
  'token-expired': { status: 401, title: 'The device token has expired' },
  'token-not-yet-valid': { status: 401, title: 'The device token is from the future' },
  'token-too-long-lived': { status: 401, title: 'The device token lasts too long' },
  'token-wrong-audience': { status: 401, title: 'The device token is for another fleet' },
  'unknown-device': { status: 401, title: 'The device is not registered' },
  'observation-token-refused': { status: 401, title: 'The observation token is missing or does not hold' },
  'webhook-refused': { status: 401, title: 'The delivery does not prove that it knows the secret' },
  'enrolment-refused': { status: 403, title: 'The enrolment token or credential does not hold' },
  'other-device': { status: 403, title: 'A device reads and writes its own documents only' },
  'other-metric': { status: 403, title: 'The token is for other metrics' },
  revoked: { status: 403, title: 'The device is revoked' },
  'not-found': { status: 404, title: 'There is nothing here' },
  'method-not-allowed': { status: 405, title: 'The path does not take this method' },
  'request-too-slow': { status: 408, title: 'The request took too long to arrive' },
  'id-taken': { status: 409, title: 'Another key is registered for this id' },
  'not-selectable': { status: 409, title: 'Nothing can be selected now' },
  'body-too-large': { status: 413, title: 'The body is too large' },
  'not-json': { status: 415, title: 'The body must be plain application/json' },
  'range-not-satisfiable': { status: 416, title: 'The artifact has no such bytes' },
  'too-many-requests': { status: 429, title: 'That was asked too often' },
  'headers-too-large': { status: 431, title: 'The headers are too large' },
  internal: { status: 500, title: 'Tidegate failed' },
  'intake-full': { status: 503, title: 'Too many changes wait to be stored' },
  'store-unavailable': { status: 503, title: 'The store does not take changes' },
  'no-program': { status: 503, title: 'Nothing can be assigned yet' },
  'not-ready': { status: 503, title: 'Tidegate is not ready' },
  'too-many-listeners': { status: 503, title: 'As many listen to events as may' },
} as const satisfies Record<string, { status: number; title: string }>;

export type ProblemCode = keyof typeof PROBLEMS;

export interface ProblemDetails {
  /** What was found, in a sentence. */
  readonly detail: string;
  /** What to do about it. */
  readonly next: string;
  /** Further members of the document. */
  readonly extensions?: Readonly<Record<string, string | readonly string[]>>;
  readonly headers?: Readonly<Record<string, string>>;
}

/** For what a little patience mends: 10 s. */
export const RETRY_LATER = { 'Retry-After': '10' };

/** The answer to whoever may ask again in `seconds`. */
export function tooMany(detail: string, seconds: number): Response {
  const headers = { 'Retry-After': String(seconds) };
  return problem('too-many-requests', { detail, next: `ask again in ${seconds} s`, headers });
}

const TYPE_BASE = 'https://tidegate.dev/problems/';

/** The response for `code`. No cache keeps it. */
export function problem(code: ProblemCode, { detail, next, extensions, headers }: ProblemDetails): Response {
  const { status, title } = PROBLEMS[code];
  const document = { type: TYPE_BASE + code, title, status, detail, next, ...extensions };
  return new Response(JSON.stringify(document), {
    status,
    headers: {
      'Content-Type': 'application/problem+json',
      'Cache-Control': 'no-store',
      // RFC 9110 §11.6.1: a 401 names the scheme that it wants.
      ...(status === 401 ? { 'WWW-Authenticate': 'Bearer realm="tidegate"' } : {}),
      ...headers,
    },
  });
}

/** Answers for a path that does not exist. */
export function notFound(request: Request): Response {
  const { pathname } = new URL(request.url);
  return problem('not-found', { detail: `nothing is served at ${pathname}`, next: 'check the path' });
}

/** Answers for a path that exists, with the methods it takes (`GET, HEAD`). */
export function methodNotAllowed(request: Request, allowed: string): Response {
  const detail = `expected ${allowed}, found ${request.method}`;
  return problem('method-not-allowed', { detail, next: `use ${allowed}`, headers: { Allow: allowed } });
}
