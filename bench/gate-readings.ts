/**
 * What the gates of a thousand rollouts cost a pass, an incident gate, another, and a metric each, after a week of hours: their
 * readings from the sums that are kept, of the pass that folds the week and of those after it. Processor time of the main thread.
 */
import { type Exposure, type Interval, intervalsOf, sumName } from '../src/core/gates/exposure.ts';
import { WATCH_ALL } from '../src/core/gates/measured.ts';
import { readGates } from '../src/core/gates/reading.ts';
import type { StageGate } from '../src/core/model/gate.ts';
import { HOUR, type Instant } from '../src/core/model/time.ts';
import { seededRandom } from '../src/simulate/seeded-random.ts';
import { median } from './measure.ts';

const ROLLOUTS = 1000;
const HOURS = 168;
const PASSES = 40;
const STARTS_AT = Date.UTC(2026, 0, 1);
const METHOD = { kind: 'sequential', margin: 1.25 } as const;
const CONTROL = { kind: 'control' } as const;

export async function gateReadings(): Promise<readonly string[]> {
  const exposures = Array.from({ length: ROLLOUTS }, (_, n) => weekOf(n));
  const gates = exposures.map((): readonly StageGate[] => [
    { name: 'crashes', kind: 'events', event: 'crash', against: CONTROL, method: METHOD },
    { name: 'restarts', kind: 'events', event: 'restart', against: CONTROL, method: METHOD },
    { name: 'drain', kind: 'metric', signal: 'drain', against: CONTROL, method: METHOD, worse: 'higher' },
  ]);
  const pass = (): number => {
    const before = process.threadCpuUsage();
    for (const [n, exposure] of exposures.entries()) readGates(gates[n] ?? [], seenOf(exposure));
    const { user, system } = process.threadCpuUsage(before);
    return (user + system) / 1000;
  };
  const first = pass();
  for (let n = 0; n < PASSES; n += 1) pass();
  // The kernel counts in steps of some milliseconds: many passes together.
  const later = (before: (n: number) => void) =>
    median(
      Array.from({ length: 5 }, () => {
        let total = 0;
        for (let n = 0; n < PASSES; n += 1) {
          before(n);
          total += pass();
        }
        return total / PASSES;
      }),
    ).toFixed(1);
  const quiet = later(() => undefined);
  const crash = (n: number) => {
    for (const { open } of exposures) {
      const seen = open[0]?.treated.measures.get('event:crash');
      if (seen !== undefined) seen.sum += n % 2 === 0 ? 1 : -1;
    }
  };
  const news = later(crash);
  return [
    `${ROLLOUTS} rollouts with 3 gates each, ${HOURS} hours: ${first.toFixed(0)} ms for the pass that reads them all, then ` +
      `${quiet} ms for a pass without news, ${news} ms where each of them had a crash since the last one`,
  ];
}

function seenOf(exposure: Exposure): Parameters<typeof readGates>[1] {
  const none = { observations: () => [], samples: () => [], approvals: () => 0, previous: () => ({}) };
  return {
    ...none,
    now: STARTS_AT + HOURS * HOUR,
    observedFrom: STARTS_AT,
    alpha: 0.05,
    exposure,
    watch: WATCH_ALL,
    shares: () => {
      throw new Error('expected no gate over shares');
    },
  };
}

/** Closed hours, and two that may still change. */
function weekOf(n: number): Exposure {
  const random = seededRandom(`week ${n}`);
  const hours = (first: number, count: number): Interval[] =>
    intervalsOf(
      Array.from({ length: count }, (_, index) => sumsOf(STARTS_AT + (first + index) * HOUR)).flat(),
    );
  const sumsOf = (at: Instant) =>
    ([0, 'control'] as const).flatMap((arm) => {
      const devices = arm === 0 ? 100 : 900;
      const event = (name: string) => ({
        name: sumName(arm, { kind: 'event', event: name }),
        at,
        sum: random.poisson(devices * 0.002),
        count: 1,
      });
      return [
        { name: sumName(arm, { kind: 'seconds' }), at, sum: devices * 3600, count: devices },
        event('crash'),
        event('restart'),
        {
          name: sumName(arm, { kind: 'metric', signal: 'drain' }),
          at,
          sum: devices * (4 + random.uniform()),
          count: devices,
        },
      ];
    });
  return { closed: hours(0, HOURS), open: hours(HOURS, 2) };
}
