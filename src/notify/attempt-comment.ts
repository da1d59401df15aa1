/**
 * What a pull request is told of the attempt that came of it: how it stands, stage by stage what was seen, and what to do next. Pure: the
 * same record gives the same text, so that whoever keeps the comment sees whether there is news.
 */
import type { Attempt, StageOutcome, StageVerdict } from '../core/model/outcome.ts';
import { formatDuration, formatInstant, type Instant } from '../core/model/time.ts';
import { code, link, prose, table } from './markdown.ts';

export interface AttemptComment {
  readonly attempt: Attempt;
  /** The last commit of `outcomes` about it. */
  readonly commit: string;
  /** That pull requests are merged into. */
  readonly branch: string;
  /** As main had them when it was announced. */
  readonly owner?: string | undefined;
  readonly runbook?: string | undefined;
}

/** The comment's first line, by which it is found again. */
export function attemptMarker({ rollout, attempt }: Pick<Attempt, 'rollout' | 'attempt'>): string {
  return `<!-- tidegate:attempt ${rollout}/${attempt} -->`;
}

/** Markdown. */
export function attemptComment(about: AttemptComment): string {
  const { attempt, commit } = about;
  const why = whyOf(attempt);
  // Of so many, the last say how it is.
  const stages = attempt.stages.slice(-STAGES_MAX);
  const troubles = stages.flatMap(troublesOf).slice(-TROUBLES_MAX);
  return [
    `### ${headingOf(attempt)}`,
    ...(why === undefined ? [] : [`**Why:** ${prose(why, SENTENCE_MAX)}`]),
    ...(stages.length === 0 ? [] : [stagesTable(stages)]),
    ...(troubles.length === 0 ? [] : [troubles.map((each) => `- ${each}`).join('\n')]),
    ['**What next**', ...nextOf(about).map((each) => `- ${each}`)].join('\n'),
    `<sub>${code(attempt.rollout, NAME_MAX)}, attempt ${attempt.attempt} · snapshot ${code(attempt.snapshot.slice(0, 12), 12)} · recorded on ${code('outcomes', 20)} by ${commit}</sub>`,
  ].join('\n\n');
}

/** Together they keep a comment below the 65,536 characters that GitHub takes, whatever is escaped in it. */
const NAME_MAX = 130;
const SENTENCE_MAX = 400;
const ADDRESS_MAX = 500;
const STAGES_MAX = 25;
const TROUBLES_MAX = 10;
const CATEGORIES_MAX = 5;
/** An outcome names no more of them. */
const SILENT_MAX = 100;

// How it stands

function headingOf({ state, stages, manifest, restored }: Attempt): string {
  const what = code(manifest.distributionSet, NAME_MAX);
  const last = stages.at(-1);
  const where = last === undefined ? '' : ` in stage ${prose(last.name, NAME_MAX)}`;
  switch (state) {
    case 'ready':
      return `○ ${what} has not started yet`;
    case 'waitingForApproval':
      return `? ${what} waits for approval${last === undefined ? '' : ` after stage ${prose(last.name, NAME_MAX)}`}`;
    case 'running':
      return last?.state === 'passed'
        ? `▶ ${what} has passed stage ${prose(last.name, NAME_MAX)}`
        : `▶ ${what} is running${where}`;
    case 'monitoring':
      return `‖ ${what} is held and watched${where}`;
    case 'paused':
      return `‖ ${what} is paused${where}`;
    case 'succeeded':
      return `✓ ${what} has succeeded`;
    case 'stopped':
      return `■ ${what} was stopped${where}`;
    case 'rolledBack':
      return restored?.knownGood === undefined
        ? `↩ ${what} was withdrawn${where}`
        : `↩ ${what} was rolled back${where}`;
    case 'superseded':
      return `■ ${what} was overtaken by another change${where}`;
  }
}

/** Why nothing goes on, or went on: in the words of whoever found it, where somebody did. */
function whyOf({ state, cause, stages, breach }: Attempt): string | undefined {
  if (state === 'running' || state === 'succeeded' || state === 'ready') return undefined;
  const seen = stages.at(-1)?.verdict?.because;
  switch (cause) {
    case 'gate':
    case 'errorThreshold':
    case 'deadline':
      return breach?.because ?? seen ?? 'too much went wrong';
    case 'stuck':
      return seen ?? 'it was undecided for too long';
    case 'suspended':
      return 'spec.suspend is set';
    case 'operator':
      return 'somebody asked for it in ops/';
    case 'reverted':
      return 'a commit brought known-good back';
    case 'replaced':
      return 'a commit wants another revision';
    case 'removed':
      return 'a commit took the rollout away';
    case 'created':
    case 'started':
    case 'approvalNeeded':
    case 'approved':
    case 'resumed':
    case 'passed':
      return undefined;
  }
}

// What was seen

const GLYPHS: Readonly<Record<StageOutcome['state'], string>> = {
  scheduled: '·',
  running: '▶',
  passed: '✓',
  failed: '✗',
};

function stagesTable(stages: readonly StageOutcome[]): string {
  return table([
    ['stage', 'size', 'new devices', 'state', 'when (UTC)', 'seen at the end'],
    ...stages.map(stageRow),
  ]);
}

function stageRow({ name, size, devices, state, openedAt, closedAt, verdict }: StageOutcome): string[] {
  const when = closedAt === undefined ? `since ${minute(openedAt)}` : lasted(openedAt, closedAt);
  return [
    `${GLYPHS[state]} ${prose(name, NAME_MAX)}`,
    prose(size, NAME_MAX),
    String(devices),
    state,
    when,
    verdict === undefined ? '' : countsText(verdict.counts) || '–',
  ];
}

function lasted(openedAt: Instant, closedAt: Instant): string {
  return `${minute(openedAt)}, for ${formatDuration(Math.max(0, closedAt - openedAt))}`;
}

/** `2026-10-01 06:40` */
function minute(at: Instant): string {
  return formatInstant(at).slice(0, 16).replace('T', ' ');
}

function countsText({ succeeded, failed, installing, verifying, pending }: StageVerdict['counts']): string {
  return Object.entries({ succeeded, failed, installing, verifying, pending })
    .filter(([, count]) => count > 0)
    .map(([words, count]) => `${count} ${words}`)
    .join(', ');
}

function devicesText(count: number): string {
  return `${count} ${count === 1 ? 'device' : 'devices'}`;
}

/** What is wrong in a stage: its gates, and what devices said. */
function troublesOf({ name, verdict }: StageOutcome): readonly string[] {
  if (verdict === undefined || verdict.verdict === 'pass') return [];
  const stage = prose(name, NAME_MAX);
  const gates = verdict.gates.slice(0, 2 * TROUBLES_MAX).flatMap((gate) => {
    const about = `${stage}: gate ${code(gate.name, NAME_MAX)}`;
    if ('state' in gate) {
      const says = gate.state === 'halts' ? 'halts it' : 'does not say that all is well';
      return gate.state === 'holds' ? [] : [`${about} ${says}: ${prose(gate.because, SENTENCE_MAX)}`];
    }
    const { fails, missing } = gate;
    const found = [
      ...(fails === 0 ? [] : [`fails on ${devicesText(fails)}`]),
      ...(missing === 0 ? [] : [`is not heard of on ${devicesText(missing)}`]),
    ];
    return found.length === 0 ? [] : [`${about} ${found.join(', ')}`];
  });
  const failures = verdict.failures
    .slice(0, CATEGORIES_MAX)
    .map(({ category, devices }) => `${devices} × ${code(category, NAME_MAX)}`);
  const silent = verdict.silent.length;
  return [
    ...gates,
    ...(failures.length === 0 ? [] : [`${stage}: devices failed with ${failures.join(', ')}`]),
    ...(silent === 0
      ? []
      : [
          `${stage}: ${silent === SILENT_MAX ? `${SILENT_MAX} devices or more` : devicesText(silent)} had not decided`,
        ]),
  ];
}

// What to do

function nextOf({ attempt, branch, ...named }: AttemptComment): readonly string[] {
  const { rollout, state, breach } = attempt;
  // Whom the release named: main may be back at what was there before it.
  const { owner, runbook } = breach ?? named;
  const run = (command: string) => code(`tidegate ${command}`, 2 * NAME_MAX);
  const contact = [
    ...(owner === undefined ? [] : [`owner ${prose(owner, NAME_MAX)}`]),
    ...(runbook === undefined ? [] : [`runbook ${link(runbook, ADDRESS_MAX)}`]),
  ].join(', ');
  const asked = contact === '' ? [] : [contact];
  const explain = `${run(`gate explain ${rollout}`)} says what each gate sees`;
  switch (state) {
    case 'ready':
    case 'running':
      return [`nothing to do: ${run(`status ${rollout}`)} says how far it is`, ...concernsOf(attempt)];
    case 'waitingForApproval':
      return [
        `approve it, or do not: ${run(`status ${rollout}`)} says which stage waits, and for whom`,
        ...asked,
      ];
    case 'monitoring':
    case 'paused': {
      const decideBy = breach?.decideBy;
      const isDue = attempt.cause === 'gate' || attempt.cause === 'errorThreshold';
      return [
        explain,
        `it goes on with ${run(`resume ${rollout}`)}, and back with ${run(`rollback ${rollout}`)}`,
        ...(isDue && decideBy !== undefined
          ? [`decide by ${formatInstant(decideBy)}; after that, what was seen since decides`]
          : []),
        ...clustersOf(attempt),
        ...asked,
      ];
    }
    case 'succeeded':
      return ['nothing to do: every stage has passed', ...concernsOf(attempt)];
    case 'stopped':
      return [`devices keep what they run; ${run(`retry ${rollout}`)} tries it again`, ...asked];
    case 'superseded':
      return [
        'nothing to do: what came after it goes on from here, and takes nothing back from devices that have it',
      ];
    case 'rolledBack':
      return [
        ...restorationOf(attempt, code(branch, NAME_MAX)),
        ...clustersOf(attempt),
        explain,
        `mend the release: what failed is refused until its content changes, or ${run(`retry ${rollout}`)} asks for it`,
        ...asked,
      ];
  }
}

function restorationOf({ restored }: Attempt, wanting: string): readonly string[] {
  if (restored?.knownGood === undefined) {
    return ['there is no known-good to go back to: devices keep what they run'];
  }
  const { main, commit, branch, pullRequest, knownGood, timeToRestoreMs } = restored;
  const devices =
    timeToRestoreMs === undefined
      ? `devices are given what attempt ${knownGood.attempt} installed`
      : `every device has what attempt ${knownGood.attempt} installed, ${formatDuration(timeToRestoreMs)} after the decision`;
  switch (main) {
    case 'none':
    case 'pending':
      return [devices];
    case 'agrees':
      return [devices, `${wanting} wants it again${commit === undefined ? '' : `, by ${commit}`}`];
    case 'diverged': {
      const how =
        pullRequest === undefined
          ? `merge ${branch === undefined ? 'a revert' : code(branch, NAME_MAX)}`
          : `merge ${link(pullRequest, ADDRESS_MAX)}`;
      return [devices, `${wanting} refused the commit that says so: ${how}`];
    }
  }
}

/** The most telling first. */
function clustersOf({ breach }: Attempt): readonly string[] {
  const [first] = breach?.clusters ?? [];
  if (first === undefined) return [];
  const which = code(`${first.tag} = ${first.value}`, NAME_MAX);
  return [`${first.failed} of ${first.devices} devices with ${which} are affected`];
}

function concernsOf({ concerns = [] }: Attempt): readonly string[] {
  return concerns
    .slice(-CATEGORIES_MAX)
    .map(
      ({ gate, because, reviewBy }) =>
        `look at gate ${code(gate, NAME_MAX)} by ${formatInstant(reviewBy)}: ${prose(because, SENTENCE_MAX)}`,
    );
}
