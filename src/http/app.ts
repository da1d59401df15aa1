/**
 * The whole HTTP server as one app: the parts side by side, and around them what every answer has in common (request
 * ids, security headers, the API token, metrics, problem documents). No route is defined here.
 */
import { type Context, Hono, type MiddlewareHandler } from 'hono';
import { methodNotAllowed as judgeMethod } from 'hono/method-not-allowed';
import type { Clock } from '../clock.ts';
import type { ReconcilerState } from '../reconcile/reconciler.ts';
import type { ArtifactFolder } from '../store/artifact-folder.ts';
import type { Store } from '../store/store.ts';
import { artifactFiles } from './artifacts.ts';
import { bearerOf } from './bearer.ts';
import type { EventHub } from './events.ts';
import { requestIdOf, SECURITY_HEADERS } from './every-answer.ts';
import { health } from './health.ts';
import type { Metrics } from './metrics.ts';
import { openapi } from './openapi.ts';
import { operatorApi } from './operator-api.ts';
import { methodNotAllowed, notFound, problem } from './problem.ts';
import { isSameSecret } from './secret.ts';
import { tufFiles } from './tuf.ts';

export interface AppParts {
  readonly deviceApi: Hono;
  readonly state: () => ReconcilerState;
  readonly store: Pick<Store, 'device' | 'devices' | 'epoch' | 'tufFile'>;
  readonly clock: Pick<Clock, 'now'>;
  /** Artifacts that this server keeps itself. */
  readonly artifacts?: ArtifactFolder;
  readonly events: Pick<EventHub, 'app'>;
  readonly metrics: Pick<Metrics, 'app' | 'middleware'>;
  /** What else is served: the dashboard, webhooks, numbers that others post. */
  readonly others?: readonly Hono[];
  /** When set, `/api/*` and `/metrics` want it as a bearer token. */
  readonly apiToken?: string;
  /** A fresh id for a request that brings none. */
  readonly requestId: () => string;
  /** Told of what was answered with 500 here. The answer itself says nothing of it. */
  readonly onError: (
    error: Error,
    request: { readonly id: string; readonly method: string; readonly path: string },
  ) => void;
}

type Env = { Variables: { requestId: string } };

export function createApp(parts: AppParts): Hono<Env> {
  const { metrics, events, apiToken } = parts;
  const app = new Hono<Env>();

  app.use(identify(parts.requestId));
  app.use(metrics.middleware);
  app.use(
    judgeMethod({ app, onMethodNotAllowed: (c, methods) => methodNotAllowed(c.req.raw, methods.join(', ')) }),
  );
  if (apiToken !== undefined) {
    const guard = requireToken(apiToken);
    app.use('/api/*', guard);
    app.use('/metrics', guard);
  }

  const tuf = [artifactFiles(parts), tufFiles(parts)];
  const own = [operatorApi(parts), events.app, metrics.app, ...tuf, health(parts), openapi()];
  for (const part of [parts.deviceApi, ...own, ...(parts.others ?? [])]) app.route('/', part);

  app.notFound((c) => notFound(c.req.raw));
  app.onError((error, c) => fail(error, c, parts.onError));
  return app;
}

function identify(freshId: () => string): MiddlewareHandler<Env> {
  return async (c, next) => {
    const id = requestIdOf(c.req.header('X-Request-Id'), freshId);
    c.set('requestId', id);
    await next();
    const { headers } = c.res;
    headers.set('X-Request-Id', id);
    for (const [name, value] of Object.entries(SECURITY_HEADERS)) {
      if (!headers.has(name)) headers.set(name, value);
    }
  };
}

function requireToken(expected: string): MiddlewareHandler<Env> {
  return async (c, next) => {
    const token = bearerOf(c.req.header('Authorization'));
    if (token !== undefined && isSameSecret(token, expected)) return next();
    return problem('api-token-refused', {
      detail: `expected "Authorization: Bearer <API token>", found ${token === undefined ? 'none' : 'another token'}`,
      next: 'send the API token that the server was started with',
    });
  };
}

function fail(error: Error, c: Context<Env>, onError: AppParts['onError']): Response {
  const { method, path } = c.req;
  const id = c.get('requestId');
  onError(error, { id, method, path });
  return problem('internal', {
    detail: 'the request could not be answered',
    next: 'try again later; the log has more under this request id',
    extensions: { requestId: id },
  });
}
