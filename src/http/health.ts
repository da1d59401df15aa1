/**
 * Probes. `/healthz`: the process answers. `/readyz`: it can serve devices. What keeps stages from opening is a
 * warning there and never makes a server unready: devices go on being served while git is away. Both may be public:
 * they say what is wrong, and leave the details to the operators' API.
 */
import { Hono } from 'hono';
import type { Clock } from '../clock.ts';
import { formatDuration, HOUR, type Instant, MINUTE } from '../core/model/time.ts';
import type { ReconcilerState } from '../reconcile/reconciler.ts';
import type { HeldBy } from '../reconcile/record.ts';
import type { Store } from '../store/store.ts';
import { expiring } from '../trust/tuf/expiry.ts';
import { problem } from './problem.ts';

export interface HealthOptions {
  readonly state: () => ReconcilerState;
  readonly store: Pick<Store, 'epoch'>;
  readonly clock: Pick<Clock, 'now'>;
}

/** Ten idle intervals of the reconciler. */
const PASS_AGE_MAX_MS = 5 * MINUTE;

export function health({ state, store, clock }: HealthOptions): Hono {
  const app = new Hono();
  app.get('/healthz', () => {
    const headers = { 'Content-Type': 'text/plain; charset=utf-8', 'Cache-Control': 'no-store' };
    return new Response('ok\n', { headers });
  });
  app.get('/readyz', async () => {
    const current = state();
    const reasons = [...unreadiness(current), ...(await storeFailure(store))];
    const warnings = warningsOf(current, clock.now());
    if (reasons.length === 0) {
      return Response.json({ status: 'ready', warnings }, { headers: { 'Cache-Control': 'no-store' } });
    }
    return problem('not-ready', {
      detail: reasons.join('; '),
      next: 'GET /api/status says more',
      extensions: { reasons, warnings },
    });
  });
  return app;
}

const HELD_BY: Readonly<Record<HeldBy, string>> = {
  repository: 'the repository cannot be reached or read',
  record: 'the branch outcomes cannot be followed or written',
  clock: 'the clock jumped and is doubted for ten minutes',
  trust: 'TUF metadata cannot be signed',
};

function unreadiness({ wanted, published }: ReconcilerState): readonly string[] {
  const reasons: string[] = [];
  if (published === undefined && wanted?.desired === undefined) {
    reasons.push('the repository has no valid snapshot yet');
  }
  if (published === undefined) reasons.push('no program has been published yet');
  return reasons;
}

async function storeFailure(store: HealthOptions['store']): Promise<readonly string[]> {
  try {
    await store.epoch();
    return [];
  } catch {
    // What it says may name paths and addresses, and this answer is public: whoever uses the store reports it.
    return ['the store cannot be read'];
  }
}

function warningsOf(
  { wanted, error, heldBy, passedAt, tuf }: ReconcilerState,
  now: Instant,
): readonly string[] {
  const warnings: string[] = [];
  if (wanted?.desired !== undefined && wanted.desired.commit !== wanted.head) {
    warnings.push('the newest commit is broken; the last good snapshot stays in force');
  }
  if (heldBy !== undefined) warnings.push(`nothing opens: ${HELD_BY[heldBy]}`);
  for (const { role, expiresAt } of tuf === undefined ? [] : expiring(tuf, now)) {
    const left = expiresAt - now;
    warnings.push(
      left > 0
        ? `the metadata of ${role} expires in ${formatDuration(Math.floor(left / HOUR) * HOUR)}, after which devices install nothing`
        : `the metadata of ${role} has expired: devices install nothing`,
    );
  }
  if (error !== undefined) warnings.push('the last pass failed and is tried again');
  if (passedAt !== undefined && now - passedAt > PASS_AGE_MAX_MS) {
    warnings.push(`nothing opens: the last pass went through ${formatDuration(now - passedAt)} ago`);
  }
  return warnings;
}
