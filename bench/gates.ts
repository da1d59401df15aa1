/**
 * `npm run bench:gates`: how often rules halt a healthy release, and how soon they find a bad one, over seeded days of fleets, as Markdown
 * for docs/gates.md. Nothing here is a measurement of this machine.
 */
import {
  type Bets,
  betAgainstControl,
  betOnRate,
  logEvidence,
  noBets,
  RATE_GRID,
  reaches,
} from '../src/core/gates/e-process.ts';
import { evidenceOf, noEvidence, withRow } from '../src/core/gates/evidence.ts';
import { rowsOf } from '../src/core/gates/exposure.ts';
import type { EventGate, MetricGate } from '../src/core/model/gate.ts';
import { type SeededRandom, seededRandom } from '../src/simulate/seeded-random.ts';
import {
  type CountedFleet,
  countedHours,
  type Said,
  type Speaker,
} from '../test/core/gates/counted-fleet.ts';

const ALPHA = 0.05;
const DEVICES = 1250;
const RATE = 0.002;
const HOURS = 24;
const RUNS = 10_000;
/** Untouched devices for each treated one. */
const CONTROLS = 4;

type Halt = number | undefined;

const share = (all: readonly Halt[], until = Number.POSITIVE_INFINITY) =>
  `${((100 * all.filter((at) => at !== undefined && at <= until).length) / all.length).toFixed(1)} %`;
const median = (all: readonly Halt[]) => {
  const sorted = all.map((at) => at ?? Number.POSITIVE_INFINITY).sort((a, b) => a - b);
  const found = sorted[Math.floor(sorted.length / 2)] ?? Number.POSITIVE_INFINITY;
  return Number.isFinite(found) ? `${Number(found.toFixed(1))} h` : 'not in time';
};

// 1. Rules over counts

/** What an interval brought: to the treated arm, of how many expected; and to untouched devices. */
interface Seen {
  readonly incidents: number;
  readonly expected: number;
  readonly control: number;
  readonly controlExpected: number;
}

/** A day's watch: told what an interval brought, it halts or not. */
type Watch = (seen: Seen) => boolean;

interface Rule {
  readonly name: string;
  readonly oneArm: () => Watch;
  readonly twoArms: () => Watch;
}

const arms = (seen: Seen, margin: number) => ({
  treated: { incidents: seen.incidents, exposure: seen.expected },
  control: { incidents: seen.control, exposure: seen.controlExpected },
  margin,
});

const sequential = (name: string, grid: readonly number[], margin = 1): Rule => ({
  name,
  oneArm: () => {
    let bets = noBets(grid);
    return ({ incidents, expected }) => {
      bets = betOnRate(bets, { incidents, expected: margin * expected }, grid);
      return reaches(bets, ALPHA);
    };
  },
  twoArms: () => {
    let bets = noBets(grid);
    return (seen) => {
      bets = betAgainstControl(bets, arms(seen, margin), grid);
      return reaches(bets, ALPHA);
    };
  },
});

/** Bets on the ratio that was seen so far, drawn towards 2; alone, or with half of the stake, the grid having the other half. */
const plugIn = (name: string, grid: readonly number[]): Rule => {
  const watch = (
    bet: (bets: Bets, seen: Seen, on: readonly number[]) => Bets,
    ratioOf: (total: Seen) => number,
  ) => {
    let [fixed, moving]: [Bets, Bets] = [noBets(grid), [0]];
    let total: Seen = { incidents: 0, expected: 0, control: 0, controlExpected: 0 };
    return (seen: Seen) => {
      fixed = bet(fixed, seen, grid);
      moving = bet(moving, seen, [Math.max(1.05, ratioOf(total))]);
      total = {
        incidents: total.incidents + seen.incidents,
        expected: total.expected + seen.expected,
        control: total.control + seen.control,
        controlExpected: total.controlExpected + seen.controlExpected,
      };
      return reaches(grid.length === 0 ? moving : [logEvidence(fixed), logEvidence(moving)], ALPHA);
    };
  };
  return {
    name,
    oneArm: () =>
      watch(
        (bets, seen, on) => betOnRate(bets, seen, on),
        (total) => (total.incidents + 4) / (total.expected + 2),
      ),
    twoArms: () =>
      watch(
        (bets, seen, on) => betAgainstControl(bets, arms(seen, 1), on),
        (total) =>
          (total.incidents + 4) / (total.expected * ((total.control + 2) / (total.controlExpected + 2)) + 2),
      ),
  };
};

const twice: Rule = {
  name: 'twice the baseline',
  oneArm:
    () =>
    ({ incidents, expected }) =>
      incidents > 2 * expected,
  twoArms:
    () =>
    ({ incidents, expected, control, controlExpected }) =>
      incidents * controlExpected > 2 * control * expected,
};

/** A test at level α on all that was seen so far, again at each look: what many do, and what no level survives. */
const repeated: Rule = {
  name: 'a fixed-level test, repeated',
  oneArm: () => {
    let [incidents, expected] = [0, 0];
    return (seen) => {
      incidents += seen.incidents;
      expected += seen.expected;
      return poissonTail(incidents, expected) <= ALPHA;
    };
  },
  twoArms: () => {
    let [incidents, all] = [0, 0];
    return (seen) => {
      incidents += seen.incidents;
      all += seen.incidents + seen.control;
      return binomialTail(incidents, all, seen.expected / (seen.expected + seen.controlExpected)) <= ALPHA;
    };
  },
};

/** P(X ≥ k) of a Poisson count. */
function poissonTail(k: number, mean: number): number {
  let [term, below] = [Math.exp(-mean), 0];
  for (let n = 0; n < k; n += 1) {
    below += term;
    term *= mean / (n + 1);
  }
  return 1 - below;
}

/** P(X ≥ k) of a binomial count. */
function binomialTail(k: number, n: number, p: number): number {
  let [term, below] = [Math.exp(n * Math.log1p(-p)), 0];
  for (let i = 0; i < k; i += 1) {
    below += term;
    term *= ((n - i) / (i + 1)) * (p / (1 - p));
  }
  return 1 - below;
}

const OURS = 'grid 1.5 2 4 10 (ours)';
const RULES: readonly Rule[] = [
  sequential(OURS, RATE_GRID),
  sequential('the same, margin 1.25 (as it comes)', RATE_GRID, 1.25),
  sequential('grid 2 4', [2, 4]),
  sequential('grid 1.5 3', [1.5, 3]),
  sequential('grid 1.25 1.5 2 3 5 10 20', [1.25, 1.5, 2, 3, 5, 10, 20]),
  plugIn('plug-in', []),
  plugIn('plug-in and grid, half each', RATE_GRID),
  twice,
  repeated,
];

function halts(
  rule: Rule,
  way: 'oneArm' | 'twoArms',
  given: { readonly factor: number; readonly looks: number; readonly season?: (hour: number) => number },
): readonly Halt[] {
  const { factor, looks, season = () => 1 } = given;
  const expected = (DEVICES * RATE) / looks;
  const controlExpected = CONTROLS * expected;
  return Array.from({ length: RUNS }, (_, n) => {
    // All rules look at the same days.
    const random = seededRandom(`${way}/${factor}/${looks}/${n}`);
    const watch = rule[way]();
    for (let look = 1; look <= HOURS * looks; look += 1) {
      const shifted = season((look - 1) / looks);
      const incidents = random.poisson(expected * shifted * factor);
      const control = way === 'twoArms' ? random.poisson(controlExpected * shifted) : 0;
      if (watch({ incidents, expected, control, controlExpected })) return look / looks;
    }
    return undefined;
  });
}

for (const [way, against] of [
  ['twoArms', 'against four times as many untouched devices'],
  ['oneArm', 'against a rate that is known'],
] as const) {
  for (const [looks, when] of [
    [1, 'every hour'],
    [12, 'every five minutes'],
  ] as const) {
    console.log(`\n**Looked at ${when}, ${against}**\n`);
    console.log('| rule | healthy: halted | 1.5 times worse | 2 times | 4 times |');
    console.log('|---|---|---|---|---|');
    for (const rule of looks === 1
      ? RULES
      : RULES.filter((each) => !each.name.startsWith('grid') || each.name === OURS)) {
      const at = (factor: number) => halts(rule, way, { factor, looks });
      console.log(
        `| ${rule.name} | ${share(at(1))} | ${[1.5, 2, 4].map((factor) => median(at(factor))).join(' | ')} |`,
      );
    }
  }
}

// 2. A season that makes the whole fleet half as bad again

const [ours = sequential(OURS, RATE_GRID)] = RULES;
console.log(
  '\n| healthy, and the whole fleet crashes half as often again | untouched devices | a rate that was known |',
);
console.log('|---|---|---|');
for (const [name, season] of [
  ['all day', () => 1.5],
  ['from the seventh hour on', (hour: number) => (hour < 6 ? 1 : 1.5)],
] as const) {
  const at = (way: 'oneArm' | 'twoArms') => share(halts(ours, way, { factor: 1, looks: 1, season }));
  console.log(`| ${name} | ${at('twoArms')} | ${at('oneArm')} |`);
}

// 3. What is not Poisson, device by device, as the product counts

type Says = (random: SeededRandom) => (speaker: Speaker) => readonly Said[];
const said = (crashes: number): readonly Said[] => [{ crashes }];
const FLEET = 300;
const FLEET_RUNS = 150;

/** Rates per device-hour: `often` of that share, `seldom` of the rest. */
const some =
  (part: number, often: number, seldom: number): Says =>
  (random) => {
    const rates = Array.from({ length: FLEET }, () => (random.uniform() < part ? often : seldom));
    return ({ device }) => said(random.poisson(rates[device] ?? 0));
  };
const ONE_STAGE: CountedFleet['stages'] = [{ share: 0.2, opensIn: 0 }];
const GROWING: CountedFleet['stages'] = [
  { share: 0.1, opensIn: 0 },
  { share: 0.5, opensIn: 8 },
  { share: 0.9, opensIn: 16 },
];
const late: Says = (random) => {
  const isLate = Array.from({ length: FLEET }, () => random.uniform() < 1 / 3);
  return ({ device, hour }) => {
    if (!isLate[device]) return said(random.poisson(0.02));
    return (hour + device) % 12 === 0 ? [{ crashes: random.poisson(12 * 0.02), hours: 12 }] : [];
  };
};
const SITES = 60;
const outages =
  (frail: number): Says =>
  (random) => {
    const rates = Array.from({ length: SITES }, () => (random.uniform() < frail ? 0.2 : 0.02));
    let [hour, out] = [-1, new Set<number>()];
    return (speaker) => {
      if (speaker.hour !== hour) {
        hour = speaker.hour;
        out = new Set(rates.keys().filter((site) => random.uniform() < (rates[site] ?? 0)));
      }
      return said(out.has(speaker.device % SITES) ? 1 : 0);
    };
  };
const tagsOf = (n: number) => ({ site: `site-${n % SITES}` });
const BY_SITE: CountedFleet['stages'] = [{ share: 0.2, opensIn: 0, unit: 'site' }];

const hostileOf =
  (rest: Says): Says =>
  (random) => {
    const others = rest(random);
    let hostile: number | undefined;
    return (speaker) => {
      if (speaker.isTreated) hostile ??= speaker.device;
      return speaker.device === hostile ? said(1000) : others(speaker);
    };
  };
const even = some(0, 0, 0.002);

const FLEETS: readonly (readonly [string, CountedFleet['stages'], Says])[] = [
  ['all crash alike (0.02 per hour), one stage', ONE_STAGE, some(0, 0, 0.02)],
  ['one in ten crashes 20 times as often', ONE_STAGE, some(0.1, 0.1, 0.005)],
  ['one in ten is broken and crashes every half hour', ONE_STAGE, some(0.1, 2, 0.005)],
  ['all crash alike, stages of 10, 50 and 90 %', GROWING, some(0, 0, 0.02)],
  ['one in ten crashes 20 times as often, stages of 10, 50 and 90 %', GROWING, some(0.1, 0.1, 0.005)],
  ['one in ten is broken, stages of 10, 50 and 90 %', GROWING, some(0.1, 2, 0.005)],
  ['one in three is heard of every 12 hours', ONE_STAGE, late],
  ['outages of whole sites, stages of sites', BY_SITE, outages(0)],
  ['the same, one site in ten with ten times as many', BY_SITE, outages(0.1)],
  ['the same, stages of devices', ONE_STAGE, outages(0)],
  ['one hostile device of 60', ONE_STAGE, hostileOf(even)],
  ['one hostile device of 15', [{ share: 0.05, opensIn: 0 }], hostileOf(even)],
];

const gateOf = (margin: number): EventGate => ({
  name: 'crashes',
  kind: 'events',
  event: 'crash',
  against: { kind: 'control' },
  method: { kind: 'sequential', margin },
});
console.log(`\n| healthy, ${FLEET} devices, ${FLEET_RUNS} days each | halted, margin 1 | margin 1.25 |`);
console.log('|---|---|---|');
for (const [name, stages, says] of FLEETS) {
  const margins = [1, 1.25].map((margin) => ({ gate: gateOf(margin), all: [] as Halt[] }));
  for (let n = 0; n < FLEET_RUNS; n += 1) {
    const seed = `${name}/${n}`;
    const days = countedHours({ devices: FLEET, stages, tagsOf, seed }, HOURS, says(seededRandom(seed)));
    const rows = [...days].at(-1)?.exposure;
    for (const { gate, all } of margins) {
      let evidence = evidenceOf(gate, { kind: 'control' }, []);
      const found =
        rows === undefined
          ? -1
          : rowsOf(gate, rows).findIndex((row) => {
              evidence = withRow(gate, { kind: 'control' }, evidence, row);
              return reaches(evidence.bets, ALPHA);
            });
      all.push(found === -1 ? undefined : found + 1);
    }
  }
  console.log(`| ${name} | ${margins.map(({ all }) => share(all)).join(' | ')} |`);
}

// 4. Metrics

const normal = (random: SeededRandom) =>
  Math.sqrt(-2 * Math.log(1 - random.uniform())) * Math.cos(2 * Math.PI * random.uniform());
type Value = (random: SeededRandom) => number;
const spreadOf =
  (deviation: number): Value =>
  (random) =>
    1 + deviation * normal(random);
const skewed: Value = (random) => Math.exp(normal(random) - 0.5);
const spikes: Value = (random) => (random.uniform() < 0.02 ? 20 : 0.6 / 0.98);

interface Week {
  readonly treated?: number;
  readonly value: Value;
  readonly worse?: 'higher' | 'lower';
  readonly factor?: number;
  readonly margin?: number;
  /** How far devices lie apart for good, as a share of their mean. */
  readonly lasting?: number;
}

function weeks(name: string, week: Week): readonly Halt[] {
  const { treated = 20, value, worse = 'higher', factor = 1, margin = 1, lasting = 0 } = week;
  const gate: MetricGate = {
    name: 'drain',
    kind: 'metric',
    signal: 'drain',
    worse,
    against: { kind: 'control' },
    method: { kind: 'sequential', margin },
  };
  return Array.from({ length: 200 }, (_, n) => {
    const random = seededRandom(`${name}/${n}`);
    const devices = (count: number) => Array.from({ length: count }, () => 1 + lasting * normal(random));
    const [own, others] = [devices(treated), devices(9 * treated)];
    const sum = (of: readonly number[]) => of.reduce((total, device) => total + device * value(random), 0);
    let evidence = noEvidence(gate);
    for (let hour = 0; hour < 168; hour += 1) {
      const row = [hour, factor * sum(own), own.length, sum(others), others.length] as const;
      evidence = withRow(gate, { kind: 'control' }, evidence, row);
      if (reaches(evidence.bets, ALPHA)) return hour + 1;
    }
    return undefined;
  });
}

console.log('\n| metric, of 20 devices beside 180 | halted within a day | a week | median |');
console.log('|---|---|---|---|');
for (const [name, week] of [
  ['no difference, values spread by half of their mean', { value: spreadOf(0.5) }],
  ['no difference, log-normal', { value: skewed }],
  ['no difference, log-normal, lower is worse', { value: skewed, worse: 'lower' }],
  [
    'no difference, one value in fifty is 30 times the others, lower is worse',
    { value: spikes, worse: 'lower' },
  ],
  ['the same, 5 devices beside 45', { value: spikes, worse: 'lower', treated: 5 }],
  ['devices differ for good by 30 %', { value: spreadOf(0.3), lasting: 0.3 }],
  ['the same, margin 1.1', { value: spreadOf(0.3), lasting: 0.3, margin: 1.1 }],
  ['the same, margin 1.25', { value: spreadOf(0.3), lasting: 0.3, margin: 1.25 }],
  ['a fifth more', { value: spreadOf(0.5), factor: 1.2 }],
  ['a fifth more, log-normal', { value: skewed, factor: 1.2 }],
  ['half as much again, margin 1.25', { value: spreadOf(0.5), factor: 1.5, margin: 1.25 }],
] as const satisfies readonly (readonly [string, Week])[]) {
  const all = weeks(name, week);
  console.log(`| ${name} | ${share(all, 24)} | ${share(all)} | ${median(all)} |`);
}
