/**
 * `npm run bench:gates`: how often rules halt a healthy release, and how soon they find a bad one, over seeded days of a fleet:
 * 1,250 devices, an incident each 500 hours, Poisson, no margin, α 5 %. Nothing here is a measurement of this machine.
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
import { type SeededRandom, seededRandom } from '../test/core/gates/seeded-random.ts';

const ALPHA = 0.05;
const DEVICES = 1250;
const RATE = 0.002;
const HOURS = 24;
const RUNS = 20_000;

/** A day's watch: told what an interval brought, it halts or not. */
type Watch = (seen: { readonly incidents: number; readonly expected: number }) => boolean;

const sequential = (grid: readonly number[]) => (): Watch => {
  let bets = noBets(grid);
  return (seen) => {
    bets = betOnRate(bets, seen, grid);
    return reaches(bets, ALPHA);
  };
};

/** Bets on the ratio that was seen so far, drawn towards 2: one bet instead of a grid. */
const plugIn = (): Watch => {
  let bets: Bets = [0];
  let [incidents, expected] = [0, 0];
  return (seen) => {
    const ratio = Math.max(1.05, (incidents + 4) / (expected + 2));
    bets = betOnRate(bets, seen, [ratio]);
    incidents += seen.incidents;
    expected += seen.expected;
    return logEvidence(bets) >= -Math.log(ALPHA);
  };
};

const naive =
  (): Watch =>
  ({ incidents, expected }) =>
    incidents > 2 * expected;

/** A test at level α on all that was seen so far, again at each look: what many do, and what no level survives. */
const repeated = (): Watch => {
  let [incidents, expected] = [0, 0];
  return (seen) => {
    incidents += seen.incidents;
    expected += seen.expected;
    return tailOf(incidents, expected) <= ALPHA;
  };
};

/** P(X ≥ k) of a Poisson count. */
function tailOf(k: number, mean: number): number {
  let [term, below] = [Math.exp(-mean), 0];
  for (let n = 0; n < k; n += 1) {
    below += term;
    term *= mean / (n + 1);
  }
  return 1 - below;
}

const RULES: readonly (readonly [string, () => Watch])[] = [
  ['sequential, grid 1.5 2 4 10 (ours)', sequential(RATE_GRID)],
  ['sequential, grid 2 4', sequential([2, 4])],
  ['sequential, grid 1.25 1.5 2 3 5 10 20', sequential([1.25, 1.5, 2, 3, 5, 10, 20])],
  ['sequential, plug-in', plugIn],
  ['twice the baseline, at each look', naive],
  ['a fixed-level test, at each look', repeated],
];

function halts(
  name: string,
  makeWatch: () => Watch,
  { factor, looks }: { factor: number; looks: number },
): readonly (number | undefined)[] {
  const expected = (DEVICES * RATE) / looks;
  return Array.from({ length: RUNS }, (_, n) => {
    const random = seededRandom(`${name}/${factor}/${looks}/${n}`);
    const watch = makeWatch();
    for (let look = 1; look <= HOURS * looks; look += 1)
      if (watch({ incidents: random.poisson(expected * factor), expected })) return look / looks;
    return undefined;
  });
}

const share = (all: readonly (number | undefined)[]) =>
  `${((100 * all.filter((at) => at !== undefined).length) / all.length).toFixed(1)} %`;
const median = (all: readonly (number | undefined)[]) => {
  const sorted = all.map((at) => at ?? Number.POSITIVE_INFINITY).sort((a, b) => a - b);
  const found = sorted[Math.floor(sorted.length / 2)] ?? Number.POSITIVE_INFINITY;
  return Number.isFinite(found) ? `${Number(found.toFixed(1))} h` : 'not in a day';
};

for (const [looks, when] of [
  [1, 'Looked at every hour'],
  [12, 'Looked at every five minutes'],
] as const) {
  console.log(`\n${when}, ${RUNS.toLocaleString('en-US')} days each\n`);
  console.log('| rule | healthy: halted | 1.5 times worse | 2 times | 4 times |');
  console.log('|---|---|---|---|---|');
  for (const [name, makeWatch] of RULES) {
    const at = (factor: number) => halts(name, makeWatch, { factor, looks });
    console.log(
      `| ${name} | ${share(at(1))} | ${[1.5, 2, 4].map((factor) => median(at(factor))).join(' | ')} |`,
    );
  }
}

/** Ten times as many untouched devices, and a morning in which the whole fleet has half as many incidents again. */
function season(rule: (random: SeededRandom, hour: number) => boolean, name: string): string {
  const all = Array.from({ length: RUNS }, (_, n) => {
    const random = seededRandom(`season/${name}/${n}`);
    for (let hour = 1; hour <= HOURS; hour += 1) if (rule(random, hour)) return hour;
    return undefined;
  });
  return share(all);
}
const shifted = (hour: number) => DEVICES * RATE * (hour > 6 ? 1.5 : 1);
const withControl = () => {
  let bets = noBets(RATE_GRID);
  return (random: SeededRandom, hour: number) => {
    if (hour === 1) bets = noBets(RATE_GRID);
    const treated = { incidents: random.poisson(shifted(hour)), exposure: DEVICES };
    const control = { incidents: random.poisson(10 * shifted(hour)), exposure: 10 * DEVICES };
    bets = betAgainstControl(bets, { treated, control, margin: 1 });
    return reaches(bets, ALPHA);
  };
};
const withoutControl = () => {
  let bets = noBets(RATE_GRID);
  return (random: SeededRandom, hour: number) => {
    if (hour === 1) bets = noBets(RATE_GRID);
    bets = betOnRate(bets, { incidents: random.poisson(shifted(hour)), expected: DEVICES * RATE });
    return reaches(bets, ALPHA);
  };
};
console.log(
  '\nA healthy release, and a season that makes everything half as bad again from the seventh hour on\n',
);
console.log(`- against untouched devices: halted on ${season(withControl(), 'control')} of days`);
console.log(`- against a rate that was known once: on ${season(withoutControl(), 'known')}`);
