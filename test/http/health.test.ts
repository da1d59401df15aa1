import { beforeEach, expect, test } from 'vitest';
import { MINUTE } from '../../src/core/model/time.ts';
import { health } from '../../src/http/health.ts';
import { StoreError } from '../../src/store/errors.ts';
import { createFleet, type Fleet, oid, rolloutOf } from './fleet.ts';

let fleet: Fleet;

beforeEach(async () => {
  fleet = createFleet();
  fleet.commit('a', [rolloutOf('firmware')]);
  await fleet.settle();
});

async function ready(over: Partial<Parameters<typeof health>[0]> = {}): Promise<Record<string, unknown>> {
  const response = await health({ ...fleet, ...over }).request('/readyz');
  const body = (await response.json()) as Record<string, unknown>;
  expect(body['status']).toBe(response.status === 200 ? 'ready' : 503);
  return body;
}

test('the process is healthy whatever the repository is like', async () => {
  const response = await health(createFleet()).request('/healthz');
  expect(response.status).toBe(200);
  expect(await response.text()).toBe('ok\n');
});

test('a server that follows the repository is ready', async () => {
  expect(await ready()).toEqual({ status: 'ready', warnings: [] });
});

test('a server that has just started lists everything that it waits for', async () => {
  expect(await ready(createFleet())).toMatchObject({
    title: 'Tidegate is not ready',
    reasons: ['the repository has no valid snapshot yet', 'no program has been published yet'],
    warnings: [],
  });
});

test('a pass may be five minutes old, and no older', async () => {
  fleet.advance(5 * MINUTE);
  expect(await ready()).toEqual({ status: 'ready', warnings: [] });
  fleet.advance(1);
  expect(await ready()).toEqual({
    status: 'ready',
    warnings: ['nothing opens: the last pass went through 5m1ms ago'],
  });
});

test('a hold is a warning: devices are served while nothing opens', async () => {
  fleet.set({ held: 'the branch outcomes no longer contains /secret', heldBy: 'record' });
  const body = await ready();
  expect(body).toEqual({
    status: 'ready',
    warnings: ['nothing opens: the branch outcomes cannot be followed or written'],
  });
  expect(JSON.stringify(body)).not.toContain('secret');
});

test('a store that cannot be read is a reason, and its error is not shown', async () => {
  const epoch = async (): Promise<string> => {
    throw new StoreError('store-io', '/secret/tidegate.db: disk I/O error');
  };
  const body = await ready({ store: { epoch } });
  expect(body).toMatchObject({ reasons: ['the store cannot be read'] });
  expect(JSON.stringify(body)).not.toContain('secret');
});

test('a broken commit and a failed pass are warnings: what is in force is still served', async () => {
  const { wanted } = fleet.state();
  if (wanted === undefined) throw new Error('nothing is wanted');
  fleet.set({ wanted: { ...wanted, head: oid('b') as never }, error: 'git is away' });
  expect(await ready()).toEqual({
    status: 'ready',
    warnings: [
      'the newest commit is broken; the last good snapshot stays in force',
      'the last pass failed and is tried again',
    ],
  });
});
