/** What every store engine promises: the comments of the port, as tests. */
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { DeviceRecord } from '../../src/core/model/device.ts';
import type { DeviceId } from '../../src/core/model/ids.ts';
import type { Program } from '../../src/core/model/program.ts';
import type { DeviceChange, PublishedProgram, Store } from '../../src/store/store.ts';

export interface Engine {
  /** A new, empty store. */
  create(): Promise<Store>;
  /** Closes the store and opens it again; absent where nothing survives. */
  reopen?(store: Store): Promise<Store>;
}

export function storeContract(engine: Engine): void {
  let store: Store;
  beforeEach(async () => {
    store = await engine.create();
  });
  afterEach(async () => {
    await store.close();
  });

  describe('devices', () => {
    test('a device reads back as it was written, with and without a report', async () => {
      await put(store, bare, reporting);
      expect(await store.device(bare.id)).toEqual(bare);
      expect(await store.device(reporting.id)).toEqual(reporting);
      expect(await store.device('nobody' as DeviceId)).toBeUndefined();
      expect(await store.deviceCount()).toBe(2);
    });

    test('a change tells what was before and after, and what did not change is not told', async () => {
      const created = await store.updateDevices([bare.id], () => bare);
      expect(created).toEqual([{ before: undefined, after: bare }]);
      expect(await store.updateDevices([bare.id], (before) => before)).toEqual([]);
      expect(await store.updateDevices(['nobody' as DeviceId], (before) => before)).toEqual([]);

      const moved = { ...bare, tags: { site: 'harbour' } };
      expect(await store.updateDevices([bare.id], () => moved)).toEqual([{ before: bare, after: moved }]);
      expect(await store.updateDevices([bare.id], () => undefined)).toEqual([
        { before: moved, after: undefined },
      ]);
      expect(await store.device(bare.id)).toBeUndefined();
      expect(await store.deviceCount()).toBe(0);
    });

    test('a report that was taken away is gone', async () => {
      await put(store, reporting);
      const { report: _, ...silent } = reporting;
      await put(store, silent);
      expect(await store.device(reporting.id)).toEqual(silent);
    });

    test('update is asked once per entry, in order, and no ids are no work', async () => {
      const ids = ['c', 'a', 'b', 'a'] as DeviceId[];
      const asked: number[] = [];
      await store.updateDevices(ids, (before, index) => {
        asked.push(index);
        return before;
      });
      expect(asked).toEqual([0, 1, 2, 3]);
      expect(await store.updateDevices([], () => expect.unreachable())).toEqual([]);
    });

    test('where an id occurs twice, the second update sees the result of the first', async () => {
      const id = 'twice' as DeviceId;
      const changes = await store.updateDevices([id, id, id], (before, index) =>
        index === 2 ? undefined : { ...(before ?? device(id)), serial: (before?.serial ?? 0) + 1 },
      );
      expect(changes.map(({ before, after }) => [before?.serial, after?.serial])).toEqual([
        [undefined, 1],
        [1, 2],
        [2, undefined],
      ]);
      expect(await store.device(id)).toBeUndefined();
    });

    test('an update that throws midway leaves everything as it was', async () => {
      await put(store, device('kept', 1), device('gone', 1));
      const failed = store.updateDevices(['new', 'kept', 'gone', 'last'] as DeviceId[], (before, index) => {
        if (index === 3) throw new RangeError('midway');
        return index === 2 ? undefined : device(index === 0 ? 'new' : 'kept', (before?.serial ?? 0) + 1);
      });
      await expect(failed).rejects.toThrow(new RangeError('midway'));
      expect(await store.devices({ limit: 10 })).toEqual([device('gone', 1), device('kept', 1)]);

      await put(store, device('kept', 2));
      expect(await store.device('kept' as DeviceId)).toEqual(device('kept', 2));
    });

    test('an update that answers with another device is refused', async () => {
      const mistaken = store.updateDevices(['a' as DeviceId], () => device('b'));
      await expect(mistaken).rejects.toThrow('the update of device a returned device b');
      expect(await store.deviceCount()).toBe(0);
    });

    test('ids are told apart and ordered by their bytes', async () => {
      await put(
        store,
        device('ä'),
        device('a'),
        device('B'),
        device('A'),
        device('b'),
        device('a-1'),
        device('a1'),
      );
      expect(await idsFrom(store, { limit: 10 })).toEqual(['A', 'B', 'a', 'a-1', 'a1', 'b', 'ä']);
      expect(await idsFrom(store, { after: 'a' as DeviceId, limit: 2 })).toEqual(['a-1', 'a1']);
    });

    test('a page may begin after an id that no device has', async () => {
      await put(store, device('a'), device('c'));
      expect(await idsFrom(store, { after: 'b' as DeviceId, limit: 10 })).toEqual(['c']);
      expect(await idsFrom(store, { after: 'c' as DeviceId, limit: 10 })).toEqual([]);
      expect(await idsFrom(store, { limit: 0 })).toEqual([]);
    });

    test('ten thousand devices come in pages, each once, also while others leave', async () => {
      const ids = Array.from({ length: 10_000 }, (_, n) => `device-${String(n).padStart(5, '0')}`);
      await put(store, ...ids.toReversed().map((id) => device(id)));
      expect(await store.deviceCount()).toBe(10_000);

      const seen: string[] = [];
      for (let page = await idsFrom(store, { limit: 777 }); page.length > 0; ) {
        seen.push(...page);
        const last = page.at(-1);
        await store.updateDevices(page.slice(0, 1), () => undefined);
        page = await idsFrom(store, { ...(last === undefined ? {} : { after: last }), limit: 777 });
      }
      expect(seen).toEqual(ids);
      expect(await store.deviceCount()).toBe(10_000 - Math.ceil(10_000 / 777));
    });

    test('concurrent updates of one device are all counted', async () => {
      const id = 'busy' as DeviceId;
      await put(store, device(id, 0));
      await Promise.all(
        Array.from({ length: 100 }, () =>
          store.updateDevices([id], (before) => device(id, (before?.serial ?? 0) + 1)),
        ),
      );
      expect(await store.device(id)).toEqual(device(id, 100));
    });
  });

  describe('the program', () => {
    test('there is none at first, and the first one is swapped in for version 0', async () => {
      expect(await store.program()).toBeUndefined();
      expect(await store.swapProgram(published(7), 3)).toBe(false);
      expect(await store.program()).toBeUndefined();
      expect(await store.swapProgram(published(7), 0)).toBe(true);
      expect(await store.program()).toEqual(published(7));
    });

    test('a writer that expects another version than the one in force changes nothing', async () => {
      await store.swapProgram(published(7), 0);
      expect(await store.swapProgram(published(8), 0)).toBe(false);
      expect(await store.swapProgram(published(8), 6)).toBe(false);
      expect(await store.program()).toEqual(published(7));
      expect(await store.swapProgram(published(1_800_000_000), 7)).toBe(true);
      expect(await store.program()).toEqual(published(1_800_000_000));
    });

    test('of writers that start from one version, exactly one succeeds', async () => {
      await store.swapProgram(published(1), 0);
      const swaps = [2, 3, 4, 5].map((version) => store.swapProgram(published(version), 1));
      const results = await Promise.all(swaps);
      expect(results.filter(Boolean)).toHaveLength(1);
      expect(await store.program()).toEqual(published(2 + results.indexOf(true)));
    });

    test('a version that does not rise is refused', async () => {
      await store.swapProgram(published(7), 0);
      await expect(store.swapProgram(published(7), 7)).rejects.toThrow('version 7 does not follow 7');
      expect(await store.program()).toEqual(published(7));
    });
  });

  test('the program’s version is told without the program, 0 where there is none', async () => {
    expect(await store.programVersion()).toBe(0);
    await store.swapProgram(published(1_800_000_000), 0);
    expect(await store.programVersion()).toBe(1_800_000_000);
  });

  describe('the journal', () => {
    test('it is empty at first and then what was last written', async () => {
      expect(await store.journal()).toEqual({ version: 0, journal: {} });
      expect(await store.swapJournal({ tip: 'abc', pending: [1, { deep: null }] }, 0)).toBe(true);
      expect(await store.swapJournal({ tip: 'def', note: 'ä\u2028"\n' }, 1)).toBe(true);
      expect(await store.journal()).toEqual({ version: 2, journal: { tip: 'def', note: 'ä\u2028"\n' } });
    });

    test('who has not read the newest notes writes nothing', async () => {
      expect(await store.swapJournal({ by: 'early' }, 1)).toBe(false);
      expect(await store.journal()).toEqual({ version: 0, journal: {} });
      await store.swapJournal({ by: 'one' }, 0);
      expect(await store.swapJournal({ by: 'two' }, 0)).toBe(false);
      expect(await store.journal()).toEqual({ version: 1, journal: { by: 'one' } });
    });

    test('of reconcilers that read the same notes, exactly one writes', async () => {
      const names = ['a', 'b', 'c', 'd'];
      const results = await Promise.all(names.map((by) => store.swapJournal({ by }, 0)));
      expect(results.filter(Boolean)).toHaveLength(1);
      expect((await store.journal()).journal).toEqual({ by: names[results.indexOf(true)] });
    });
  });

  describe('the TUF repository', () => {
    const DAY = 24 * 60 * 60 * 1000;
    const bytes = (text: string) => new TextEncoder().encode(text);
    const next = (
      version: number,
      files: Record<string, string>,
      given: { needed?: string[]; now?: number } = {},
    ) => ({
      version,
      state: { version },
      files: new Map(Object.entries(files).map(([path, text]) => [path, bytes(text)])),
      needed: new Set(given.needed ?? Object.keys(files)),
      now: given.now ?? 0,
    });
    const text = async (path: string) => {
      const content = await store.tufFile(path);
      return content === undefined ? undefined : new TextDecoder().decode(content);
    };

    test('there is none at first, and then what was published last', async () => {
      expect(await store.tuf()).toEqual({ version: 0, state: {} });
      expect(await store.tufFile('metadata/timestamp.json')).toBeUndefined();
      expect(await store.swapTuf(next(7, { 'metadata/timestamp.json': 'a\0b' }), 0)).toBe(true);
      expect(await store.swapTuf(next(8, { 'metadata/timestamp.json': 'ä' }), 7)).toBe(true);
      expect(await store.tuf()).toEqual({ version: 8, state: { version: 8 } });
      expect(await text('metadata/timestamp.json')).toBe('ä');
      expect(await store.tufFile('metadata/TIMESTAMP.json')).toBeUndefined();
    });

    test('who has not seen the newest publishes nothing of it', async () => {
      expect(await store.swapTuf(next(9, { a: 'early' }), 3)).toBe(false);
      await store.swapTuf(next(7, { a: 'one' }), 0);
      expect(await store.swapTuf(next(9, { a: 'two', b: 'two' }), 0)).toBe(false);
      expect([await text('a'), await text('b')]).toEqual(['one', undefined]);
      await expect(store.swapTuf(next(7, {}), 7)).rejects.toThrow('version 7 does not follow 7');
    });

    test('of writers that start from one version, exactly one publishes, and all of it', async () => {
      const versions = [2, 3, 4, 5];
      const results = await Promise.all(
        versions.map((n) => store.swapTuf(next(n, { 'timestamp.json': `${n}`, [`${n}.json`]: `${n}` }), 0)),
      );
      expect(results.filter(Boolean)).toHaveLength(1);
      const won = versions[results.indexOf(true)];
      expect((await store.tuf()).version).toBe(won);
      expect(await text('timestamp.json')).toBe(`${won}`);
      for (const n of versions) expect(await text(`${n}.json`)).toBe(n === won ? `${n}` : undefined);
    });

    test('a file that is not needed any more goes a day later, unless it is needed again', async () => {
      await store.swapTuf(next(1, { a: 'a', b: 'b', c: 'c' }), 0);
      await store.swapTuf(next(2, {}, { needed: ['c'], now: 10 }), 1);
      await store.swapTuf(next(3, {}, { needed: ['c', 'b'], now: DAY }), 2);
      expect([await text('a'), await text('b'), await text('c')]).toEqual(['a', 'b', 'c']);
      await store.swapTuf(next(4, {}, { needed: ['c'], now: DAY + 10 }), 3);
      expect([await text('a'), await text('b'), await text('c')]).toEqual([undefined, 'b', 'c']);
      await store.swapTuf(next(5, {}, { needed: [], now: 2 * DAY + 10 }), 4);
      expect([await text('b'), await text('c')]).toEqual([undefined, 'c']);
    });
  });

  describe('uses of tokens', () => {
    const use = (holder: string, over: { token?: string; uses?: number; now?: number } = {}) =>
      store.useToken({ token: 'a', holder, uses: 2, expiresAt: 1000, now: 0, ...over });

    test('as many holders as may use it, each as often as it likes', async () => {
      expect([await use('ada'), await use('ada'), await use('ben'), await use('cyd')]).toEqual([
        true,
        true,
        true,
        false,
      ]);
      expect([await use('ada'), await use('ben'), await use('cyd', { token: 'b' })]).toEqual([
        true,
        true,
        true,
      ]);
    });

    test('of many that come at once, exactly as many as may', async () => {
      const holders = Array.from({ length: 12 }, (_, n) => `holder-${n}`);
      const taken = await Promise.all(holders.map((holder) => use(holder, { uses: 5 })));
      expect(taken.filter(Boolean)).toHaveLength(5);
    });

    test('what has expired is forgotten, and what has not is not', async () => {
      await use('ada', { uses: 1 });
      expect(await use('ben', { uses: 1, now: 999 })).toBe(false);
      expect(await use('ben', { uses: 1, now: 1000 })).toBe(true);
    });

    test('uses outlive a restart', async () => {
      if (engine.reopen === undefined) return;
      await use('ada', { uses: 1 });
      store = await engine.reopen(store);
      expect([await use('ben', { uses: 1 }), await use('ada', { uses: 1 })]).toEqual([false, true]);
    });
  });

  describe('the epoch', () => {
    test('it is not empty, stays the same, and differs from another store’s', async () => {
      const other = await engine.create();
      expect(await store.epoch()).toMatch(/./);
      expect(await store.epoch()).toBe(await store.epoch());
      expect(await other.epoch()).not.toBe(await store.epoch());
      await other.close();
    });
  });

  describe('the feed', () => {
    test('every commit is told once and in order, and what changed nothing is not told', async () => {
      await put(store, device('before'));
      const feed = await followed(store);
      await put(store, device('a'), device('b'));
      await store.updateDevices([device('a').id], (before) => before);
      await expect(store.updateDevices([device('a').id], () => device('b'))).rejects.toThrow();
      await put(store, device('a', 2));
      await store.updateDevices([device('b').id], () => undefined);
      await feed.until(3);
      expect(feed.told.map(({ changes }) => changes)).toEqual([
        [
          { before: undefined, after: device('a') },
          { before: undefined, after: device('b') },
        ],
        [{ before: device('a'), after: device('a', 2) }],
        [{ before: device('b'), after: undefined }],
      ]);
      const [first = Number.NaN] = feed.told.map(({ position }) => position);
      expect(feed.told.map(({ position }) => position)).toEqual([first, first + 1, first + 2]);
      expect(feed.missed).toBe(0);
      await feed.close();
    });

    test('who closed is told nothing more; the others go on', async () => {
      const [one, other] = [await followed(store), await followed(store)];
      await put(store, device('a'));
      await Promise.all([one.until(1), other.until(1)]);
      await one.close();
      await put(store, device('b'));
      await other.until(2);
      expect(one.told).toHaveLength(1);
      await other.close();
    });

    test('a reading is as of one position: with what is told after it, it is the fleet', async () => {
      const feed = await followed(store);
      const ids = Array.from({ length: 1200 }, (_, n) => `d${String(n).padStart(4, '0')}`);
      await put(store, ...ids.map((id) => device(id)));
      const reading = await store.read();
      await put(store, device('d0001', 2), device('before-the-first-page'));
      const seen = new Map<DeviceId, DeviceRecord>();
      let commits = 2;
      for await (const page of reading.pages()) {
        for (const record of page) seen.set(record.id, record);
        // Behind the page, ahead of it, new ones and ones that leave.
        await put(
          store,
          device('d0000', 100 + commits),
          device('d1199', 100 + commits),
          device(`new-${commits}`),
        );
        await store.updateDevices([device(`d00${10 + commits}`).id], () => undefined);
        commits += 2;
      }
      await reading.close();
      expect(seen.size).toBe(1200);
      expect([...seen.values()].every((record) => record.serial === 1)).toBe(true);

      await feed.until(commits);
      for (const { changes, position } of feed.told) {
        if (position <= reading.position) continue;
        for (const { before, after } of changes) {
          const id = (after ?? before)?.id;
          if (id === undefined) continue;
          expect(seen.get(id)).toEqual(before);
          if (after === undefined) seen.delete(id);
          else seen.set(id, after);
        }
      }
      expect(sorted(seen)).toEqual(await store.devices({ limit: 2000 }));
      await feed.close();
    });
  });

  test('any operations leave the same devices as they leave in a plain map', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { maxLength: 30 }), async (operations) => {
        let tried = await engine.create();
        const model = new Map<DeviceId, DeviceRecord>();
        for (const { kind, steps, throwsAt } of operations) {
          if (kind === 'reopen') {
            tried = (await engine.reopen?.(tried)) ?? tried;
          } else {
            await applyBoth(tried, model, steps, throwsAt);
          }
          expect(await tried.devices({ limit: 100 })).toEqual(sorted(model));
          expect(await tried.deviceCount()).toBe(model.size);
          for (const id of IDS) expect(await tried.device(id)).toEqual(model.get(id));
        }
        await tried.close();
      }),
      { numRuns: 50 },
    );
  });
}

interface Step {
  readonly id: DeviceId;
  /** The serial that the device gets; null removes it, undefined leaves it alone. */
  readonly serial: number | null | undefined;
}

const IDS = ['a', 'B', 'ä', 'a:1', 'Z', '10', '9'] as DeviceId[];

const operation = fc.record({
  kind: fc.constantFrom('update', 'update', 'update', 'reopen'),
  steps: fc.array(
    fc.record({
      id: fc.constantFrom(...IDS),
      serial: fc.constantFrom<Step['serial']>(1, 2, 3, null, undefined),
    }),
    { maxLength: 6 },
  ),
  /** Mostly beyond the steps: most updates succeed. */
  throwsAt: fc.nat({ max: 20 }),
});

async function applyBoth(
  store: Store,
  model: Map<DeviceId, DeviceRecord>,
  steps: readonly Step[],
  throwsAt: number,
) {
  const ids = steps.map((step) => step.id);
  const updating = store.updateDevices(ids, (before, index) => {
    if (index === throwsAt) throw new RangeError('midway');
    const serial = steps[index]?.serial;
    if (serial === undefined) return before;
    return serial === null ? undefined : device(ids[index] ?? '', serial);
  });
  if (throwsAt < steps.length) {
    await expect(updating).rejects.toThrow('midway');
    return;
  }
  await updating;
  for (const { id, serial } of steps) {
    if (serial === null) model.delete(id);
    else if (serial !== undefined) model.set(id, device(id, serial));
  }
}

function sorted(model: ReadonlyMap<DeviceId, DeviceRecord>): DeviceRecord[] {
  return [...model.values()].sort((a, b) => Buffer.compare(Buffer.from(a.id), Buffer.from(b.id)));
}

export function device(id: string, serial = 1): DeviceRecord {
  return {
    id: id as DeviceId,
    tags: { product: 'thermostat' },
    publicKey: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo',
    serial,
    enrolledAt: 1_790_000_000_123,
    version: 1,
  };
}

export async function put(store: Store, ...records: readonly DeviceRecord[]): Promise<void> {
  await store.updateDevices(
    records.map((record) => record.id),
    (_, index) => records[index],
  );
}

/** Follows the store and keeps what it is told. */
export async function followed(store: Store) {
  const told: { readonly changes: readonly DeviceChange[]; readonly position: number }[] = [];
  const waiting: { readonly count: number; readonly resolve: () => void }[] = [];
  let missed = 0;
  const following = await store.follow(
    (changes, position) => {
      told.push({ changes, position });
      for (const { count, resolve } of waiting) if (told.length >= count) resolve();
    },
    () => {
      missed += 1;
    },
  );
  return {
    told,
    get missed() {
      return missed;
    },
    /** Resolves when `count` commits have been told. */
    until: (count: number) =>
      new Promise<void>((resolve) => {
        if (told.length >= count) resolve();
        else waiting.push({ count, resolve });
      }),
    close: () => following.close(),
  };
}

async function idsFrom(store: Store, page: { after?: DeviceId; limit: number }): Promise<DeviceId[]> {
  const devices = await store.devices(page);
  return devices.map((record) => record.id);
}

const bare: DeviceRecord = { ...device("o'brien@site+1"), tags: {} };

export const reporting: DeviceRecord = {
  ...device('reporting'),
  tags: { site: 'Tromsø "north"', 'ring\\': '0' },
  report: {
    receivedAt: 1_790_000_000_456,
    generation: 4,
    running: 'sha256:00' as NonNullable<DeviceRecord['report']>['running'] & string,
    attempt: {
      revision: 'sha256:11' as never,
      state: 'failed',
      category: 'install.disk-full',
      message: 'no space\nleft',
    },
    signals: { runtime_healthy: true, gap: '3.2s', drops: 0.125 },
    boots: [{ bootId: 'boot-1', seq: 17, counted: 'ffffffffffffffff' }],
    exposureHours: 0.25,
  },
};

export function published(version: number): PublishedProgram {
  const program: Program = {
    fleet: `fleet-${version}`,
    rollouts: [],
    devices: { ['x' as DeviceId]: { tags: { ring: '0', site: null }, retired: false, revoked: true } },
    pollIntervalMs: 60_000,
    timezone: 'UTC',
    sites: {},
    flags: [],
    knownRevisions: [],
    knownProducts: [],
  };
  return { version, flagsVersion: version, program };
}
