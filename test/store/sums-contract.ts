/** What every store engine promises about sums. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { DeviceId } from '../../src/core/model/ids.ts';
import type { Store } from '../../src/store/store.ts';
import type { Addition } from '../../src/store/sums.ts';
import { device, type Engine, put } from './contract.ts';

export function sumsContract(engine: Engine): void {
  let store: Store;
  beforeEach(async () => {
    store = await engine.create();
  });
  afterEach(async () => {
    await store.close();
  });

  /** What is stored, a line each. */
  const stored = async (given: { series?: string; since?: number } = {}) =>
    (await store.sums(given)).map(
      ({ series, at, name, sum, count }) => `${series} ${at} ${name}: ${sum} of ${count}`,
    );

  describe('sums', () => {
    test('what is added up under one name in one interval is one sum, in one call and over several', async () => {
      expect(await stored()).toEqual([]);
      expect(await store.addUp([crash(1), crash(1, { amount: 2.5 }), crash(2)])).toEqual([true, true, true]);
      expect(await store.addUp([crash(1, { amount: -0.25 }), crash(1, { amount: 0 })])).toEqual([true, true]);
      expect(await store.addUp([])).toEqual([]);
      expect(await store.sums({})).toEqual([
        { series: 'r/1', name: 'event:crash', at: 1, sum: 3.25, count: 4 },
        { series: 'r/1', name: 'event:crash', at: 2, sum: 1, count: 1 },
      ]);
    });

    test('sums come in bytewise order of series, interval and name, from an instant on', async () => {
      await store.addUp([
        crash(1_790_000_000_000, { name: 'b' }),
        crash(-5, { name: 'ä' }),
        crash(-5, { name: '\u{1F600}' }),
        crash(-5, { name: '\uFFFD' }),
        crash(1_790_000_000_000, { name: 'B' }),
        crash(7, { series: 'R/2' }),
        crash(7, { series: 'external' }),
      ]);
      expect(await stored()).toEqual([
        'R/2 7 event:crash: 1 of 1',
        'external 7 event:crash: 1 of 1',
        'r/1 -5 ä: 1 of 1',
        'r/1 -5 \uFFFD: 1 of 1',
        'r/1 -5 \u{1F600}: 1 of 1',
        'r/1 1790000000000 B: 1 of 1',
        'r/1 1790000000000 b: 1 of 1',
      ]);
      expect(await stored({ since: 8 })).toHaveLength(2);
      expect(await stored({ since: 7 })).toHaveLength(4);
      expect(await stored({ series: 'r/1', since: -4 })).toHaveLength(2);
      expect(await stored({ series: 'R/2' })).toHaveLength(1);
      expect(await stored({ series: 'r/3' })).toEqual([]);
    });

    test('sums are as exact as numbers are', async () => {
      const amounts = [0.1, 1e-300, 123_456_789.123_456_78, 2 ** 53, -1e100, 1e100];
      await store.addUp(amounts.map((amount, at) => crash(at, { amount })));
      expect((await store.sums({})).map(({ sum }) => sum)).toEqual(amounts);
      await store.addUp([crash(0, { amount: 0.2 })]);
      expect((await store.sums({}))[0]?.sum).toBe(0.1 + 0.2);
    });

    test('concurrent additions are all counted', async () => {
      await Promise.all(
        Array.from({ length: 40 }, (_, n) => store.addUp([crash(n % 3), crash(2 - (n % 3)), crash(7)])),
      );
      expect((await store.sums({})).reduce((all, { count }) => all + count, 0)).toBe(120);
      expect(await stored({ since: 7 })).toEqual(['r/1 7 event:crash: 40 of 40']);
    });

    test.each([
      ['an amount that is no number', { amount: Number.NaN }],
      ['an infinite amount', { amount: Number.NEGATIVE_INFINITY }],
      ['an amount beyond all measure', { amount: 1e101 }],
      ['an interval that begins within a millisecond', { at: 0.5 }],
      ['a name that is too long', { name: 'x'.repeat(301) }],
      ['no name', { name: '' }],
      ['a name with NUL', { name: 'a\0b' }],
      ['half a character', { series: '\uD800' }],
      ['a limit’s key with NUL', { limits: [{ key: 'a\0b', max: 1 }] }],
      ['a limit’s key that is too long', { limits: [{ key: 'x'.repeat(301), max: 1 }] }],
    ])('%s is refused, and nothing of that transaction is written', async (_, wrong) => {
      await expect(store.addUp([crash(1), crash(1, wrong)])).rejects.toThrow(/expected .* found/);
      const updating = store.updateDevices(
        [device('a').id],
        () => device('a'),
        () => [crash(1), crash(1, wrong)],
      );
      await expect(updating).rejects.toThrow(/expected .* found/);
      expect(await stored()).toEqual([]);
      expect(await store.deviceCount()).toBe(0);
    });

    test('texts of full length in any script are kept', async () => {
      const long = '漢'.repeat(300);
      const addition = { series: long, name: long, at: 0, amount: 1, limits: [{ key: long, max: 1 }] };
      expect(await store.addUp([addition, addition])).toEqual([true, false]);
      expect(await store.sums({})).toEqual([{ series: long, name: long, at: 0, sum: 1, count: 1 }]);
    });
  });

  describe('limits', () => {
    test('an addition is counted as often as its limit says, in any interval and under any name', async () => {
      const limits = [{ key: 'd1 crash', max: 2 }];
      const counted = await store.addUp([
        crash(1, { limits }),
        crash(2, { limits, name: 'other' }),
        crash(1, { limits }),
        crash(1),
        crash(1, { limits, series: 'r/2' }),
      ]);
      expect(counted).toEqual([true, true, false, true, true]);
      expect(await store.addUp([crash(9, { limits }), crash(9, { limits, series: 'r/2' })])).toEqual([
        false,
        true,
      ]);
      expect(await store.addUp([crash(9, { limits: [{ key: 'd1 crash', max: 3 }] })])).toEqual([true]);
      expect(await stored({ series: 'r/1' })).toEqual([
        'r/1 1 event:crash: 2 of 2',
        'r/1 2 other: 1 of 1',
        'r/1 9 event:crash: 1 of 1',
      ]);
    });

    test('all limits must have room, and one that had some keeps it where another is full', async () => {
      const wide = { key: 'wide', max: 2 };
      const narrow = { key: 'narrow', max: 1 };
      const both = [wide, narrow];
      expect(await store.addUp([crash(1, { limits: both }), crash(1, { limits: both })])).toEqual([
        true,
        false,
      ]);
      expect(await store.addUp([crash(1, { limits: [wide] }), crash(1, { limits: [wide] })])).toEqual([
        true,
        false,
      ]);
      expect(await store.addUp([crash(1, { limits: [{ key: 'none', max: 0 }] })])).toEqual([false]);
      expect(await stored()).toEqual(['r/1 1 event:crash: 2 of 2']);
    });

    test('of many that come at once, exactly as many as the limit says', async () => {
      const limits = [{ key: 'd1', max: 5 }];
      const counted = await Promise.all(
        Array.from({ length: 12 }, (_, n) =>
          n % 2 === 0
            ? store.addUp([crash(1, { limits })])
            : store.updateDevices(
                [],
                () => expect.unreachable(),
                () => [crash(1, { limits })],
              ),
        ),
      );
      expect(counted).toHaveLength(12);
      expect(await stored()).toEqual(['r/1 1 event:crash: 5 of 5']);
    });
  });

  describe('sums and devices in one transaction', () => {
    test('what is added up is asked for after the last update, once, and written with the devices', async () => {
      const said: string[] = [];
      const changes = await store.updateDevices(
        ['a', 'b'] as DeviceId[],
        (_, index) => {
          said.push(`update ${index}`);
          return device(index === 0 ? 'a' : 'b');
        },
        () => {
          said.push('additions');
          return [crash(1), crash(1, { limits: [{ key: 'full', max: 0 }] })];
        },
      );
      expect(said).toEqual(['update 0', 'update 1', 'additions']);
      expect(changes).toHaveLength(2);
      expect(await store.deviceCount()).toBe(2);
      expect(await stored()).toEqual(['r/1 1 event:crash: 1 of 1']);
    });

    test('they are written also where no device changed, or none was asked for', async () => {
      await put(store, device('a'));
      expect(
        await store.updateDevices(
          [device('a').id],
          (before) => before,
          () => [crash(1)],
        ),
      ).toEqual([]);
      expect(
        await store.updateDevices(
          [],
          () => expect.unreachable(),
          () => [crash(1)],
        ),
      ).toEqual([]);
      expect(await stored()).toEqual(['r/1 1 event:crash: 2 of 2']);
    });

    test('where an update or the additions throw, neither devices nor sums are written', async () => {
      const midway = () => {
        throw new RangeError('midway');
      };
      const id = device('a').id;
      await expect(store.updateDevices([id], midway, () => [crash(1)])).rejects.toThrow('midway');
      await expect(store.updateDevices([id], () => device('a'), midway)).rejects.toThrow('midway');
      expect(await stored()).toEqual([]);
      expect(await store.deviceCount()).toBe(0);
    });

    test('concurrent updates of one device are all counted, each once', async () => {
      const id = device('busy').id;
      await Promise.all(
        Array.from({ length: 30 }, () => {
          let serial = 0;
          return store.updateDevices(
            [id],
            (before) => {
              serial = (before?.serial ?? 0) + 1;
              return device('busy', serial);
            },
            () => [crash(serial)],
          );
        }),
      );
      expect(await stored()).toEqual(
        Array.from({ length: 30 }, (_, n) => `r/1 ${n + 1} event:crash: 1 of 1`),
      );
    });
  });

  describe('forgetting sums', () => {
    test('a series that is not kept goes with its limits; the others stay, however old', async () => {
      const limits = [{ key: 'd1', max: 1 }];
      await store.addUp([
        crash(1, { series: 'r/1', limits }),
        crash(1, { series: 'r/2', limits }),
        crash(1, { series: 'r/3' }),
      ]);
      await store.forgetSums({ keep: (series) => series === 'r/2', before: 100 });
      expect(await stored()).toEqual(['r/2 1 event:crash: 1 of 1']);
      const again = [crash(2, { series: 'r/1', limits }), crash(2, { series: 'r/2', limits })];
      expect(await store.addUp(again)).toEqual([true, false]);
    });

    test('of what is posted to us, old intervals go, and limits that nothing was counted against since', async () => {
      const external = (at: number, key: string) =>
        crash(at, { series: 'external', limits: [{ key, max: 2 }] });
      await store.addUp([external(9, 'old'), external(9, 'used'), external(10, 'used'), external(9, 'used')]);
      await store.forgetSums({ keep: () => true, before: 10 });
      expect(await stored()).toEqual(['external 10 event:crash: 1 of 1']);
      const again = [external(11, 'old'), external(11, 'old'), external(11, 'used')];
      expect(await store.addUp(again)).toEqual([true, true, false]);

      await store.forgetSums({ keep: () => false, before: 0 });
      expect(await stored()).toEqual([]);
      expect(await store.addUp([external(11, 'used')])).toEqual([true]);
    });
  });

  test('sums and limits outlive a restart', async () => {
    if (engine.reopen === undefined) return;
    const limits = [{ key: 'd1', max: 1 }];
    await store.addUp([crash(1, { limits, amount: 0.5 })]);
    store = await engine.reopen(store);
    expect(await store.addUp([crash(1, { limits }), crash(1)])).toEqual([false, true]);
    expect(await stored()).toEqual(['r/1 1 event:crash: 1.5 of 2']);
  });
}

/** A crash in the interval that begins at `at`. */
export function crash(at: number, over: Partial<Addition> = {}): Addition {
  return { series: 'r/1', name: 'event:crash', at, amount: 1, ...over };
}
