/**
 * A fleet whose reports are counted by the product itself: device by device through `receive`, added up as a store does, read as
 * the planner reads them. What devices suffer, when they report and what the stages take in is a test's to say.
 */
import { stageOf as indexOf, unitIdOf } from '../../../src/core/assign/assign.ts';
import { type Amount, receive } from '../../../src/core/assign/observe.ts';
import { subjectOf } from '../../../src/core/assign/subject.ts';
import { type Exposure, type HourSum, type Interval, intervalsOf } from '../../../src/core/gates/exposure.ts';
import type { DeviceRecord, Report } from '../../../src/core/model/device.ts';
import type { Score } from '../../../src/core/model/ids.ts';
import type { OpenStage, Watches } from '../../../src/core/model/program.ts';
import { HOUR, type Instant } from '../../../src/core/model/time.ts';
import { scoreOf } from '../../../src/core/select/score.ts';
import { addedUp, type LimitUse } from '../../../src/store/sums.ts';
import { candidate, deviceOf, programOf, revision, stageOf } from '../assign/program.ts';

export const STARTS_AT: Instant = Date.UTC(2026, 0, 1);

export interface CountedFleet {
  readonly devices: number;
  readonly stages: readonly {
    /** Of all units, those of earlier stages included. */
    readonly share: number;
    /** The hour in which it opens, from 0. */
    readonly opensIn: number;
    /** A tag; absent: devices. */
    readonly unit?: string;
  }[];
  readonly tagsOf?: (device: number) => Readonly<Record<string, string>>;
  /** Decides who is in which stage. */
  readonly seed: string;
}

/** One report. */
export interface Said {
  readonly crashes?: number;
  /** Absent: 1. */
  readonly hours?: number;
}

export interface Speaker {
  readonly device: number;
  readonly hour: number;
  readonly isTreated: boolean;
}

/** Hour by hour, what was counted until the end of it. */
export function* countedHours(
  fleet: CountedFleet,
  hours: number,
  says: (speaker: Speaker) => readonly Said[],
): Generator<{ readonly hour: number; readonly exposure: Exposure }> {
  const { devices, stages, tagsOf = () => ({}), seed } = fleet;
  const records = Array.from({ length: devices }, (_, n): DeviceRecord => {
    return { ...deviceOf(`device-${n}`), tags: { product: 'kiosk', ...tagsOf(n) } };
  });
  const sums = createSums();
  const closed: Interval[] = [];
  let open: readonly OpenStage[] = [];
  let program = programOf();
  let isTreated: readonly boolean[] = [];
  for (let hour = 0; hour < hours; hour += 1) {
    const now = STARTS_AT + hour * HOUR + HOUR / 2;
    const opened = stages.filter(({ opensIn }) => opensIn <= hour);
    if (hour === 0 || opened.length !== open.length) {
      open = opened.map(({ share, unit = 'device' }, index) =>
        stageOf({
          name: `stage-${index}`,
          unit,
          admits: { kind: 'upTo', score: lastOf(share, unit, records, seed) },
        }),
      );
      const attempt = candidate(2, open, { seed, watches: WATCHES });
      program = programOf({ candidate: attempt });
      isTreated = records.map((record) => indexOf(attempt, subjectOf(program, record), now) !== undefined);
    }
    for (const [device, treated] of isTreated.entries()) {
      for (const said of says({ device, hour, isTreated: treated })) {
        const before = records[device] as DeviceRecord;
        const report: Report = {
          bootId: 'boot',
          seq: (before.report?.boots[0]?.seq ?? 0) + 1,
          generation: 1,
          running: revision(treated ? 2 : 1),
          signals: {},
          exposureHours: said.hours ?? 1,
          events: { crash: said.crashes ?? 0 },
        };
        const { record, amounts } = receive(program, before, report, now);
        records[device] = record;
        sums.add(amounts);
      }
    }
    closed.push(...intervalsOf(sums.taken()));
    yield { hour, exposure: { closed, open: [] } };
  }
}

const WATCHES: Watches = { events: ['crash'], metrics: [], silent: false };

/** The score of the last unit that a stage of this share takes in. */
function lastOf(share: number, unit: string, records: readonly DeviceRecord[], seed: string): Score {
  const units = new Set(records.map((record) => unitIdOf(unit, record) ?? record.id));
  const scores = [...units].map((id) => scoreOf(seed, id)).sort();
  return scores[Math.round(share * scores.length) - 1] ?? ('0'.repeat(16) as Score);
}

/** As the store keeps them. */
function createSums(): { add(amounts: readonly Amount[]): void; taken(): readonly HourSum[] } {
  const limits = new Map<string, LimitUse>();
  let hour: Amount[] = [];
  return {
    add: (amounts) => void hour.push(...amounts),
    taken() {
      const { sums, limits: used } = addedUp(hour, (_series, key) => limits.get(key));
      for (const use of used) limits.set(use.key, use);
      hour = [];
      return sums;
    },
  };
}
