import fc from 'fast-check';
import type { Hono } from 'hono';
import { beforeEach, expect, test } from 'vitest';
import type { DeviceId } from '../../src/core/model/ids.ts';
import { HOUR } from '../../src/core/model/time.ts';
import { operatorApi, SCANNED_MAX } from '../../src/http/operator-api.ts';
import { createFleet, type Fleet, oid, rolloutOf, stageOf } from './fleet.ts';

let fleet: Fleet;
let api: Hono;

beforeEach(() => {
  fleet = createFleet();
  api = operatorApi(fleet);
});

async function get(path: string): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await api.request(path);
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

/** The names, ids or states that a list answers with. */
async function column(path: string, list: string, member: string): Promise<readonly unknown[]> {
  const { body } = await get(path);
  return (body[list] as Record<string, unknown>[]).map((each) => each[member]);
}

const firmware = rolloutOf('firmware', { labels: { team: 'hvac', ring: '1=2' } });
const healthy = { running: firmware.revision, signals: { runtime_healthy: true } };

async function inCanary(): Promise<string[]> {
  const { body } = await get('/api/devices?rollout=firmware');
  return (body['devices'] as { id: string; progress?: { stage: string } }[])
    .filter(({ progress }) => progress?.stage === 'canary')
    .map(({ id }) => id);
}

// Status

test('before the repository was read the status has the same shape and says so', async () => {
  expect(await get('/api/status')).toEqual({
    status: 200,
    body: {
      fleet: null,
      snapshot: null,
      commit: null,
      head: null,
      headInForce: false,
      problems: [],
      outcomesTip: null,
      programVersion: null,
      passedAt: null,
      trust: null,
      devices: {
        total: 0,
        status: { unknown: 0, registered: 0, pending: 0, inSync: 0, error: 0, drifted: 0 },
        versions: [],
      },
      rollouts: [],
    },
  });
});

test('the status says what is in force, how far each rollout is, and when, as ISO 8601', async () => {
  for (const id of ['d1', 'd2', 'd3']) await fleet.enrol(id);
  fleet.commit('a', [firmware]);
  await fleet.settle();
  const { body } = await get('/api/status');
  expect(body).toMatchObject({
    fleet: 'hvac',
    snapshot: oid('a'),
    commit: oid('a'),
    head: oid('a'),
    headInForce: true,
    outcomesTip: oid('f'),
    programVersion: expect.any(Number),
    passedAt: '2026-11-21T08:00:00Z',
    devices: { total: 3, status: { unknown: 3 } },
    rollouts: [
      {
        name: 'firmware',
        state: 'running',
        attempt: 1,
        revision: firmware.revision,
        stages: [
          {
            name: 'canary',
            state: 'running',
            size: '2 devices',
            devices: 2,
            openedAt: '2026-11-21T08:00:00Z',
          },
          { name: 'fleet', state: 'scheduled', size: 'all' },
        ],
      },
    ],
  });
});

test('a broken head, a hold and a failed pass are shown while the last good snapshot stays in force', async () => {
  fleet.commit('a', [firmware]);
  await fleet.settle();
  const problem = {
    file: 'fleet/fleet.yaml',
    line: 1,
    column: 2,
    rule: 'schema',
    severity: 'error',
    message: 'no',
  } as const;
  const wanted = fleet.state().wanted;
  if (wanted === undefined) throw new Error('nothing is wanted');
  fleet.set({
    wanted: { ...wanted, head: oid('b') as never, problems: [problem] },
    held: 'outcomes was rewound',
    error: 'git is away',
  });
  expect((await get('/api/status')).body).toMatchObject({
    commit: oid('a'),
    head: oid('b'),
    headInForce: false,
    problems: [problem],
    held: 'outcomes was rewound',
    error: 'git is away',
  });
});

test('an instant that the calendar cannot name is left out', async () => {
  fleet.commit('a', [firmware]);
  await fleet.settle();
  const report = fleet.state().report.map((each) => ({ ...each, until: 9e15 }));
  fleet.set({ report });
  const { status, body } = await get('/api/rollouts/firmware');
  expect(status).toBe(200);
  expect(body).not.toHaveProperty('until');
});

// Rollouts

test('S3.32 rollouts are listed by label, and of several labels all must match', async () => {
  const kiosk = rolloutOf('kiosk', { labels: { team: 'hvac' } });
  const lift = rolloutOf('lift', { labels: { team: 'lifts', ring: '1=2' } });
  fleet.commit('a', [lift, kiosk, firmware]);
  const names = (query: string) => column(`/api/rollouts${query}`, 'rollouts', 'name');
  expect(await names('')).toEqual(['firmware', 'kiosk', 'lift']);
  expect(await names('?label=team=hvac')).toEqual(['firmware', 'kiosk']);
  expect(await names('?label=team=hvac&label=ring=1=2')).toEqual(['firmware']);
  expect(await names('?label=team=hvac&label=team=lifts')).toEqual([]);
  expect(await names('?label=team=hva')).toEqual([]);
  expect(await names('?label=toString=')).toEqual([]);
});

test('rollouts are listed by state', async () => {
  await fleet.enrol('d1');
  fleet.commit('a', [firmware, rolloutOf('later', { start: { kind: 'manual' } })]);
  await fleet.settle();
  expect(await column('/api/rollouts?state=running', 'rollouts', 'name')).toEqual(['firmware']);
  expect(await column('/api/rollouts?state=unknown', 'rollouts', 'name')).toEqual([]);
});

test('S1.1 a committed rollout that is not to start yet is ready, with the stages that it declares', async () => {
  fleet.commit('a', [rolloutOf('firmware', { start: { kind: 'manual' } })]);
  await fleet.settle();
  const { body } = await get('/api/rollouts/firmware');
  expect(body).toMatchObject({ state: 'ready', attempt: 1 });
  expect(body['stages']).toHaveLength(2);

  const three = [
    ...firmware.stages.slice(0, 1),
    stageOf('batch', { kind: 'count', count: 5 }),
    ...firmware.stages.slice(1),
  ];
  fleet.commit('b', [rolloutOf('firmware', { start: { kind: 'manual' }, stages: three })]);
  await fleet.settle();
  expect((await get('/api/rollouts/firmware')).body['stages']).toHaveLength(3);
});

test('a rollout shows every attempt, and never the seed that selects its canary', async () => {
  for (const id of ['d1', 'd2']) await fleet.enrol(id);
  fleet.commit('a', [firmware]);
  await fleet.settle();
  fleet.commit('b', [rolloutOf('firmware', { version: '2.7.0' })]);
  await fleet.settle();
  const response = await api.request('/api/rollouts/firmware');
  const text = await response.text();
  expect(JSON.parse(text)).toMatchObject({
    attempts: [
      { attempt: 1, state: 'superseded', snapshot: oid('a'), createdAt: '2026-11-21T08:00:00Z' },
      { attempt: 2, state: 'running', snapshot: oid('b'), manifest: { version: '2.7.0' } },
    ],
  });
  expect(text).not.toContain('seed');
});

test('a rollout that the snapshot does not have is not found', async () => {
  fleet.commit('a', [firmware]);
  expect(await get('/api/rollouts/nope')).toMatchObject({
    status: 404,
    body: { detail: 'the snapshot in force has no rollout "nope"' },
  });
});

// Devices

test('S2.16 S3.6 how the update goes is shown for each selected device, as it reports', async () => {
  for (const id of ['d1', 'd2', 'd3', 'd4']) await fleet.enrol(id);
  fleet.commit('a', [firmware]);
  await fleet.settle();
  const [first, second] = await inCanary();
  const of = async (id: string | undefined) =>
    ((await get('/api/devices?rollout=firmware')).body['devices'] as { id: string }[]).find(
      (each) => each.id === id,
    );
  expect(await of(first)).toMatchObject({ status: 'unknown', progress: { state: 'pending' } });

  await fleet.report(String(first), { attempt: { revision: firmware.revision, state: 'downloading' } });
  await fleet.report(String(second), {
    attempt: { revision: firmware.revision, state: 'failed', category: 'install.disk-full' },
  });
  expect(await of(first)).toMatchObject({
    status: 'pending',
    progress: { stage: 'canary', state: 'installing' },
  });
  expect(await of(second)).toMatchObject({
    status: 'error',
    reportedAt: '2026-11-21T08:00:00Z',
    progress: { state: 'failed', category: 'install.disk-full' },
    assignment: { rollout: 'firmware', attempt: 1, distributionSet: 'thermostat@2.6.0' },
  });

  await fleet.report(String(first), healthy);
  expect(await of(first)).toMatchObject({
    status: 'inSync',
    running: firmware.revision,
    progress: { state: 'succeeded' },
  });
});

test('devices come in pages that together show each of them once, whatever the page size', async () => {
  const ids = Array.from({ length: 23 }, (_, n) => `d${String(n).padStart(2, '0')}`);
  for (const id of ids)
    await fleet.enrol(id, { product: Number(id.slice(1)) % 3 === 0 ? 'thermostat' : 'kiosk' });
  fleet.commit('a', [firmware]);
  await fleet.settle();
  const every3rd = ids.filter((id) => Number(id.slice(1)) % 3 === 0);
  for (const [filter, expected] of [
    ['', ids],
    ['&rollout=firmware', every3rd],
  ] as const) {
    for (const limit of [1, 4, 23, 100]) {
      const seen: string[] = [];
      let after = '';
      do {
        const { body } = await get(`/api/devices?limit=${limit}${filter}${after}`);
        const devices = body['devices'] as { id: string }[];
        expect(devices.length).toBeLessThanOrEqual(limit);
        seen.push(...devices.map(({ id }) => id));
        after = body['next'] === undefined ? '' : `&after=${body['next']}`;
      } while (after !== '');
      expect(seen).toEqual(expected);
    }
  }
});

test('devices are listed by status', async () => {
  for (const id of ['d1', 'd2', 'd3']) await fleet.enrol(id);
  fleet.commit('a', [firmware]);
  await fleet.settle();
  const [first] = await inCanary();
  await fleet.report(String(first), healthy);
  expect(await column('/api/devices?status=inSync', 'devices', 'id')).toEqual([first]);
  expect(await column('/api/devices?status=unknown', 'devices', 'id')).toHaveLength(2);
  expect(await column('/api/devices?status=inSync&rollout=firmware', 'devices', 'id')).toEqual([first]);
});

test('one request looks at a bounded number of devices and says where to go on', async () => {
  const ids = Array.from({ length: SCANNED_MAX + 2 }, (_, n) => `d${String(n).padStart(6, '0')}` as DeviceId);
  const record = { tags: {}, publicKey: 'k', serial: 1, enrolledAt: 0, version: 1 };
  await fleet.store.updateDevices(ids, (_before, index) => ({ ...record, id: ids[index] as DeviceId }));
  await fleet.store.updateDevices(['z' as DeviceId], () => ({
    ...record,
    id: 'z' as DeviceId,
    tags: { product: 'thermostat' },
  }));
  fleet.commit('a', [firmware]);
  await fleet.settle();
  const first = await get('/api/devices?rollout=firmware');
  expect(first.body).toEqual({ devices: [], next: ids[SCANNED_MAX - 1] });
  const second = await get(`/api/devices?rollout=firmware&after=${ids[SCANNED_MAX - 1]}`);
  expect(second.body).toMatchObject({ devices: [{ id: 'z' }] });
  expect(second.body).not.toHaveProperty('next');
});

test('a device shows its effective tags, its last report and why it has what it has, but no key', async () => {
  await fleet.enrol('d1', { product: 'thermostat', floor: '3' });
  fleet.commit('a', [firmware], {
    d1: { tags: { floor: null, site: 'hq' }, retired: false, revoked: false },
  });
  await fleet.settle();
  fleet.advance(HOUR);
  // A signal may have any name: these would be instants in the model.
  await fleet.report('d1', {
    running: firmware.revision,
    signals: { runtime_healthy: true, at: 5, startedAt: 7 },
  });
  const response = await api.request('/api/devices/d1');
  const text = await response.text();
  expect(JSON.parse(text)).toEqual({
    id: 'd1',
    tags: { product: 'thermostat', site: 'hq' },
    enrolledAt: '2026-11-21T08:00:00Z',
    status: 'inSync',
    revertible: false,
    report: {
      receivedAt: '2026-11-21T09:00:00Z',
      bootId: 'boot-1',
      generation: 1,
      running: firmware.revision,
      signals: { runtime_healthy: true, at: 5, startedAt: 7 },
      exposureHours: 0,
    },
    assignment: {
      rollout: 'firmware',
      attempt: 1,
      revision: firmware.revision,
      distributionSet: 'thermostat@2.6.0',
    },
    explanation: {
      summary: 'gets thermostat@2.6.0 from firmware, attempt 1',
      rollouts: [
        {
          rollout: 'firmware',
          reason: 'stage canary of attempt 1 contains it: it runs the revision and every gate holds',
        },
      ],
    },
  });
  expect(text).not.toContain('key-of-d1');
  expect(await (await api.request('/api/devices')).text()).not.toContain('key-of-d1');
});

test('a device that no rollout matches has no assignment, and a retired or revoked one says so', async () => {
  const override = { tags: {}, retired: false, revoked: false };
  for (const id of ['plain', 'old', 'bad']) await fleet.enrol(id, { product: 'kiosk' });
  fleet.commit('a', [firmware], { old: { ...override, retired: true }, bad: { ...override, revoked: true } });
  await fleet.settle();
  const summary = async (id: string) => {
    const { body } = await get(`/api/devices/${id}`);
    expect(body['assignment']).toBeNull();
    return (body['explanation'] as { summary: string }).summary;
  };
  expect(await summary('plain')).toBe('gets nothing and keeps what it runs: no rollout matches it');
  expect(await summary('old')).toBe(
    "gets nothing and keeps what it runs: it is retired in the fleet's repository",
  );
  expect(await summary('bad')).toBe("is revoked in the fleet's repository: whatever it asks for is refused");
});

test('devices that are not there are not found, and before the first program nothing is known of any', async () => {
  await fleet.enrol('d1');
  expect(await get('/api/devices/d1')).toMatchObject({ status: 503 });
  expect(await get('/api/devices')).toMatchObject({ status: 503 });
  fleet.commit('a', []);
  await fleet.settle();
  expect(await get('/api/devices/d1')).toMatchObject({ status: 200 });
  for (const id of ['d2', '%00', '%E0%A4%A', '__proto__', 'x'.repeat(200)]) {
    expect(await get(`/api/devices/${id}`)).toMatchObject({ status: 404 });
  }
});

// Snapshots

test('snapshots come newest first, with what came of each and which one devices go back to', async () => {
  await fleet.enrol('d1');
  const quick = { stages: [stageOf('fleet', { kind: 'all' }, { soakMs: 0 })] };
  const first = rolloutOf('firmware', quick);
  fleet.commit('a', [first]);
  await fleet.settle();
  await fleet.report('d1', { running: first.revision, signals: { runtime_healthy: true } });
  await fleet.settle();
  fleet.advance(HOUR);
  fleet.commit('b', [rolloutOf('firmware', { ...quick, version: '2.7.0' })]);
  await fleet.settle();
  expect(await get('/api/snapshots')).toMatchObject({
    status: 200,
    body: {
      snapshots: [
        {
          snapshot: oid('b'),
          createdAt: '2026-11-21T09:00:00Z',
          inForce: true,
          rollouts: [{ rollout: 'firmware', attempt: 2, state: 'running', knownGood: false }],
        },
        {
          snapshot: oid('a'),
          commit: oid('a'),
          inForce: false,
          rollouts: [{ rollout: 'firmware', attempt: 1, state: 'succeeded', knownGood: true }],
        },
      ],
    },
  });
});

// Queries

test('a parameter that is unknown, repeated or of no use is named, with what was expected', async () => {
  fleet.commit('a', [firmware]);
  await fleet.settle();
  const detail = async (path: string) => {
    const { status, body } = await get(path);
    expect(status).toBe(400);
    return body['detail'];
  };
  expect(await detail('/api/devices?limit=0')).toBe(
    '?limit: expected a whole number from 1 to 1000, found "0"',
  );
  expect(await detail('/api/devices?limit=1001')).toContain('found "1001"');
  expect(await detail('/api/devices?limit=5&limit=6')).toBe(
    '?limit: expected a whole number from 1 to 1000, found it twice',
  );
  expect(await detail('/api/devices?rollout=nope')).toBe(
    '?rollout: expected the name of a rollout in force, found "nope"',
  );
  expect(await detail('/api/devices?status=fine')).toContain('expected one of unknown, registered, pending');
  expect(await detail('/api/rollouts?labels=a=b')).toBe(
    '?labels: expected no parameters but label, state, found another one',
  );
  expect(await detail('/api/rollouts?label=team')).toContain('expected key=value');
});

test('whatever stands in a path or a query, the answer is never a 500', async () => {
  await fleet.enrol('d1');
  fleet.commit('a', [firmware]);
  await fleet.settle();
  const name = fc.oneof(
    fc.constantFrom('label', 'state', 'after', 'limit', 'status', 'rollout'),
    fc.string(),
  );
  const value = fc.oneof(
    fc.constantFrom('d1', '1', 'running', 'inSync', 'firmware', 'a=b'),
    fc.string({ unit: 'binary' }),
  );
  const path = fc.oneof(
    fc.constantFrom('/api/rollouts', '/api/devices'),
    value.map((text) => `/api/devices/${encodeURIComponent(text.toWellFormed())}`),
    fc.string().map((text) => `/api/rollouts/${text.replace(/[?#]/g, '')}`),
  );
  await fc.assert(
    fc.asyncProperty(path, fc.array(fc.tuple(name, value), { maxLength: 4 }), async (at, pairs) => {
      const query = new URLSearchParams(pairs.map(([key, text]) => [key, text] as [string, string]));
      const { status } = await api.request(`http://localhost${at}?${query}`);
      expect([200, 400, 404]).toContain(status);
    }),
    { numRuns: 300 },
  );
});
