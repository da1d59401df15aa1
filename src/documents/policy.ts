/**
 * What a schema accepts, a server would carry out, and people regret: rollouts that nobody owns, that nothing judges, and that
 * reach everybody before anybody has looked. Judged by the documents alone; what takes knowing the fleet is not looked at here.
 */
import type * as Desired from '../core/model/desired.ts';
import type { Gate } from '../core/model/gate.ts';
import { formatSize, formatThreshold } from '../core/select/size.ts';
import type { Place, Report, SourceDocument } from './document.ts';
import { stagesOfPlan } from './normalise.ts';
import { isPreset } from './presets.ts';
import { show } from './problem.ts';
import type { ResolvedRollout } from './references.ts';

/** `rollout` is what was made of the document; undefined where nothing could be, which was reported. */
export function checkPolicy(
  resolved: ResolvedRollout,
  rollout: Desired.Rollout | undefined,
  report: Report,
): void {
  checkOwner(resolved.document, report);
  if (!hasGates(resolved)) {
    const message =
      'the rollout has no gates: whatever installs counts as a success; say under spec.gates what must hold';
    report({ document: resolved.document, path: ['spec'], key: true }, 'no-gates', message);
  }
  if (rollout === undefined) return;
  const { stages } = rollout;
  // A gate that leads nowhere was reported, and the stages that it would judge are not to blame.
  if (resolved.gates.length > 0) reportUngatedStages(resolved, stages, report);
  reportOneStage(resolved, stages, report);
  reportNoSoak(rollout, stagePlaces(resolved), report);
  if (isOwnList(resolved)) reportStages(stages, stagePlaces(resolved), report);
  else reportGaps(stagesWithOwnThresholds(resolved, stages), stagePlaces(resolved), report);
}

/** What is wrong with the stages of a plan whoever uses it. */
export function checkPlanPolicy(document: SourceDocument<'StagePlan'>, report: Report): void {
  const path = ['spec', 'stages'];
  reportStages(stagesOfPlan(document), (at) => ({ document, path: [...path, at] }), report);
}

/** Whom nobody can call. Compared without case, spaces and punctuation around it. */
const PLACEHOLDERS: ReadonlySet<string> = new Set([
  '',
  'anybody',
  'anyone',
  'changeme',
  'example',
  'fixme',
  'foo',
  'na',
  'nobody',
  'none',
  'noone',
  'null',
  'owner',
  'somebody',
  'someone',
  'tba',
  'tbd',
  'todo',
  'unassigned',
  'undefined',
  'unknown',
  'unowned',
  'xxx',
]);

/** Whether nobody can be called by this name. */
export function isPlaceholder(owner: string): boolean {
  const words = owner.toLowerCase().replaceAll(/[^\p{L}\p{N}]/gu, '');
  return PLACEHOLDERS.has(words) || /^(todo|fixme|tbd)\b/i.test(owner.trim());
}

/** Somebody who answers for it must be more than a word that fills the place. */
export function checkOwner(
  document: SourceDocument<'Rollout'> | SourceDocument<'Flag'>,
  report: Report,
): void {
  const { owner } = document.data.spec;
  if (!isPlaceholder(owner)) return;
  const message = `spec.owner is ${show(owner)}, and nobody can be called by that name; write a team or a rota that somebody answers for`;
  report({ document, path: ['spec', 'owner'] }, 'placeholder-owner', message);
}

/** Those that its stage plan brings along are gates, too; one that leads nowhere was reported. */
function hasGates({ document, gates }: ResolvedRollout): boolean {
  return gates.length > 0 || Object.keys(document.data.spec.gates ?? {}).length > 0;
}

function reportUngatedStages(
  resolved: ResolvedRollout,
  stages: readonly Desired.Stage[],
  report: Report,
): void {
  const placeOf = stagePlaces(resolved);
  for (const [at, { name, gates }] of stages.entries()) {
    if (gates.length > 0) continue;
    const message = `no gate judges the stage ${name}: whatever installs counts as a success there; leave out \`gates\`, and all of the rollout's judge it`;
    report(placeOf(at), 'no-gates', message);
  }
}

function reportOneStage(resolved: ResolvedRollout, stages: readonly Desired.Stage[], report: Report): void {
  const [only, second] = stages;
  if (only === undefined || second !== undefined || !isEveryone(only.size) || only.rampMs > 0) return;
  const message = `the only stage, ${only.name}, takes every device at once; put a small one before it, or say emergency: true where there is no time`;
  report({ document: resolved.document, path: ['spec', 'stages'], key: true }, 'one-stage', message);
}

/** Where a stage is written, by its index. */
type PlaceOf = (at: number) => Place;

function isOwnList({ document, stages }: ResolvedRollout): boolean {
  return stages !== undefined && 'list' in stages && stages.place.document === document;
}

/** Stages that are written elsewhere are spoken of where the rollout names them. */
function stagePlaces(resolved: ResolvedRollout): PlaceOf {
  const path = ['spec', 'stages'];
  const { document } = resolved;
  return isOwnList(resolved)
    ? (at) => ({ document, path: [...path, at] })
    : () => ({ document, path, key: true });
}

function reportStages(stages: readonly Desired.Stage[], placeOf: PlaceOf, report: Report): void {
  reportOrder(stages, placeOf, report);
  reportNeverEnds(stages, placeOf, report);
  reportGaps(stages, placeOf, report);
}

function reportOrder(stages: readonly Desired.Stage[], placeOf: PlaceOf, report: Report): void {
  const [first] = stages;
  for (const [at, stage] of stages.entries()) {
    if (at === 0) continue;
    // The first must be the smallest of all; others must not be larger than the next.
    const larger = [stages[at - 1], first].find((before) => before !== undefined && isLarger(before, stage));
    if (larger === undefined) continue;
    const message = `the stage ${larger.name} (${sizeOf(larger)}) comes before ${stage.name} (${sizeOf(stage)}), which is smaller; put the smallest first`;
    report(placeOf(stages.indexOf(larger)), 'stage-order', message);
    return;
  }
}

/**
 * Whether one stage is certainly larger than another, by what is written: everyone is more than any share, and a share of
 * devices is comparable with a share of devices, a number of sites with a number of sites. Whether 5% are more than ten
 * devices, only the fleet knows.
 */
function isLarger(a: Desired.Stage, b: Desired.Stage): boolean {
  if (isEveryone(b.size)) return false;
  if (isEveryone(a.size)) return true;
  if (a.unit !== b.unit) return false;
  if (a.size.kind === 'count' && b.size.kind === 'count') return a.size.count > b.size.count;
  if (a.size.kind !== 'share' || b.size.kind !== 'share') return false;
  return (
    a.size.share.numerator * b.size.share.denominator > b.size.share.numerator * a.size.share.denominator
  );
}

function isEveryone(size: Desired.Size): boolean {
  return size.kind === 'all' || (size.kind === 'share' && size.share.numerator === size.share.denominator);
}

function sizeOf({ size, unit }: Desired.Stage): string {
  return unit === 'device' ? formatSize(size) : `${formatSize(size)} of ${unit}`;
}

/** What these look at takes time to happen. An expression or a webhook answers as soon as a device has reported. */
const SLOW_GATES: ReadonlySet<Gate['kind']> = new Set(['events', 'metric', 'observations', 'prometheus']);

function reportNoSoak(
  { stages, gates }: Pick<Desired.Rollout, 'stages' | 'gates'>,
  placeOf: PlaceOf,
  report: Report,
): void {
  const before = stages.slice(0, -1);
  const slow = gates.find(
    ({ name, kind }) => SLOW_GATES.has(kind) && before.some((stage) => stage.gates.includes(name)),
  );
  if (slow === undefined) return;
  const waits = ({ soakMs, minExposureHours, rampMs }: Desired.Stage) =>
    soakMs > 0 || minExposureHours > 0 || rampMs > 0;
  // An approval is somebody who has looked.
  if (before.some(waits) || stages.some(({ approvals }) => approvals > 0)) return;
  const message = `no stage before the last one waits, so the gate ${slow.name} has nothing to judge by when the next one opens; give them a soak, as in soak: 24h`;
  report(placeOf(0), 'no-soak', message);
}

function reportNeverEnds(stages: readonly Desired.Stage[], placeOf: PlaceOf, report: Report): void {
  const last = stages.at(-1);
  if (last === undefined || isEveryone(last.size)) return;
  const message = `the last stage, ${last.name}, takes ${sizeOf(last)}, and only one of size all ends the rollout; add it`;
  report(placeOf(stages.length - 1), 'never-ends', message);
}

/** Of a plan's stages, those that became what they are by what the rollout says itself; the others are the plan's to answer for. */
function stagesWithOwnThresholds(
  { document, stages }: ResolvedRollout,
  all: readonly Desired.Stage[],
): readonly Desired.Stage[] {
  const { successThreshold, errorThreshold } = document.data.spec;
  const isOwn = successThreshold !== undefined || errorThreshold !== undefined;
  const isPresetAlone = stages !== undefined && 'list' in stages && isPreset(stages.place.document);
  return isOwn && !isPresetAlone ? all : [];
}

function reportGaps(stages: readonly Desired.Stage[], placeOf: PlaceOf, report: Report): void {
  for (const [at, { name, successThreshold, errorThreshold }] of stages.entries()) {
    if (successThreshold.kind !== 'share' || errorThreshold.kind !== 'share') continue;
    const [success, error] = [ratioOf(successThreshold.share), ratioOf(errorThreshold.share)];
    // Percentages have four decimals at most, floating point many more.
    if (success + error <= 1 + 1e-9) continue;
    const left = formatThreshold({
      kind: 'share',
      share: { numerator: Math.round((1 - success) * 1e6), denominator: 1e6 },
    });
    const message = `the stage ${name} passes with ${formatThreshold(successThreshold)} successes and halts above ${formatThreshold(errorThreshold)} failures: with failures in between it decides nothing; lower errorThreshold to ${left}`;
    report(placeOf(at), 'threshold-gap', message);
  }
}

function ratioOf({ numerator, denominator }: Desired.Fraction): number {
  return numerator / denominator;
}
