import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  ATTEMPT_STATES,
  applyReport,
  BOOTS_REMEMBERED,
  type DeviceRecord,
  isInstalling,
  type Report,
  type ReportEffect,
} from '../../../src/core/model/device.ts';
import type { DeviceId, Revision } from '../../../src/core/model/ids.ts';
import { type Instant, MINUTE } from '../../../src/core/model/time.ts';

const OLD = 'sha256:01d' as Revision;
const NEW = 'sha256:4e3' as Revision;
const NOW: Instant = 1_790_000_000_000;

const silent: DeviceRecord = {
  id: 'device-000001' as DeviceId,
  tags: { site: 'harbour' },
  publicKey: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo',
  serial: 1,
  enrolledAt: NOW,
  version: 1,
};

type Sent = Partial<Report> & { readonly bootId: string; readonly seq: number; readonly at?: Instant };

/** Applies the reports in the order of their arrival. Each says in a signal which one it is. */
function receive(reports: readonly Sent[]) {
  let record = silent;
  const effects: ReportEffect[] = [];
  for (const { at = NOW, ...sent } of reports) {
    const signals = { from: `${sent.bootId}/${sent.seq}` };
    const report = { generation: 1, running: NEW, signals, exposureHours: 0.25, events: {}, ...sent };
    const applied = applyReport(record, report, at);
    record = applied.record;
    effects.push(applied.effect);
  }
  return {
    record,
    effects,
    stateFrom: record.report?.signals['from'],
    exposureHours: record.report?.exposureHours,
  };
}

/** Reports of one boot, by `seq`. */
const boot = (bootId: string, ...seqs: number[]): Sent[] => seqs.map((seq) => ({ bootId, seq }));

describe('applying reports', () => {
  test('the newest report is the state that the device is in', () => {
    const { record, effects } = receive([
      { bootId: 'a', seq: 1, attempt: { revision: NEW, state: 'failed', category: 'install.disk-full' } },
      { bootId: 'a', seq: 2, generation: 3, at: NOW + 5 },
    ]);
    expect(effects).toEqual(['counted', 'counted']);
    expect(record).toEqual({
      ...silent,
      report: {
        receivedAt: NOW + 5,
        generation: 3,
        running: NEW,
        signals: { from: 'a/2' },
        boots: [{ bootId: 'a', seq: 2, counted: '3' }],
        exposureHours: 0.5,
      },
    });
  });

  test('a repeated report changes nothing: the record is the same object', () => {
    const { record } = receive(boot('a', 1, 2, 3));
    const again = { bootId: 'a', seq: 2, generation: 9, signals: {}, exposureHours: 9, events: {} };
    expect(applyReport(record, again, NOW + 1)).toEqual({ record, effect: 'duplicate' });
    expect(applyReport(record, again, NOW + 1).record).toBe(record);
  });

  test('a report that was overtaken adds its amounts and nothing else', () => {
    const { effects, stateFrom, exposureHours, record } = receive([
      ...boot('a', 3),
      { bootId: 'a', seq: 1, at: NOW + 5 },
      { bootId: 'a', seq: 1, at: NOW + 6 },
    ]);
    expect(effects).toEqual(['counted', 'late', 'duplicate']);
    expect([stateFrom, exposureHours, record.report?.receivedAt]).toEqual(['a/3', 0.5, NOW]);
  });

  test('a reboot starts a new window: the same numbers count again, and exposure goes on', () => {
    const { effects, stateFrom, exposureHours } = receive([
      ...boot('a', 1, 2),
      ...boot('b', 1, 2),
      ...boot('a', 2, 3),
    ]);
    expect(effects).toEqual(['counted', 'counted', 'counted', 'counted', 'duplicate', 'late']);
    expect([stateFrom, exposureHours]).toEqual(['b/2', 1.25]);
  });

  test('another revision starts its exposure anew, and late reports of the one before do not add to it', () => {
    const before = boot('a', 1, 2, 3).map((sent) => ({ ...sent, running: OLD }));
    const [first, second, third] = before;
    expect(receive([...before, ...boot('a', 5)]).exposureHours).toBe(0.25);
    const { effects, exposureHours } = receive(
      [first, ...boot('a', 5), third, second, ...boot('a', 4)].filter((sent) => sent !== undefined),
    );
    expect(effects).toEqual(['counted', 'counted', 'late', 'late', 'late']);
    expect(exposureHours).toBe(0.5);
  });

  test.each([
    ['63 behind still counts, once', [64, 1, 1], ['counted', 'late', 'duplicate']],
    ['64 behind cannot be told from a repetition', [65, 1], ['counted', 'duplicate']],
    ['a gap of 63 keeps what was counted', [1, 64, 1], ['counted', 'counted', 'duplicate']],
    [
      'a gap over 64 forgets it; what lies between counts',
      [1, 2, 102, 2, 39, 38],
      ['counted', 'counted', 'counted', 'duplicate', 'late', 'duplicate'],
    ],
    ['the largest gap there is', [0, Number.MAX_SAFE_INTEGER, 0], ['counted', 'counted', 'duplicate']],
  ] as const)('%s', (_, seqs, effects) => {
    expect(receive(boot('a', ...seqs)).effects).toEqual(effects);
  });

  test('only the last four boots are remembered', () => {
    const boots = ['a', 'b', 'c', 'd', 'e'];
    const { record } = receive(boots.flatMap((bootId) => boot(bootId, 1)));
    expect(record.report?.boots.map(({ bootId }) => bootId)).toEqual(['e', 'd', 'c', 'b']);
    expect(record.report?.boots).toHaveLength(BOOTS_REMEMBERED);
  });

  test('a boot that a straggler of the one before displaced takes its place back when it goes on', () => {
    const displaced = [...boot('b', 1), ...boot('a', 1)];
    const soon = receive([...displaced, { bootId: 'b', seq: 2, at: NOW + 10 * MINUTE }]);
    expect([soon.effects.at(-1), soon.stateFrom, soon.exposureHours]).toEqual(['late', 'a/1', 0.75]);

    const later = receive([...displaced, { bootId: 'b', seq: 2, at: NOW + 10 * MINUTE + 1 }]);
    expect([later.effects.at(-1), later.stateFrom, later.exposureHours]).toEqual(['counted', 'b/2', 0.75]);
    expect(later.record.report?.boots.map(({ bootId }) => bootId)).toEqual(['b', 'a']);
  });

  test('reports count once, in whatever order and however often they come; the newest is the state', () => {
    const arrivals = fc.array(
      fc.record({ boot: fc.nat({ max: BOOTS_REMEMBERED - 1 }), seq: fc.nat({ max: 63 }) }),
      {
        minLength: 1,
        maxLength: 200,
      },
    );
    fc.assert(
      fc.property(arrivals, (drawn) => {
        // A boot is as new as its first report to arrive, so boots are named in that order.
        const order = [...new Set(drawn.map((sent) => sent.boot))];
        const sent = drawn.map(({ boot, seq }) => ({ bootId: `boot-${order.indexOf(boot)}`, seq }));
        const distinct = new Set(sent.map(({ bootId, seq }) => `${bootId}/${seq}`));
        const newest = `boot-${order.length - 1}`;
        const highest = Math.max(...sent.filter(({ bootId }) => bootId === newest).map(({ seq }) => seq));

        const { effects, exposureHours, stateFrom } = receive(sent);
        expect(effects.filter((effect) => effect !== 'duplicate')).toHaveLength(distinct.size);
        expect(exposureHours).toBe(distinct.size * 0.25);
        expect(stateFrom).toBe(`${newest}/${highest}`);
      }),
    );
  });

  test('a window of 64 numbers decides what counts, whatever the gaps', () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 300 }), { minLength: 1, maxLength: 200 }), (seqs) => {
        const seen = new Set<number>();
        let highest = -1;
        const expected = seqs.map((seq): ReportEffect => {
          if (seen.has(seq) || highest - seq >= 64) return 'duplicate';
          seen.add(seq);
          if (seq < highest) return 'late';
          highest = seq;
          return 'counted';
        });
        const { effects, exposureHours } = receive(boot('a', ...seqs));
        expect(effects).toEqual(expected);
        expect(exposureHours).toBe(seen.size * 0.25);
      }),
    );
  });

  test('across one update, in any order, only what ran the new revision is its exposure', () => {
    const seqs = Array.from({ length: 20 }, (_, seq) => seq);
    const shuffled = fc.shuffledSubarray(seqs, { minLength: 20 });
    fc.assert(
      fc.property(shuffled, fc.integer({ min: 1, max: 19 }), (order, updatedAt) => {
        const sent = boot('a', ...order).map((one) => ({ ...one, running: one.seq < updatedAt ? OLD : NEW }));
        expect(receive(sent).exposureHours).toBe((20 - updatedAt) * 0.25);
      }),
    );
  });
});

test('a device installs a revision until its attempt has ended, one way or the other', () => {
  const installing = (state: (typeof ATTEMPT_STATES)[number], revision: Revision) =>
    isInstalling(
      receive([{ bootId: 'a', seq: 1, attempt: { revision: NEW, state } }]).record.report,
      revision,
    );
  expect(ATTEMPT_STATES.filter((state) => installing(state, NEW))).toEqual([
    'downloading',
    'verifying',
    'installing',
    'booting',
    'checking',
  ]);
  expect(ATTEMPT_STATES.filter((state) => installing(state, OLD))).toEqual([]);
  expect(isInstalling(undefined, NEW)).toBe(false);
  expect(isInstalling(receive(boot('a', 1)).record.report, NEW)).toBe(false);
});
