import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { DeviceRecord } from '../../src/core/model/device.ts';
import type { DeviceId } from '../../src/core/model/ids.ts';
import { createIntake } from '../../src/store/intake.ts';
import { createMemoryStore } from '../../src/store/memory.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';
import type { Store } from '../../src/store/store.ts';
import { device } from './contract.ts';
import { crash } from './sums-contract.ts';

/** A memory store that notes the size of each commit and does something first: waits, or fails. */
function watchedStore(beforeCommit: () => void | Promise<void> = () => {}) {
  const store = createMemoryStore({ epoch: 'test' });
  const commits: number[] = [];
  const watched: Store = {
    ...store,
    async updateDevices(ids, update, additions) {
      commits.push(ids.length);
      await beforeCommit();
      return await store.updateDevices(ids, update, additions);
    },
  };
  return { store: watched, commits };
}

const id = (name: string) => name as DeviceId;
/** Counts the device's serial up and answers with it. */
const countUp = (name: string) => (before: DeviceRecord | undefined) => {
  const after = device(name, (before?.serial ?? 0) + 1);
  return { after, result: after.serial };
};

describe('the intake', () => {
  test('what is submitted in one turn is committed together, in order, and answered one by one', async () => {
    const { store, commits } = watchedStore();
    const intake = createIntake(store);
    const answers = await Promise.all(
      ['a', 'b', 'a', 'a'].map((name) => intake.submit(id(name), countUp(name))),
    );
    expect(answers).toEqual([1, 1, 2, 3]);
    expect(commits).toEqual([4]);
    expect(await store.device(id('a'))).toEqual(device('a', 3));
  });

  test('what arrives while a commit is under way goes into the next one, up to its size', async () => {
    const underWay = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    const { store, commits } = watchedStore(() => {
      underWay.resolve();
      return release.promise;
    });
    const intake = createIntake(store, { maxBatch: 3 });
    const first = intake.submit(id('a'), countUp('a'));
    await underWay.promise;
    const others = ['a', 'b', 'c', 'a'].map((name) => intake.submit(id(name), countUp(name)));
    release.resolve();
    expect(await first).toBe(1);
    expect(await Promise.all(others)).toEqual([2, 1, 1, 3]);
    expect(commits).toEqual([1, 3, 1]);
  });

  test('nothing is answered before the commit is durable and its followers were told', async () => {
    const events: string[] = [];
    const underWay = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    const { store } = watchedStore(async () => {
      events.push('committing');
      underWay.resolve();
      await release.promise;
      events.push('committed');
    });
    await store.follow((changes) => void events.push(`changes ${changes.map(({ after }) => after?.id)}`));
    const intake = createIntake(store);
    const answers = ['a', 'b'].map(async (name) => {
      await intake.submit(id(name), countUp(name));
      events.push(`answered ${name}`);
    });
    await underWay.promise;
    for (let turn = 0; turn < 10; turn += 1) await nextTurn();
    expect(events).toEqual(['committing']);
    release.resolve();
    await Promise.all(answers);
    expect(events).toEqual(['committing', 'committed', 'changes a,b', 'answered a', 'answered b']);
  });

  test('an update that throws rejects alone; the others of its commit are written', async () => {
    const { store, commits } = watchedStore();
    const intake = createIntake(store);
    const settled = await Promise.allSettled([
      intake.submit(id('a'), countUp('a')),
      intake.submit(id('b'), () => {
        throw new RangeError('not this one');
      }),
      intake.submit(id('c'), countUp('c')),
    ]);
    expect(settled).toEqual([
      { status: 'fulfilled', value: 1 },
      { status: 'rejected', reason: new RangeError('not this one') },
      { status: 'fulfilled', value: 1 },
    ]);
    expect(commits).toEqual([3]);
    expect((await store.devices({ limit: 10 })).map((record) => record.id)).toEqual(['a', 'c']);
  });

  test('a store that fails rejects that commit’s submissions with its error; later ones go on', async () => {
    let commitsBegun = 0;
    const { store } = watchedStore(() => {
      commitsBegun += 1;
      if (commitsBegun === 1) throw new Error('the disk is full');
    });
    const told: number[] = [];
    await store.follow((changes) => void told.push(changes.length));
    const intake = createIntake(store, { maxBatch: 2 });
    const settled = await Promise.allSettled(
      ['a', 'b', 'c'].map((name) => intake.submit(id(name), countUp(name))),
    );
    const rejected = { status: 'rejected', reason: new Error('the disk is full') };
    expect(settled).toEqual([rejected, rejected, { status: 'fulfilled', value: 1 }]);
    expect(told).toEqual([1]);
    expect(await intake.submit(id('a'), countUp('a'))).toBe(1);
  });

  test('what is added up is committed with the devices; who throws adds nothing, and nobody else is affected', async () => {
    const { store, commits } = watchedStore();
    const intake = createIntake(store);
    const adding = (name: string, ...amounts: number[]) =>
      intake.submit(id(name), (before) => ({
        ...countUp(name)(before),
        additions: amounts.map((amount) => crash(1, { amount })),
      }));
    const settled = await Promise.allSettled([
      adding('a', 1, 2),
      adding('b', Number.NaN),
      intake.submit(id('c'), countUp('c')),
      adding('a', 4),
    ]);
    expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'fulfilled']);
    expect(commits).toEqual([4]);
    expect((await store.devices({ limit: 10 })).map((record) => record.id)).toEqual(['a', 'c']);
    expect(await store.sums({})).toEqual(
      [crash(1, { amount: 7 })].map(({ amount, ...rest }) => ({ ...rest, sum: amount, count: 3 })),
    );
  });

  test('where the store asks again, what was added up before is replaced', async () => {
    const { store } = watchedStore();
    const twice: Pick<Store, 'updateDevices'> = {
      async updateDevices(ids, update, additions) {
        for (const [index, name] of ids.entries()) update(device(name, 7), index);
        additions?.();
        return await store.updateDevices(ids, update, additions);
      },
    };
    await createIntake(twice).submit(id('a'), (before) => {
      if (before === undefined) return { after: device('a'), result: undefined };
      return { after: before, result: undefined, additions: [crash(1)] };
    });
    expect(await store.sums({})).toEqual([]);
  });

  test('a full queue refuses at once, and takes more when it has been worked off', async () => {
    const { store } = watchedStore();
    const intake = createIntake(store, { maxQueued: 2 });
    const accepted = [intake.submit(id('a'), countUp('a')), intake.submit(id('b'), countUp('b'))];
    await expect(intake.submit(id('c'), countUp('c'))).rejects.toMatchObject({
      code: 'intake-full',
      queued: 2,
    });
    expect(await Promise.all(accepted)).toEqual([1, 1]);
    expect(await store.deviceCount()).toBe(2);
    expect(await intake.submit(id('c'), countUp('c'))).toBe(1);
  });

  test('draining waits for everything that was submitted, and not at all when there is nothing', async () => {
    const { store, commits } = watchedStore();
    const intake = createIntake(store, { maxBatch: 10 });
    await intake.drain();
    const submitted = Array.from({ length: 95 }, (_, n) => intake.submit(id(`d${n}`), countUp(`d${n}`)));
    await intake.drain();
    expect(await store.deviceCount()).toBe(95);
    expect(commits).toHaveLength(10);
    expect(await Promise.all(submitted)).toEqual(submitted.map(() => 1));
  });
});

describe('kill −9', () => {
  /** Acknowledgements after which the process dies: the seed of the moment. */
  const moments = [1, 137, 1000, 2718];

  test.each(moments)('after %i acknowledged reports, every one of them is in the store', async (moment) => {
    const folder = await mkdtemp(join(tmpdir(), 'tidegate-kill-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const path = join(folder, 'store.db');
    const acknowledged = await reportUntilKilled(path, moment);
    expect(acknowledged.length).toBeGreaterThanOrEqual(moment);

    const store = await openSqliteStore(path, { epoch: () => expect.unreachable() });
    for (const { name, seq } of acknowledged) {
      const report = (await store.device(id(name)))?.report;
      const newest = report?.boots[0]?.seq;
      expect(newest).toBeGreaterThanOrEqual(seq);
      // Each report adds an hour and none is skipped, so a device at report n has n hours, unless one before it was
      // lost or counted twice.
      expect(report?.exposureHours).toBe(newest);
    }
    await store.close();
  });
});

/** Starts the reporting process and kills it as soon as it has acknowledged `moment` reports. */
async function reportUntilKilled(path: string, moment: number) {
  const child = spawn(
    process.execPath,
    [fileURLToPath(new URL('./report-forever.ts', import.meta.url)), path],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  const exited = once(child, 'exit');
  const acknowledged: { readonly name: string; readonly seq: number }[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    // A line without its full stop was cut off by the kill.
    const [, name, seq] = /^(\S+) (\d+)\.$/.exec(line) ?? [];
    if (name !== undefined) acknowledged.push({ name, seq: Number(seq) });
    if (acknowledged.length === moment) child.kill('SIGKILL');
  }
  expect(await exited).toEqual([null, 'SIGKILL']);
  return acknowledged;
}
