/**
 * A fleet's status for a person on call: first what is broken, then rollout by rollout what moves and what does not.
 * Pure: the same status at the same instant gives the same text.
 */

import type { StageCounts } from '../core/model/outcome.ts';
import { type Instant, MINUTE } from '../core/model/time.ts';
import { CHOSEN_BY_ID, type FleetCounts, type RolloutStatus, type StageStatus } from '../core/status.ts';
import { formatCount, plural } from '../core/words.ts';
import type { Problem } from '../documents/problem.ts';
import {
  bar,
  formatRelative,
  formatWhen,
  hanging,
  type Output,
  type Style,
  shortOid,
  table,
  wrap,
} from './output.ts';

/** The body of `GET /api/status`, its instants as numbers. */
export interface FleetStatus {
  readonly fleet?: string | null;
  /** What is in force. */
  readonly snapshot?: string | null;
  readonly commit?: string | null;
  /** The tip of main. */
  readonly head?: string | null;
  readonly headInForce: boolean;
  readonly problems: readonly Problem[];
  /** Why nothing opens at all, while that is so. */
  readonly held?: string | null;
  /** The last pass failed. */
  readonly error?: string | null;
  readonly passedAt?: Instant | null;
  readonly trust?: {
    readonly development: boolean;
    /** Metadata that should have been renewed by now. */
    readonly expiring: readonly { readonly role: string; readonly expiresAt: Instant }[];
  } | null;
  readonly devices: FleetCounts;
  readonly rollouts: readonly RolloutStatus[];
}

type Paper = Pick<Output, 'width' | 'paint'>;

/** Passes follow each other within half a minute; after this long something keeps them from it. */
const PASS_AGE_MAX = 5 * MINUTE;
const PROBLEMS_SHOWN = 3;
const BAR_CELLS = 20;

/** The whole fleet: a few lines per rollout, those that need a person first. */
export function fleetLines(status: FleetStatus, now: Instant, out: Paper): string[] {
  const rollouts = [...status.rollouts].sort((a, b) => urgencyOf(a) - urgencyOf(b));
  return [
    ...headLines(status, now, out),
    ...versionLines(status.devices, out),
    ...rollouts.flatMap((rollout) => ['', ...rolloutLines(rollout, now, out)]),
    ...(rollouts.length === 0 ? ['', 'no rollouts'] : []),
  ];
}

/** One rollout, with what it targets and what happened so far. */
export function rolloutDetailLines(
  status: FleetStatus,
  rollout: RolloutStatus,
  now: Instant,
  out: Paper,
): string[] {
  const { target, actual, healthy, unhealthy, unknown } = rollout.devices;
  const counts = `${formatCount(target)} match, ${formatCount(actual)} are its own: ${countsText({ healthy, unhealthy, unknown })}`;
  const facts: [string, string][] = [
    ['targets', `${rollout.targetCondition} (priority ${rollout.priority})`],
    ['devices', counts],
    ['owner', rollout.owner],
    ...(rollout.runbook === undefined ? [] : ([['runbook', rollout.runbook]] as [string, string][])),
  ];
  return [
    ...headLines(status, now, out),
    '',
    ...rolloutLines(rollout, now, out),
    '',
    ...facts.flatMap(([name, text]) => hanging(name, text, 'targets'.length, out)),
    ...(rollout.history.length === 0 ? [] : ['', `History of attempt ${rollout.attempt}:`]),
    ...rollout.history.map(({ at, state, cause, stage }) => {
      // What waits for approval is the stage after the last that opened.
      const where =
        stage === undefined ? '' : ` ${state === 'waitingForApproval' ? 'after' : 'in'} stage ${stage}`;
      return `  ${formatWhen(at, now)}  ${STATES[state].words}${where}: ${CAUSES[cause]}`;
    }),
  ];
}

/** What became different, as lines for a log; none where nothing that matters did. */
export function changeLines(before: FleetStatus, after: FleetStatus): string[] {
  const lines: string[] = [];
  if (after.commit !== before.commit || after.snapshot !== before.snapshot) {
    lines.push(`in force: ${inForceText(after)}`);
  }
  if (after.head !== before.head && !after.headInForce) lines.push(brokenHeadText(after));
  if (after.held !== before.held)
    lines.push(after.held ? `nothing opens: ${after.held}` : 'stages may open again');
  if (after.error !== before.error)
    lines.push(after.error ? `a pass failed: ${after.error}` : 'passes succeed again');
  const known = new Map(before.rollouts.map((rollout) => [rollout.name, rollout]));
  for (const rollout of after.rollouts) lines.push(...rolloutChanges(known.get(rollout.name), rollout));
  for (const { name } of before.rollouts) {
    if (!after.rollouts.some((rollout) => rollout.name === name)) lines.push(`${name}: removed`);
  }
  return lines;
}

/** How a state looks, and how much it needs a person: 0 now, 1 it moves, 2 it is done. */
const STATES: Readonly<
  Record<RolloutStatus['state'], { glyph: string; style: Style; words: string; urgency: 0 | 1 | 2 }>
> = {
  unknown: { glyph: '·', style: 'dim', words: 'not planned yet', urgency: 1 },
  waitingForApproval: { glyph: '?', style: 'yellow', words: 'waits for approval', urgency: 0 },
  ready: { glyph: '○', style: 'cyan', words: 'ready', urgency: 1 },
  running: { glyph: '▶', style: 'cyan', words: 'running', urgency: 1 },
  monitoring: { glyph: '‖', style: 'yellow', words: 'held and watched', urgency: 0 },
  paused: { glyph: '‖', style: 'yellow', words: 'paused', urgency: 0 },
  succeeded: { glyph: '✓', style: 'green', words: 'succeeded', urgency: 2 },
  stopped: { glyph: '■', style: 'dim', words: 'stopped', urgency: 2 },
  rolledBack: { glyph: '↩', style: 'red', words: 'rolled back', urgency: 2 },
  superseded: { glyph: '■', style: 'dim', words: 'superseded', urgency: 2 },
};

const CAUSES: Readonly<Record<NonNullable<RolloutStatus['cause']>, string>> = {
  created: 'a commit asked for it',
  started: 'its start had come',
  approvalNeeded: 'an approval is needed',
  approved: 'approved',
  resumed: 'resumed',
  suspended: 'spec.suspend is set',
  operator: 'someone asked for it in ops/',
  errorThreshold: 'too many devices failed',
  gate: 'a gate halted it',
  deadline: 'nobody decided in time',
  stuck: 'undecided for too long',
  reverted: 'a commit brought known-good back',
  replaced: 'a commit wants another revision',
  removed: 'a commit took it away',
  passed: 'the last stage passed',
};

/** `running`, `held and watched`. */
export function stateWords(state: RolloutStatus['state']): string {
  return STATES[state].words;
}

function urgencyOf(rollout: RolloutStatus): number {
  const { restored, state } = rollout;
  return restored?.main === 'pending' || restored?.main === 'diverged' ? 0 : STATES[state].urgency;
}

function headLines(status: FleetStatus, now: Instant, out: Paper): string[] {
  const { devices, problems, passedAt } = status;
  const counts = countsText(devices.status, DEVICE_WORDS);
  const of = `${plural(devices.total, 'device')}${counts === '' ? '' : `: ${counts}`}`;
  const alarm = (style: Style, text: string) => wrap(text, out).map((line) => out.paint(style, line));
  const lines = [
    ...wrap(`${status.fleet ?? 'no fleet yet'}, ${of}`, out).map((line) => out.paint('bold', line)),
    `in force: ${inForceText(status)}`,
  ];
  if (!status.headInForce && status.head) lines.push(...alarm('red', `✗ ${brokenHeadText(status)}`));
  else if (problems.length > 0) {
    lines.push(
      ...alarm(
        'yellow',
        `! ${plural(problems.length, 'problem')} in the documents; what is wrong in ops/ and trust/ has no effect`,
      ),
    );
  }
  for (const { file, line, column, message } of problems.slice(0, PROBLEMS_SHOWN)) {
    lines.push(...wrap(`${file}:${line}:${column}: ${message}`, out, '    '));
  }
  const more = problems.length - PROBLEMS_SHOWN;
  if (more > 0)
    lines.push(`    and ${plural(more, 'more problem')}: tidegate status --format json has them all`);
  lines.push(...trustLines(status, now, out));
  if (status.held) lines.push(...alarm('yellow', `! nothing opens: ${status.held}`));
  if (status.error) lines.push(...alarm('red', `✗ the last pass failed and is tried again: ${status.error}`));
  if (typeof passedAt === 'number' && now - passedAt > PASS_AGE_MAX) {
    lines.push(
      ...alarm('red', `✗ the last pass was ${formatRelative(passedAt, now)}: what follows may be old`),
    );
  }
  return lines;
}

const VERSIONS_SHOWN = 6;

/** What runs in the fleet. */
function versionLines({ versions = [] }: FleetCounts, out: Paper): string[] {
  const shown = versions
    .slice(0, VERSIONS_SHOWN)
    .map(({ name, devices }) => `${formatCount(devices)} × ${name}`);
  const more = versions.length - VERSIONS_SHOWN;
  // Who was never heard of is counted above.
  if (versions.every(({ name }) => name === 'unknown')) return [];
  return hanging(
    'runs',
    `${shown.join(', ')}${more > 0 ? ` and ${plural(more, 'other version')}` : ''}`,
    4,
    out,
  );
}

function trustLines({ trust }: FleetStatus, now: Instant, out: Paper): string[] {
  if (!trust) return [];
  const lines = trust.expiring.flatMap(({ role, expiresAt }) =>
    wrap(
      `! the metadata of ${role} ${expiresAt > now ? 'expires' : 'expired'} ${formatWhen(expiresAt, now)}: after that devices install nothing`,
      out,
    ).map((line) => out.paint('yellow', line)),
  );
  if (trust.development) {
    const text = 'development trust: this server holds every key, and whoever has it has the fleet';
    lines.push(...wrap(text, out).map((line) => out.paint('dim', line)));
  }
  return lines;
}

function inForceText({ snapshot, commit }: FleetStatus): string {
  return snapshot && commit
    ? `snapshot ${shortOid(snapshot)}, commit ${shortOid(commit)}`
    : 'no valid snapshot yet';
}

function brokenHeadText({ head, problems }: FleetStatus): string {
  const errors = problems.filter(({ severity }) => severity === 'error').length;
  return `main is at ${head ? shortOid(head) : 'no commit'}, which is not in force: ${plural(errors, 'error')}`;
}

export function rolloutLines(rollout: RolloutStatus, now: Instant, out: Paper): string[] {
  const { name, state, attempt, attempted = rollout.distributionSet, stages, reason, until } = rollout;
  const { glyph, style, words } = STATES[state];
  const nameWidth = Math.max(0, ...stages.map((stage) => stage.name.length));
  const installs = attempted + (attempt === undefined ? '' : ` (attempt ${attempt})`);
  const wait = until === undefined ? reason : `${reason}; at the latest ${formatWhen(until, now)}`;
  return [
    ...table([[{ text: `${glyph} ${name}`, style }, { text: words, style: 'bold' }, installs]], out),
    ...stages.flatMap((stage) => stageLines(stage, nameWidth, out)),
    ...hanging('→', wait, 1, out),
    ...restoredLines(rollout, out),
    ...breachLines(rollout, now, out),
    ...(urgencyOf(rollout) === 0 ? contactLines(rollout, out) : []),
  ];
}

const STAGE_GLYPHS: Readonly<Record<StageStatus['state'], string>> = {
  scheduled: '·',
  running: '▶',
  passed: '✓',
  failed: '✗',
};

function stageLines(stage: StageStatus, nameWidth: number, out: Paper): string[] {
  const { counts } = stage;
  const picture = bar(
    [
      { amount: counts.succeeded, glyph: '█', style: 'green' },
      { amount: counts.failed, glyph: 'x', style: 'red' },
      { amount: counts.verifying, glyph: '▓', style: 'cyan' },
      { amount: counts.installing, glyph: '▒', style: 'cyan' },
      { amount: counts.pending, glyph: '░', style: 'dim' },
    ],
    BAR_CELLS,
    out,
  );
  const { succeeded, failed, installing, verifying, pending } = counts;
  const seen = countsText({ succeeded, failed, installing, verifying, pending });
  const counted =
    stage.state === 'scheduled' ? `scheduled: ${stage.size}` : seen === '' ? 'no devices' : seen;
  const text = stage.where === undefined ? counted : `${counted}, ${whichText(stage.where)}`;
  const start = `${STAGE_GLYPHS[stage.state]} ${stage.name.padEnd(nameWidth)}  `;
  const indent = ' '.repeat(2 + start.length + BAR_CELLS + 2);
  const [first = '', ...rest] = wrap(text, out, indent);
  const failures = stage.failures
    .map(({ category, devices }) => `${formatCount(devices)} × ${category}`)
    .join(', ');
  return [
    `  ${start}${picture}  ${first.trimStart()}`,
    ...rest,
    ...(failures === '' ? [] : wrap(`failed with ${failures}`, out, '    ')),
  ];
}

/** `where tags.ring = 'beta'`; what is no condition says itself. */
function whichText(where: string): string {
  return where === CHOSEN_BY_ID ? where : `where ${where}`;
}

function restoredLines({ restored, knownGood, stages }: RolloutStatus, out: Paper): string[] {
  if (restored === undefined) {
    if (knownGood === undefined || stages.every(({ state }) => state === 'passed')) return [];
    return [out.paint('dim', `  known-good: ${knownGood.distributionSet} (attempt ${knownGood.attempt})`)];
  }
  const set = knownGood?.distributionSet ?? 'known-good';
  switch (restored.main) {
    case 'none':
      return wrap('there is no known-good to go back to: devices keep what they run', out, '  ');
    case 'pending':
      return wrap(`devices are given ${set} again; main still wants the failed revision`, out, '  ');
    case 'diverged': {
      const { branch, pullRequest } = restored;
      const where = branch === undefined ? '' : `; merge ${pullRequest ?? `the branch ${branch}`}`;
      return wrap(
        `devices are given ${set} again, but main refused the commit that says so${where}`,
        out,
        '  ',
      );
    }
    case 'agrees': {
      const by = restored.commit === undefined ? '' : ` since commit ${shortOid(restored.commit)}`;
      return wrap(`devices are given ${set} again; main agrees${by}`, out, '  ');
    }
  }
}

/** How bad a breach is, where it is, and what goes on with a concern. */
function breachLines(
  { state, cause, breach, concerns = [] }: RolloutStatus,
  now: Instant,
  out: Paper,
): string[] {
  const lines = concerns.flatMap(({ gate, because, reviewBy }) =>
    wrap(`gate ${gate} is to be looked at by ${formatWhen(reviewBy, now)}: ${because}`, out, '  '),
  );
  const isOfBreach = cause === 'gate' || cause === 'errorThreshold';
  if (breach === undefined || !isOfBreach || (state !== 'paused' && state !== 'monitoring')) return lines;
  const { severity, decideBy, clusters = [] } = breach;
  const by = decideBy === undefined ? 'people decide' : `decide by ${formatWhen(decideBy, now)}`;
  const [first] = clusters;
  const where =
    first === undefined
      ? ''
      : `; ${formatCount(first.failed)} of ${formatCount(first.devices)} devices with ${first.tag} ${first.value} are affected`;
  return [...wrap(`severity ${severity}, ${by}${where}`, out, '  '), ...lines];
}

function contactLines({ owner, runbook }: RolloutStatus, out: Paper): string[] {
  return wrap(`owner ${owner}${runbook === undefined ? '' : `, runbook ${runbook}`}`, out, '  ');
}

/** What a device's status is called; see `DeviceStatus` for what each means. */
export const DEVICE_WORDS: Readonly<Record<keyof FleetCounts['status'], string>> = {
  inSync: 'in sync',
  pending: 'pending',
  error: 'in error',
  drifted: 'drifted',
  registered: 'without assignment',
  unknown: 'never heard of',
};

/** `48 succeeded, 2 failed`: what is not there is not said. */
function countsText<Key extends string>(
  counts: Readonly<Record<Key, number>>,
  words?: Readonly<Record<Key, string>>,
) {
  const keys = Object.keys(words ?? counts) as Key[];
  return keys
    .filter((key) => counts[key] > 0)
    .map((key) => `${formatCount(counts[key])} ${words?.[key] ?? key}`)
    .join(', ');
}

function rolloutChanges(before: RolloutStatus | undefined, after: RolloutStatus): string[] {
  const { name, state, cause, attempt } = after;
  const lines: string[] = [];
  if (before === undefined || before.state !== state || before.attempt !== attempt) {
    const because = cause === undefined ? '' : `, ${CAUSES[cause]}`;
    const which = attempt === undefined ? '' : ` attempt ${attempt} of ${after.distributionSet}`;
    lines.push(`${name}:${which} is ${STATES[state].words}${because}`);
  }
  const isSame = before?.attempt === attempt;
  for (const stage of after.stages) {
    const was = isSame ? before?.stages.find((each) => each.name === stage.name) : undefined;
    if (stage.state === 'scheduled' || (was !== undefined && sameStage(was, stage))) continue;
    const counts: StageCounts = stage.counts;
    const { succeeded, failed, installing, verifying, pending } = counts;
    const seen = countsText({ succeeded, failed, installing, verifying, pending });
    lines.push(`${name}: stage ${stage.name} ${stage.state}${seen === '' ? '' : `: ${seen}`}`);
  }
  if (after.restored?.main !== undefined && after.restored.main !== before?.restored?.main) {
    lines.push(
      `${name}: ${restoredLines(after, { width: undefined, paint: (_, text) => text })
        .join(' ')
        .trim()}`,
    );
  }
  return lines;
}

function sameStage(a: StageStatus, b: StageStatus): boolean {
  return (
    a.state === b.state &&
    Object.entries(a.counts).every(([key, n]) => b.counts[key as keyof StageCounts] === n)
  );
}
