/**
 * The two requests that a fleet sends again and again, polls and reports, answered on node's own request and response:
 * making a web Request, a Response and a chain of middleware around each costs several times what the answer does.
 *
 * It takes only what is spelled plainly, and leaves the rest to the app: whether a request is answered here or there
 * makes no difference but in speed.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Clock, realNow } from '../clock.ts';
import { type Answer, type DeviceAnswers, REPORT_BYTES_MAX } from './device-answers.ts';
import { httpDate, requestIdOf, SECURITY_HEADERS } from './every-answer.ts';
import { parseBody } from './limits.ts';
import type { Metrics } from './metrics.ts';

/** Whether it has taken the request; otherwise nothing of it was touched. */
export type DirectRoute = (request: IncomingMessage, response: ServerResponse) => boolean;

export function createDirectRoute(parts: {
  readonly answers: Pick<DeviceAnswers, 'poll' | 'report' | 'fault'>;
  readonly clock: Pick<Clock, 'now'>;
  readonly metrics: Pick<Metrics, 'requests'>;
  readonly requestId: () => string;
}): DirectRoute {
  const { answers, clock, metrics, requestId } = parts;
  const routes = {
    manifest: { method: 'GET', pattern: '/v1/devices/:id/manifest' },
    reports: { method: 'POST', pattern: '/v1/devices/:id/reports' },
  };

  return (request, response) => {
    const path = PATH.exec(request.url ?? '');
    const id = path?.[1];
    const what = path?.[2];
    if (id === undefined || (what !== 'manifest' && what !== 'reports')) return false;
    const { method, pattern } = routes[what];
    if (request.method !== method) return false;
    const fields = plainFields(request.rawHeaders);
    if (fields === undefined) return false;
    if (!(what === 'manifest' ? hasNoBody(fields) : hasPlainJson(fields))) return false;

    const startedAt = realNow();
    const send = (answer: Answer) => {
      metrics.requests.count({ route: pattern, status: answer.status, tookMs: realNow() - startedAt });
      const id = requestIdOf(fields.requestId, requestId);
      const common = ['Date', httpDate(clock.now()), 'X-Request-Id', id];
      response.writeHead(answer.status, answer.headers.concat(SECURITY, common));
      response.end(answer.body, 'utf8');
    };
    const { authorization, ifNoneMatch } = fields;
    const answer =
      what === 'manifest'
        ? answers.poll({ id, authorization, ifNoneMatch })
        : answers.report({ id, authorization, read: (limits) => parseBody(bytesOf(request), limits) });
    if (answer instanceof Promise) {
      answer
        .catch((error) => answers.fault(error))
        .then(toAnswer)
        .then(send)
        .catch(() => response.destroy());
    } else send(answer);
    return true;
  };
}

const SECURITY = Object.entries(SECURITY_HEADERS).flat();

/** An id that needs no decoding, is no `.` or `..`, and no query behind it. */
const PATH = /^\/v1\/devices\/([A-Za-z0-9][A-Za-z0-9._:@'+-]*)\/(manifest|reports)$/;
/** A name or an address that nobody could understand otherwise, as the app's own server has it. */
const HOST = /^[a-z0-9._-]+(?::(?:[1-5]\d{3,4}|[6-9]\d{3}))?$/;

/** The header fields that matter here, each as sent. */
interface Fields {
  host?: string;
  authorization?: string;
  ifNoneMatch?: string;
  requestId?: string;
  contentType?: string;
  contentLength?: string;
  contentEncoding?: string;
  transferEncoding?: string;
}

const NAMES: ReadonlyMap<string, keyof Fields> = new Map([
  ['host', 'host'],
  ['authorization', 'authorization'],
  ['if-none-match', 'ifNoneMatch'],
  ['x-request-id', 'requestId'],
  ['content-type', 'contentType'],
  ['content-length', 'contentLength'],
  ['content-encoding', 'contentEncoding'],
  ['transfer-encoding', 'transferEncoding'],
]);

/** Undefined where a field comes twice, or the Host is none that is certain to be taken. */
function plainFields(raw: readonly string[]): Fields | undefined {
  const fields: Fields = {};
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = NAMES.get((raw[at] as string).toLowerCase());
    if (name === undefined) continue;
    if (fields[name] !== undefined) return undefined;
    fields[name] = raw[at + 1] as string;
  }
  return fields.host !== undefined && HOST.test(fields.host) ? fields : undefined;
}

function hasNoBody({ contentLength, transferEncoding }: Fields): boolean {
  return contentLength === undefined && transferEncoding === undefined;
}

/** The length is declared and within bounds, which node's parser sees to: reading it needs no bound of its own. */
function hasPlainJson({ contentType, contentLength, contentEncoding, transferEncoding }: Fields): boolean {
  return (
    contentType === 'application/json' &&
    contentEncoding === undefined &&
    transferEncoding === undefined &&
    Number(contentLength) <= REPORT_BYTES_MAX
  );
}

/** The whole body, or a rejection where it broke off. */
function bytesOf(request: IncomingMessage): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    if (request.destroyed) return reject(new Error('the client hung up'));
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.once('end', () => resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks)));
    request.once('error', reject);
  });
}

async function toAnswer(answer: Answer | Response): Promise<Answer> {
  if (!(answer instanceof Response)) return answer;
  const body = await answer.text();
  const length = ['Content-Length', String(Buffer.byteLength(body))];
  return { status: answer.status, headers: [...[...answer.headers].flat(), ...length], body };
}
