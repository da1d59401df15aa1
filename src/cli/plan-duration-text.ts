/** What `tidegate plan duration` says to people: a line per figure, with what it was worked out from. */
import { type Factor, RARE_BUG_RATIO_MAX, SMALL_STAGE_DEVICES } from '../core/estimate/adaptive-duration.ts';
import {
  ALL_CIRCUMSTANCES,
  CIRCUMSTANCES,
  type Circumstance,
  paceOf,
  thatMakeIt,
} from '../core/estimate/circumstances.ts';
import type { Damage } from '../core/estimate/damage.ts';
import { BUG_CLASSES, type BugClass, shareShown } from '../core/estimate/duration.ts';
import { type DurationMs, formatDuration, HOUR } from '../core/model/time.ts';
import { formatCount, formatPercent, plural } from '../core/words.ts';
import { hanging, type Output, wrap } from './output.ts';
import type { DurationEstimate } from './plan-duration.ts';

export function estimateLines(estimate: DurationEstimate, out: Output): string[] {
  const { devices, failureRate, mttf } = estimate.options;
  const who = `${plural(devices, 'device')}, ${formatPercent(failureRate)} of which fail after ${inHours(mttf)} on average`;
  return [
    ...wrap(who, out).map((line) => out.paint('bold', line)),
    '',
    ...factsOf(estimate).flatMap(([name, text]) => hanging(name, text, FACT_WIDTH, out)),
    '',
    ...paceTexts(estimate).flatMap((text) => wrap(text, out)),
  ];
}

const FACT_WIDTH = 'expected failures'.length;

function factsOf(estimate: DurationEstimate): [string, string][] {
  const { options, damage } = estimate;
  return [
    ['expected failures', failuresText(estimate)],
    ['first failure', firstFailureText(estimate)],
    ['minimum', minimumText(estimate)],
    ['recommended', recommendedText(estimate)],
    ...(options.bugClass === undefined ? [] : [bugClassFact(options.bugClass)]),
    [`stage ${options.stage}`, adaptiveText(estimate)],
    ...(damage === undefined ? [] : [damageFact(damage)]),
  ];
}

function failuresText({ options, duration }: DurationEstimate): string {
  const { expectedFailures, chanceOfTwo } = duration;
  const few =
    chanceOfTwo < options.confidence ? '; more devices would make that likelier, more time would not' : '';
  return `${rounded(expectedFailures)}; at least 2 with a chance of ${formatPercent(chanceOfTwo)}${few}`;
}

function firstFailureText({ options, duration }: DurationEstimate): string {
  const { devices, failureRate, mttf } = options;
  const formula = 'MTTF ÷ (devices × failure rate)';
  const figures = `${inHours(mttf)} ÷ (${formatCount(devices)} × ${formatPercent(failureRate)})`;
  return `after ${inHours(duration.firstFailureMs)} on average: ${formula} = ${figures}`;
}

function minimumText({ options, duration }: DurationEstimate): string {
  const { mttf, bugClass } = options;
  const { minimumMs } = duration;
  return minimumMs > mttf
    ? `${inHours(minimumMs)}, that of every ${bugClass} bug`
    : `${inHours(minimumMs)}: the MTTF, by when ${formatPercent(shareShown(mttf, mttf))} of the failures have shown`;
}

function recommendedText({ options, duration }: DurationEstimate): string {
  const { mttf, confidence } = options;
  const { recommendedMs, shownByRecommended, exactMs } = duration;
  const shown = `by when ${formatPercent(shownByRecommended)} of the failures have shown`;
  const exactly = `${formatPercent(confidence)} have after ${inHours(exactMs)}`;
  return `${inHours(recommendedMs)}: ${rounded(recommendedMs / mttf)} × MTTF, ${shown}; ${exactly}`;
}

function bugClassFact(bugClass: BugClass): [string, string] {
  const { minMs, maxMs } = BUG_CLASSES[bugClass];
  const span = maxMs === undefined ? `${inHours(minMs)} or more` : `${inHours(minMs)} to ${inHours(maxMs)}`;
  return ['bug class', `${bugClass}: such bugs take ${span} to show`];
}

function adaptiveText({ adaptive, options }: DurationEstimate): string {
  const { durationMs, baseMs, factors } = adaptive;
  const why: Readonly<Record<Factor['reason'], string>> = {
    'rare bugs': `rare bugs are likely, ${formatPercent(options.rareBugRate)} being above ${formatPercent(RARE_BUG_RATIO_MAX)}`,
    'safety-critical': 'safety-critical',
    'small stage': `fewer than ${formatCount(SMALL_STAGE_DEVICES)} devices`,
  };
  const product = factors.map(({ factor, reason }) => ` × ${factor} (${why[reason]})`).join('');
  return `${inHours(durationMs)} by the rule of thumb${product === '' ? '' : `: ${inHours(baseMs)}${product}`}`;
}

function damageFact({ affected, spared, ratio, prevented }: Damage): [string, string] {
  const further = `going on reaches ${formatCount(spared)} more, ${rounded(ratio)} times as many`;
  const text = `affects ${plural(affected, 'device')}; ${further}: halting prevents ${formatPercent(prevented)} of the damage`;
  return ['halting here', text];
}

/** What the circumstances that hold speak for, then what the others would. */
function paceTexts(estimate: DurationEstimate): string[] {
  const { circumstances } = estimate;
  const others = ALL_CIRCUMSTANCES.filter((each) => !circumstances.includes(each));
  const [shorter, longer] = [thatMakeIt('shorter', others), thatMakeIt('longer', others)];
  return [
    ...(circumstances.length === 0 ? [] : [adviceText(estimate)]),
    ...(shorter.length === 0 ? [] : [`A stage may be shorter if ${listOf(shorter, 'or')}.`]),
    ...(longer.length === 0 ? [] : [`A stage should be longer if ${listOf(longer, 'or')}.`]),
  ];
}

function adviceText({ circumstances, duration }: DurationEstimate): string {
  const [minimum, recommended] = [inHours(duration.minimumMs), inHours(duration.recommendedMs)];
  const shorter = `Shorter: ${listOf(thatMakeIt('shorter', circumstances), 'and')}.`;
  const longer = `Longer: ${listOf(thatMakeIt('longer', circumstances), 'and')}.`;
  switch (paceOf(circumstances)) {
    case 'shorter':
      return `${shorter} The minimum of ${minimum} may do.`;
    case 'longer':
      return `${longer} Take more than ${recommended}.`;
    case undefined:
      return `${shorter} ${longer} They disagree: ${recommended} stays the figure to begin with.`;
  }
}

function listOf(circumstances: readonly Circumstance[], last: 'and' | 'or'): string {
  const words = circumstances.map((each) => CIRCUMSTANCES[each].words);
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} ${last} ${words.at(-1)}`;
}

/** In hours, as soaks are thought of; it can be pasted into a document. What is short is written in its own units. */
function inHours(duration: DurationMs): string {
  return duration < HOUR / 10 ? formatDuration(duration) : `${Number((duration / HOUR).toFixed(2))}h`;
}

/** To two decimals, or four where it is below one. */
function rounded(value: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: value < 1 ? 4 : 2 });
}
