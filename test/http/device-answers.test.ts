/** What is remembered between polls must never show: an answer is the one that a server with no memory would give. */
import fc from 'fast-check';
import { decodeJwt } from 'jose';
import { beforeEach, expect, test } from 'vitest';
import type { DeviceRecord } from '../../src/core/model/device.ts';
import type { DeviceId } from '../../src/core/model/ids.ts';
import type { Program } from '../../src/core/model/program.ts';
import { HOUR, type Instant, MINUTE, SECOND } from '../../src/core/model/time.ts';
import {
  type Answer,
  type AssignedRevision,
  createDeviceAnswers,
  type DeviceAnswers,
  type DeviceAnswersOptions,
} from '../../src/http/device-answers.ts';
import { createIntake } from '../../src/store/intake.ts';
import { createMemoryStore } from '../../src/store/memory.ts';
import type { Follow, PublishedProgram, Store } from '../../src/store/store.ts';
import { renewalSlot } from '../../src/trust/assignment.ts';
import { signDeviceToken } from '../../src/trust/device-token.ts';
import { generateKeys } from '../../src/trust/keys.ts';
import { generateDeviceKey } from '../../src/trust/signing-key.ts';
import { rolled } from './assigned.ts';

const NOW: Instant = Date.UTC(2026, 0, 1);
const FLEET = 'hvac';
const IDS = ['lobby-1', 'lobby-2', 'roof'] as DeviceId[];
const [LOBBY] = IDS as [DeviceId];
const keys = await generateKeys();
const deviceKeys = [generateDeviceKey(), generateDeviceKey()] as const;

let now: Instant;
let store: Store;
let reads: number;
let assigned: number;
let published: PublishedProgram;
let answers: DeviceAnswers;
const clock = { now: () => now };

/** As pure as the real one: a device keeps 2.7.0 once it runs it, and at four in the morning nobody gets anything. */
function assignFor(_program: Program, device: DeviceRecord, at: Instant): AssignedRevision {
  assigned += 1;
  const hour = Math.floor(at / HOUR) % 24;
  const until = (Math.floor(at / HOUR) + 1) * HOUR;
  if (hour === 4) return { kind: 'nothing', until };
  const attempt = device.report?.running === undefined ? 1 : 2;
  return { ...rolled, revision: { ...rolled.revision, attempt }, until };
}

function publish(version: number, revoked: readonly DeviceId[] = []): PublishedProgram {
  const override = { tags: {}, retired: false, revoked: true };
  return {
    version,
    flagsVersion: 0,
    program: {
      fleet: FLEET,
      rollouts: [],
      devices: Object.fromEntries(revoked.map((id) => [id, override])),
      pollIntervalMs: MINUTE,
      timezone: 'UTC',
      sites: {},
      flags: [],
      knownRevisions: [],
      knownProducts: [],
    },
  };
}

/** Answers over the store, with a memory of their own. */
function replica(over: Partial<DeviceAnswersOptions> = {}): DeviceAnswers {
  return createDeviceAnswers({
    fleet: () => ({ name: FLEET }),
    store: {
      follow: store.follow,
      device: (id) => {
        reads += 1;
        return store.device(id);
      },
    },
    intake: createIntake(store),
    keys,
    clock,
    program: () => published,
    assign: assignFor,
    onFault: (error) => {
      throw error;
    },
    ...over,
  });
}

beforeEach(async () => {
  now = NOW;
  store = createMemoryStore({ epoch: 'e1' });
  reads = 0;
  assigned = 0;
  published = publish(5);
  await store.updateDevices(IDS, (_before, index) => record(IDS[index] as DeviceId));
  answers = replica();
  // The first request of all begins to follow the store.
  await poll('');
});

function record(id: DeviceId, key: 0 | 1 = 0): DeviceRecord {
  const { publicKey } = deviceKeys[key];
  return { id, tags: {}, publicKey, serial: 1, enrolledAt: NOW, version: NOW / SECOND };
}

async function change(id: DeviceId, update: (before: DeviceRecord) => DeviceRecord): Promise<void> {
  await store.updateDevices([id], (before) => before && update(before));
}

async function bearer(id: DeviceId, at: Instant = now, key: 0 | 1 = 0): Promise<string> {
  const { private: privateKey } = deviceKeys[key];
  return `Bearer ${await signDeviceToken({ id, fleet: FLEET, privateKey, now: at, lifetimeMs: 5 * MINUTE })}`;
}

interface Shown {
  readonly status: number;
  readonly etag: string | undefined;
  readonly body: string;
}

async function poll(
  authorization: string,
  { id = LOBBY, ifNoneMatch, of = answers }: { id?: string; ifNoneMatch?: string; of?: DeviceAnswers } = {},
): Promise<Shown> {
  const answer = await of.poll({ id, authorization, ifNoneMatch });
  if (answer instanceof Response) {
    return { status: answer.status, etag: undefined, body: await answer.text() };
  }
  return { status: answer.status, etag: header(answer, 'ETag'), body: answer.body ?? '' };
}

function header({ headers }: Answer, name: string): string | undefined {
  const at = headers.indexOf(name);
  return at === -1 ? undefined : headers[at + 1];
}

async function report(authorization: string, seq: number, id: string = LOBBY): Promise<number> {
  const body = { bootId: 'boot-1', seq, generation: 1, running: rolled.revision.revision };
  const answer = await answers.report({ id, authorization, read: async () => ({ kind: 'ok', body }) });
  return answer.status;
}

// What is remembered

test('a poll that is repeated asks neither the store nor the program, whether it is answered 200 or 304', async () => {
  const token = await bearer(LOBBY);
  const first = await poll(token);
  expect([reads, assigned]).toEqual([1, 1]);
  expect(await poll(token)).toEqual(first);
  expect(await poll(token, { ifNoneMatch: String(first.etag) })).toMatchObject({ status: 304, body: '' });
  expect([reads, assigned]).toEqual([1, 1]);
});

test('a device that was answered 304 gets its assignment in full when it asks for that', async () => {
  const etag = String((await poll(await bearer(LOBBY))).etag);
  now += MINUTE;
  const token = await bearer(LOBBY);
  expect(await poll(token, { ifNoneMatch: etag })).toMatchObject({ status: 304 });
  const read = reads;
  expect(await poll(token, { ifNoneMatch: etag })).toMatchObject({ status: 304 });
  expect(reads).toBe(read);
  expect(await poll(token)).toMatchObject({ status: 200, etag, body: expect.stringMatching(/\./) });
});

test('a report looks the device up once, however many follow', async () => {
  const token = await bearer(LOBBY);
  for (let seq = 1; seq <= 5; seq++) expect(await report(token, seq)).toBe(202);
  expect(reads).toBe(1);
});

// What is forgotten

test('a report that changes the assignment shows in the next poll, and only in that device’s', async () => {
  const [token, other] = [await bearer(LOBBY), await bearer(IDS[1] as DeviceId)];
  const before = await poll(token);
  await poll(other, { id: IDS[1] as DeviceId });
  expect(decodeJwt(before.body)).toMatchObject({ attempt: 1 });
  await report(token, 1);
  const after = await poll(token, { ifNoneMatch: String(before.etag) });
  expect(decodeJwt(after.body)).toMatchObject({ attempt: 2 });
  const read = reads;
  await poll(other, { id: IDS[1] as DeviceId });
  expect(reads).toBe(read);
});

test('a change is seen through every token of the device, not only the one that it used last', async () => {
  const [first, second] = [await bearer(LOBBY), await bearer(LOBBY, now + SECOND)];
  for (const token of [first, second]) await poll(token);
  await report(second, 1);
  for (const token of [first, second]) {
    expect(decodeJwt((await poll(token)).body)).toMatchObject({ attempt: 2 });
  }
});

test('another program takes effect at the next poll, and a revocation at the next use of a known token', async () => {
  const token = await bearer(LOBBY);
  const before = await poll(token);
  published = publish(NOW / SECOND + 7);
  const after = await poll(token);
  expect(after.etag).toBe(before.etag);
  expect(decodeJwt(after.body)).toMatchObject({ generation: NOW / SECOND + 7 });
  published = publish(NOW / SECOND + 8, [LOBBY]);
  expect(await poll(token)).toMatchObject({ status: 403, body: expect.stringContaining('revoked') });
  expect(await report(token, 1)).toBe(403);
});

test('a known token is refused once it has expired, for polls and reports', async () => {
  const token = await bearer(LOBBY);
  await report(token, 1);
  await poll(token);
  now += 6 * MINUTE - 1;
  expect(await poll(token)).toMatchObject({ status: 200 });
  expect(await report(token, 2)).toBe(202);
  await poll(token);
  now += 1;
  expect(await poll(token)).toMatchObject({ status: 401 });
  expect(await report(token, 3)).toBe(401);
});

test('an assignment is signed anew when its renewal slot begins, also within the life of a token', async () => {
  now = renewalSlot(LOBBY, NOW) + 12 * HOUR - MINUTE;
  const token = await bearer(LOBBY);
  const { etag, body } = await poll(token);
  now += MINUTE;
  const renewed = await poll(token, { ifNoneMatch: String(etag) });
  expect(renewed.status).toBe(200);
  expect(Number(decodeJwt(renewed.body).iat)).toBe(Number(decodeJwt(body).iat) + (12 * HOUR) / SECOND);
});

test('an assignment that time alone ends is not served past that instant', async () => {
  now = NOW + 4 * HOUR - SECOND;
  const token = await bearer(LOBBY);
  expect(decodeJwt((await poll(token)).body)).toMatchObject({ attempt: 1 });
  now += SECOND;
  expect(decodeJwt((await poll(token)).body)).toMatchObject({ attempt: null });
});

test('a clock that was set back makes no answer older than it is', async () => {
  now = NOW + 4 * HOUR;
  const token = await bearer(LOBBY, now - MINUTE);
  expect(decodeJwt((await poll(token)).body)).toMatchObject({ attempt: null });
  now -= MINUTE;
  expect(decodeJwt((await poll(token)).body)).toMatchObject({ attempt: 1 });
});

test('a device that has another key now is known by that one alone', async () => {
  const token = await bearer(LOBBY);
  await poll(token);
  await report(token, 1);
  await change(LOBBY, (before) => ({ ...before, publicKey: deviceKeys[1].publicKey }));
  expect(await report(token, 2)).toBe(401);
  expect(await poll(token)).toMatchObject({ status: 401 });
  expect(await poll(await bearer(LOBBY, now, 1))).toMatchObject({ status: 200 });
});

test('a device that is gone is unknown', async () => {
  const token = await bearer(LOBBY);
  await poll(token);
  await report(token, 1);
  await store.updateDevices([LOBBY], () => undefined);
  expect(await poll(token)).toMatchObject({ status: 401 });
  expect(await report(token, 2)).toBe(401);
});

test('a known token opens no other device’s path', async () => {
  const token = await bearer(LOBBY);
  await poll(token);
  expect(await poll(token, { id: IDS[1] as DeviceId })).toMatchObject({ status: 403 });
  expect(await report(token, 1, IDS[1])).toBe(403);
});

test('a fleet that goes by another name knows none of the old tokens', async () => {
  let name = FLEET;
  answers = replica({ fleet: () => ({ name }) });
  const token = await bearer(LOBBY);
  await poll(token);
  name = 'lifts';
  published = publish(6);
  expect(await poll(token)).toMatchObject({ status: 401 });
});

// Races, and stores that tell nothing

test('a change that is committed while the record is read is not lost', async () => {
  const racing: Store['device'] = async (id) => {
    const before = await store.device(id);
    await change(id, (found) => ({ ...found, report: reportOf(2) }));
    return before;
  };
  answers = replica({ store: { follow: store.follow, device: racing } });
  await poll('');
  const token = await bearer(LOBBY);
  expect(decodeJwt((await poll(token)).body)).toMatchObject({ attempt: 1 });
  expect(decodeJwt((await poll(token)).body)).toMatchObject({ attempt: 2 });
});

test('while the store cannot be followed nothing is remembered, and it is tried again', async () => {
  let refusals = 2;
  const follow: Follow = (see, missed) =>
    refusals-- > 0 ? Promise.reject(new Error('the database is away')) : store.follow(see, missed);
  answers = replica({ store: { follow, device: counted(store) } });
  const token = await bearer(LOBBY);
  for (let round = 1; round <= 3; round++) {
    await poll(token);
    expect(reads).toBe(round);
  }
  await poll(token);
  expect(reads).toBe(4);
  await poll(token);
  expect(reads).toBe(4);
});

test('when changes were missed everything is asked again', async () => {
  let missed: () => void = () => undefined;
  const follow: Follow = (see, lost = () => undefined) => {
    missed = lost;
    return store.follow(see);
  };
  answers = replica({ store: { follow, device: counted(store) } });
  const token = await bearer(LOBBY);
  await poll(token);
  await report(token, 1);
  await poll(token);
  expect(reads).toBe(3);
  missed();
  await poll(token);
  await report(token, 2);
  expect(reads).toBe(5);
});

test('after it was closed it follows no longer, and remembers nothing', async () => {
  let followers = 0;
  const follow: Follow = async (...given) => {
    const followed = await store.follow(...given);
    followers += 1;
    return {
      async close() {
        followers -= 1;
        await followed.close();
      },
    };
  };
  answers = replica({ store: { follow, device: counted(store) } });
  await poll('');
  const token = await bearer(LOBBY);
  await poll(token);
  await poll(token);
  expect([followers, reads]).toEqual([1, 1]);
  await answers.close();
  await poll(token);
  await poll(token);
  expect([followers, reads]).toEqual([0, 3]);
});

function counted(over: Store): Store['device'] {
  return (id) => {
    reads += 1;
    return over.device(id);
  };
}

function reportOf(generation: number): NonNullable<DeviceRecord['report']> {
  const { revision } = rolled.revision;
  return { receivedAt: now, generation, running: revision, signals: {}, boots: [], exposureHours: 0 };
}

// All of it, in any order

type Step =
  | { readonly kind: 'poll'; readonly token: number; readonly path: number; readonly conditional: boolean }
  | { readonly kind: 'advance'; readonly ms: number }
  | { readonly kind: 'report' | 'rekey' | 'remove' | 'enrol'; readonly device: number }
  | { readonly kind: 'publish'; readonly revoked: readonly number[] };

test('whatever happens in whatever order, a server with a memory answers as one without', async () => {
  const device = fc.nat({ max: IDS.length - 1 });
  const step: fc.Arbitrary<Step> = fc.oneof(
    {
      weight: 16,
      arbitrary: fc.record({
        kind: fc.constant('poll' as const),
        // Mostly of the keys that devices have from the start.
        token: fc.oneof({ weight: 4, arbitrary: device }, fc.integer({ min: 3, max: 5 })),
        path: device,
        conditional: fc.boolean(),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('advance' as const),
        ms: fc.oneof(fc.integer({ min: -2 * MINUTE, max: 8 * MINUTE }), fc.constantFrom(HOUR, 12 * HOUR)),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constantFrom('report' as const, 'rekey' as const, 'remove' as const, 'enrol' as const),
        device,
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constant('publish' as const), revoked: fc.subarray([0, 1, 2]) }),
    },
  );
  const follow: Follow = () => Promise.reject(new Error('nothing is told'));
  const forgetful = replica({ store: { follow, device: (id) => store.device(id) } });
  let remembered = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 80 }), async (steps) => {
      now = NOW;
      published = publish(5);
      await store.updateDevices(IDS, (_before, index) => record(IDS[index] as DeviceId));
      let tokens = await tokensOfAll();
      let etag: string | undefined;
      for (const each of steps) {
        if (each.kind === 'advance') {
          now += each.ms;
          // A token is used for minutes, also beyond its end.
          if (Math.abs(each.ms) > 10 * MINUTE) tokens = await tokensOfAll();
        } else if (each.kind === 'publish') {
          published = publish(
            published.version + 1,
            each.revoked.map((index) => IDS[index] as DeviceId),
          );
        } else if (each.kind === 'poll') {
          const of = [
            String(tokens[each.token]),
            {
              id: String(IDS[each.path === 0 ? each.path : each.token % IDS.length]),
              ...(each.conditional && etag !== undefined ? { ifNoneMatch: etag } : {}),
            },
          ] as const;
          const read = reads;
          const shown = await poll(...of);
          if (reads === read && shown.status < 400) remembered += 1;
          expect(shown).toEqual(await poll(of[0], { ...of[1], of: forgetful }));
          etag = shown.etag ?? etag;
        } else {
          await happen(each.kind, IDS[each.device] as DeviceId);
        }
      }
    }),
    { numRuns: 300 },
  );
  expect(remembered).toBeGreaterThan(200);
});

/** Of each device one for its first key and one for its second. */
async function tokensOfAll(): Promise<string[]> {
  const both = ([0, 1] as const).flatMap((key) => IDS.map((id) => bearer(id, now, key)));
  return await Promise.all(both);
}

async function happen(what: 'report' | 'rekey' | 'remove' | 'enrol', id: DeviceId): Promise<void> {
  await store.updateDevices([id], (before) => {
    if (what === 'remove') return undefined;
    if (what === 'enrol') return before ?? record(id);
    if (before === undefined) return undefined;
    if (what === 'rekey') {
      const other = before.publicKey === deviceKeys[0].publicKey ? 1 : 0;
      return { ...before, publicKey: deviceKeys[other].publicKey, version: before.version + 1 };
    }
    return before.report === undefined
      ? { ...before, report: reportOf(1) }
      : {
          id,
          tags: {},
          publicKey: before.publicKey,
          serial: 2,
          enrolledAt: NOW,
          version: before.version + 1,
        };
  });
}
