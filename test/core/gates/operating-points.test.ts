/**
 * How often gates halt what is well, and how soon they find what is not, over seeded fleets. Where a scenario is about counting, devices
 * report one by one and the product counts; rates of a percent need thousands of days, which are drawn as counts.
 * `npm run bench:gates` has the larger run, docs/gates.md its tables.
 */
import { describe, expect, test } from 'vitest';
import { receive } from '../../../src/core/assign/observe.ts';
import { logEvidence } from '../../../src/core/gates/e-process.ts';
import { type Evidence, evidenceOf, noEvidence, withRow } from '../../../src/core/gates/evidence.ts';
import { type Exposure, type MeasuredGate, type Row, rowsOf } from '../../../src/core/gates/exposure.ts';
import { readMeasured, WATCH_ALL } from '../../../src/core/gates/measured.ts';
import { readGates } from '../../../src/core/gates/reading.ts';
import type { EventGate, MetricGate } from '../../../src/core/model/gate.ts';
import { DAY, HOUR, SECOND } from '../../../src/core/model/time.ts';
import { type SeededRandom, seededRandom } from '../../../src/simulate/seeded-random.ts';
import { candidate, deviceOf, programOf, revision, stageOf } from '../assign/program.ts';
import { type CountedFleet, countedHours, type Said, type Speaker, STARTS_AT } from './counted-fleet.ts';

const ALPHA = 0.05;
const DEVICES = 1250;
/** Crashes per device-hour. */
const RATE = 0.002;
const HOURS = 24;

const crashes = (
  against: EventGate['against'],
  margin = 1,
  method: EventGate['method'] = { kind: 'sequential', margin },
): EventGate => ({ name: 'crashes', kind: 'events', event: 'crash', against, method });
const KNOWN = { kind: 'known', value: RATE } as const;
const CONTROL = { kind: 'control' } as const;

const halts = (evidence: Evidence) => logEvidence(evidence.bets) >= -Math.log(ALPHA);

/** The hour in which it halts; undefined: it does not. */
type Halt = number | undefined;
const halted = (all: readonly Halt[]) => all.filter((hour) => hour !== undefined).length / all.length;
const median = (all: readonly Halt[]) =>
  all.map((hour) => hour ?? Number.POSITIVE_INFINITY).sort((a, b) => a - b)[Math.floor(all.length / 2)];

describe('counts: 1,250 devices, an incident each 500 hours, a day, α 5 %', () => {
  interface Day {
    /** How many times as often treated devices crash. */
    readonly factor?: number;
    /** How many times as often everybody crashes in the hour, from 0. */
    readonly season?: (hour: number) => number;
    /** Untouched devices for each treated one. */
    readonly controls?: number;
    readonly looksPerHour?: number;
    readonly hours?: number;
    readonly margin?: number;
    readonly runs?: number;
  }

  /** Days as the product looks at them: hours that are over are settled, the open one grows from look to look. */
  function days(name: string, against: EventGate['against'], day: Day): readonly Halt[] {
    const {
      factor = 1,
      season = () => 1,
      controls = 4,
      looksPerHour = 1,
      hours = HOURS,
      margin,
      runs = 2000,
    } = day;
    const gate = crashes(against, margin);
    const own = against.kind === 'control' ? CONTROL : KNOWN;
    return Array.from({ length: runs }, (_, n) => {
      const random = seededRandom(`${name}/${n}`);
      let settled = noEvidence(gate);
      for (let hour = 0; hour < hours; hour += 1) {
        let [treated, control] = [0, 0];
        for (let look = 1; look <= looksPerHour; look += 1) {
          const expected = (DEVICES * RATE * season(hour)) / looksPerHour;
          treated += random.poisson(factor * expected);
          if (own === CONTROL) control += random.poisson(controls * expected);
          const over = (DEVICES * look) / looksPerHour;
          const seen = withRow(gate, own, settled, [hour * HOUR, treated, over, control, controls * over]);
          if (halts(seen)) return hour + look / looksPerHour;
          if (look === looksPerHour) settled = seen;
        }
      }
      return undefined;
    });
  }

  test('against a known rate, every hour: 1.3 % of healthy days are halted, twice the rate is found in 5 hours, four times in one', () => {
    expect(halted(days('healthy', KNOWN, {}))).toBeLessThanOrEqual(0.015);
    const twice = days('twice', KNOWN, { factor: 2 });
    expect(median(twice)).toBeLessThanOrEqual(5);
    expect(halted(twice)).toBeGreaterThan(0.99);
    expect(median(days('four times', KNOWN, { factor: 4 }))).toBe(1);
  });

  test('against four times as many untouched devices: as rarely, and hardly later', () => {
    expect(halted(days('healthy', CONTROL, {}))).toBeLessThanOrEqual(0.02);
    expect(median(days('twice', CONTROL, { factor: 2, runs: 500 }))).toBeLessThanOrEqual(7);
    expect(median(days('four times', CONTROL, { factor: 4, runs: 500 }))).toBeLessThanOrEqual(2);
  });

  test('looked at every five minutes, while the hour grows: at most 5 % of healthy days', () => {
    for (const against of [KNOWN, CONTROL])
      expect(halted(days('often', against, { looksPerHour: 12, runs: 1000 }))).toBeLessThanOrEqual(ALPHA);
  });

  test('margins: up to 1.25 times as bad is halted no more often than a healthy release without a margin', () => {
    expect(halted(days('within', KNOWN, { factor: 1.25, margin: 1.25 }))).toBeLessThanOrEqual(0.02);
    expect(halted(days('within', CONTROL, { factor: 1.25, margin: 1.25 }))).toBeLessThanOrEqual(0.02);
    expect(halted(days('healthy', CONTROL, { margin: 1.25 }))).toBeLessThanOrEqual(0.002);
    expect(median(days('twice', CONTROL, { factor: 2, margin: 1.25, runs: 500 }))).toBeLessThanOrEqual(14);
  });

  test('"twice the baseline, every hour" halts two healthy days of three', () => {
    const all = Array.from({ length: 2000 }, (_, n) => {
      const random = seededRandom(`naive/${n}`);
      for (let hour = 1; hour <= HOURS; hour += 1)
        if (random.poisson(DEVICES * RATE) > 2 * DEVICES * RATE) return hour;
      return undefined;
    });
    expect(halted(all)).toBeGreaterThan(0.58);
    expect(halted(all)).toBeLessThan(0.7);
  });

  test('S4.72 a season that makes the whole fleet half as bad again: against untouched devices healthy releases go on, against a rate that was known once four of five halt', () => {
    const season = () => 1.5;
    expect(halted(days('season', CONTROL, { season }))).toBeLessThanOrEqual(0.02);
    expect(halted(days('season', KNOWN, { season, runs: 500 }))).toBeGreaterThan(0.7);
    // It begins in the middle of the stage.
    const begins = (hour: number) => (hour < 6 ? 1 : 1.5);
    expect(halted(days('begins', CONTROL, { season: begins }))).toBeLessThanOrEqual(0.02);
    expect(halted(days('begins', KNOWN, { season: begins, runs: 500 }))).toBeGreaterThan(0.4);
  });
});

/** What each device says, made anew for each run. */
type Says = (random: SeededRandom) => (speaker: Speaker) => readonly Said[];

const everyHour = (count: number): readonly Said[] => [{ crashes: count }];

function fleetRuns(
  name: string,
  fleet: Omit<CountedFleet, 'seed'>,
  given: { readonly hours: number; readonly runs: number; readonly says: Says; readonly gate?: MeasuredGate },
): readonly Halt[] {
  const { hours, runs, says, gate = crashes(CONTROL) } = given;
  return Array.from({ length: runs }, (_, n) => {
    const seed = `${name}/${n}`;
    for (const { hour, exposure } of countedHours({ ...fleet, seed }, hours, says(seededRandom(seed))))
      if (readingOf(gate, exposure).state === 'halts') return hour + 1;
    return undefined;
  });
}

function readingOf(gate: MeasuredGate, exposure: Exposure) {
  const nothing = {
    shares: () => expect.unreachable(),
    observations: () => [],
    samples: () => [],
    approvals: () => 0,
  };
  const seen = {
    now: STARTS_AT,
    observedFrom: STARTS_AT,
    alpha: ALPHA,
    exposure,
    watch: WATCH_ALL,
    previous: () => ({}),
  };
  const [reading] = readGates([gate], { ...seen, ...nothing });
  if (reading === undefined) throw new Error('a gate without a reading');
  return reading;
}

const CANARY = [{ share: 0.2, opensIn: 0 }];

describe('counted by the product, device by device', () => {
  test('drawn counts and counted reports are the same rows, and the same evidence', () => {
    const random = seededRandom('same');
    const rows: [number, number, number, number, number][] = [];
    let last: Exposure | undefined;
    const says = ({ hour, isTreated }: Speaker) => {
      // Rare enough that no device reaches its limit.
      const count = random.uniform() < 0.003 ? 1 : 0;
      rows[hour] ??= [STARTS_AT + hour * HOUR, 0, 0, 0, 0];
      const row = rows[hour];
      // The first report on a revision may be of booting into it.
      row[isTreated ? 1 : 3] += hour === 0 ? 0 : count;
      row[isTreated ? 2 : 4] += 1;
      return everyHour(count);
    };
    for (const { exposure } of countedHours({ devices: 500, stages: CANARY, seed: 'same' }, 12, says))
      last = exposure;
    const gate = crashes(CONTROL);
    expect(rowsOf(gate, last as Exposure)).toEqual(rows);
    const reading = readMeasured(gate, {
      exposure: last as Exposure,
      watch: WATCH_ALL,
      previous: {},
      alpha: ALPHA,
    });
    expect(reading.evidence).toEqual(evidenceOf(gate, CONTROL, rows as Row[]));
  });

  test('S5.32 a new crash loop stops in the first hour, whether all devices have it or one in five', () => {
    const loop =
      (share: number): Says =>
      (random) => {
        const has = Array.from({ length: 200 }, () => random.uniform() < share);
        return ({ device, isTreated }) => everyHour(isTreated && has[device] ? 20 : random.poisson(RATE));
      };
    for (const share of [1, 0.2]) {
      const found = fleetRuns(
        `loop ${share}`,
        { devices: 200, stages: CANARY },
        { hours: 4, runs: 5, says: loop(share) },
      );
      expect(found).toEqual([1, 1, 1, 1, 1]);
    }
  });

  test('a device that crashes all the time counts twice in a stage, and its hours no longer', () => {
    const says = ({ device }: Speaker) => everyHour(device === 0 ? 100 : 0);
    let last: Exposure | undefined;
    const stages = [{ share: 1, opensIn: 0 }];
    for (const { exposure } of countedHours({ devices: 5, stages, seed: 'one' }, 10, says)) last = exposure;
    const rows = rowsOf(crashes(CONTROL), last as Exposure);
    expect(rows.map((row) => row[1])).toEqual([1, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    expect(rows.map((row) => row[2])).toEqual([5, 5, 4, 4, 4, 4, 4, 4, 4, 4]);
  });

  test('one hostile device of fifty that reports crashes at every chance halts nothing alone', () => {
    for (const devices of [250, 500]) {
      let hostile: number | undefined;
      const says =
        () =>
        ({ device, isTreated, hour }: Speaker) => {
          if (isTreated) hostile ??= device;
          // Several reports in an hour, each with crashes, and no time.
          if (device === hostile) return Array.from({ length: 3 }, () => ({ crashes: 1000, hours: 0 }));
          // One of the others in five hundred hours: what is usual.
          return everyHour((hour * devices + device) % 500 === 0 ? 1 : 0);
        };
      const fleet = { devices, stages: [{ share: 50 / devices, opensIn: 0 }] };
      expect(fleetRuns(`hostile of ${devices}`, fleet, { hours: 24, runs: 1, says })).toEqual([undefined]);
    }
  });

  test('a device that claims a day in each report cannot dilute: it counts a day at first, and then what passes', () => {
    const claims = ({ device }: Speaker) =>
      device === 0 ? Array.from({ length: 5 }, () => ({ hours: 24 })) : everyHour(0);
    let last: Exposure | undefined;
    const stages = [{ share: 1, opensIn: 0 }];
    for (const { exposure } of countedHours({ devices: 10, stages, seed: 'claims' }, 48, claims))
      last = exposure;
    const hours = rowsOf(crashes(CONTROL), last as Exposure).reduce((sum, row) => sum + row[2], 0);
    expect(hours).toBe(9 * 48 + 24 + 47);
  });

  test('nor has it credit for the weeks between two attempts in which nobody watched', () => {
    const watches = { events: ['crash'], metrics: [], silent: false };
    const attempt = (n: number) => programOf({ candidate: candidate(n, [stageOf()], { watches }) });
    const said = (seq: number, running: number) => ({
      bootId: 'boot',
      seq,
      generation: 1,
      running: revision(running),
      signals: {},
      exposureHours: 24,
      events: {},
    });
    const first = receive(attempt(1), deviceOf('one'), said(1, 1), STARTS_AT).record;
    let counted = 0;
    let device = first;
    for (let seq = 2; seq < 12; seq += 1) {
      const { record, amounts } = receive(attempt(2), device, said(seq, 2), STARTS_AT + 30 * DAY);
      device = record;
      counted += amounts.reduce((sum, { amount }) => sum + amount, 0);
    }
    expect(counted).toBe((24 * HOUR) / SECOND);
  });

  const someCrashOften =
    (share: number, { often, seldom }: { often: number; seldom: number }): Says =>
    (random) => {
      const rates = Array.from({ length: 500 }, () => (random.uniform() < share ? often : seldom));
      return ({ device }) => everyHour(random.poisson(rates[device] ?? 0));
    };

  test('crashes that cluster: one device in ten crashes twenty times as often', () => {
    const says = someCrashOften(0.1, { often: 0.1, seldom: 0.005 });
    const all = fleetRuns('cluster', { devices: 200, stages: CANARY }, { hours: 24, runs: 20, says });
    expect(halted(all)).toBeLessThanOrEqual(ALPHA);
  });

  test('stages that grow: devices that move from control to treated bring along what they are, and what has been counted of them', () => {
    const stages = [
      { share: 0.1, opensIn: 0 },
      { share: 0.5, opensIn: 8 },
      { share: 0.9, opensIn: 16 },
    ];
    // One in ten is broken, whatever runs on it. Were a new stage's devices counted afresh and those that wait not, nine in ten would halt.
    const says = someCrashOften(0.1, { often: 2, seldom: 0.005 });
    const given = { hours: 24, runs: 10, says };
    expect(halted(fleetRuns('grows', { devices: 400, stages }, given))).toBeLessThanOrEqual(0.1);
  });

  test('late reports: a third of the devices is heard of twice a day', () => {
    const late: Says = (random) => {
      const is = Array.from({ length: 200 }, () => random.uniform() < 1 / 3);
      return ({ device, hour }) => {
        if (!is[device]) return everyHour(random.poisson(0.02));
        return (hour + device) % 12 === 0 ? [{ crashes: random.poisson(12 * 0.02), hours: 12 }] : [];
      };
    };
    const all = fleetRuns('late', { devices: 200, stages: CANARY }, { hours: 24, runs: 20, says: late });
    expect(halted(all)).toBeLessThanOrEqual(ALPHA);
  });

  test('sites: an outage that crashes all devices of a site is one incident of the site', () => {
    const outages: Says = (random) => {
      let [hour, out] = [-1, new Set<number>()];
      return (speaker) => {
        if (speaker.hour !== hour) {
          hour = speaker.hour;
          out = new Set(Array.from({ length: 40 }, (_, site) => site).filter(() => random.uniform() < 0.02));
        }
        return everyHour(out.has(speaker.device % 40) ? 1 : 0);
      };
    };
    const tagsOf = (n: number) => ({ site: `site-${n % 40}` });
    const stage = { share: 0.25, opensIn: 0, unit: 'site' };
    const all = fleetRuns(
      'sites',
      { devices: 200, tagsOf, stages: [stage] },
      { hours: 24, runs: 20, says: outages },
    );
    expect(halted(all)).toBeLessThanOrEqual(ALPHA);
  });

  test('sites that come whole at first and devices later count alike in both arms', () => {
    const stages = [
      { share: 0.2, opensIn: 0, unit: 'site' },
      { share: 0.6, opensIn: 1 },
    ];
    const says = ({ hour }: Speaker) => everyHour(hour === 2 ? 1 : 0);
    let last: Exposure | undefined;
    const tagsOf = (n: number) => ({ site: `site-${n % 5}` });
    const fleet = { devices: 20, tagsOf, stages, seed: 'mixed' };
    for (const { exposure } of countedHours(fleet, 3, says)) last = exposure;
    const [, , row] = rowsOf(crashes(CONTROL), last as Exposure);
    // Not one per device: one per site, in whichever arm it was heard of first.
    expect((row?.[1] ?? 0) + (row?.[3] ?? 0)).toBe(5);
  });
});

describe('metrics: a canary of 20 beside 180, an hour at a time, against untouched devices', () => {
  const drain = (worse: MetricGate['worse'], margin = 1): MetricGate => ({
    name: 'drain',
    kind: 'metric',
    signal: 'drain',
    against: CONTROL,
    method: { kind: 'sequential', margin },
    worse,
  });
  const normal = (random: SeededRandom) =>
    1 + 0.5 * Math.sqrt(-2 * Math.log(1 - random.uniform())) * Math.cos(2 * Math.PI * random.uniform());
  /** Of fifty values one is large. */
  const skewed = (random: SeededRandom) => (random.uniform() < 0.02 ? 20 : 0.6 / 0.98);

  function weeks(
    name: string,
    gate: MetricGate,
    {
      value,
      factor = 1,
      hours = 168,
      runs = 100,
    }: { value: (random: SeededRandom) => number; factor?: number; hours?: number; runs?: number },
  ): readonly Halt[] {
    return Array.from({ length: runs }, (_, n) => {
      const random = seededRandom(`${name}/${n}`);
      const sum = (devices: number) => {
        let total = 0;
        for (let device = 0; device < devices; device += 1) total += value(random);
        return total;
      };
      let evidence = noEvidence(gate);
      for (let hour = 0; hour < hours; hour += 1) {
        evidence = withRow(gate, CONTROL, evidence, [hour * HOUR, factor * sum(20), 20, sum(180), 180]);
        if (halts(evidence)) return hour + 1;
      }
      return undefined;
    });
  }

  test('no difference: at most 5 % of weeks, also where values are skewed', () => {
    expect(halted(weeks('normal', drain('higher'), { value: normal }))).toBeLessThanOrEqual(ALPHA);
    expect(halted(weeks('skewed', drain('higher'), { value: skewed }))).toBeLessThanOrEqual(ALPHA);
    // Rare good hours of the few, which a bet must not cut off.
    expect(halted(weeks('skewed', drain('lower'), { value: skewed }))).toBeLessThanOrEqual(0.1);
  });

  test('a fifth more drain is found in a median of 15 hours, half as much again within its margin as soon', () => {
    expect(median(weeks('more', drain('higher'), { value: normal, factor: 1.2 }))).toBeLessThanOrEqual(16);
    expect(median(weeks('half', drain('higher', 1.25), { value: normal, factor: 1.5 }))).toBeLessThanOrEqual(
      16,
    );
  });
});
