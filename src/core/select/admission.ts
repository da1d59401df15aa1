/**
 * Who is in a stage. A stage's size is resolved once, when it opens, into an {@link Admission} that goes into the
 * outcome; from then on membership is a comparison of scores.
 */
import type { Stage } from '../model/desired.ts';
import type { Score } from '../model/ids.ts';
import type { Admission } from '../model/outcome.ts';
import type { OpenStage } from '../model/program.ts';
import type { Instant } from '../model/time.ts';
import { compileSelection } from '../target/condition.ts';
import { HIGHEST_SCORE, scoreBetween } from './score.ts';
import { formatSize, shareFloor, unitsOf } from './size.ts';

/** A device, or all devices that share a tag value, as a stage takes them in: whole. */
export interface Unit {
  readonly score: Score;
  /** Devices that no open stage contains yet; 0: the unit is in. */
  readonly devices: number;
  /** The combination of the stratifying tags' values, or `''`. */
  readonly stratum: string;
}

/** As much of a stage as decides whom it takes in. */
export type StageTaking = Pick<
  Stage,
  'size' | 'where' | 'unit' | 'mode' | 'stratifyBy' | 'rampMs' | 'holdback'
>;

export function takingOf({ size, where, unit, mode, stratifyBy, rampMs, holdback }: Stage): StageTaking {
  return { size, ...(where === undefined ? {} : { where }), unit, mode, stratifyBy, rampMs, holdback };
}

/** What a stage takes in, resolved. */
export interface Resolved {
  readonly admits: Admission;
  /** Units and devices that are new with this stage. */
  readonly units: number;
  readonly devices: number;
}

/** Up to this many units a stage names them one by one, so that it stays exactly those. Named devices are, however many. */
const LISTED_MAX = 1000;

/**
 * Resolves a stage over the units that match, its `where` included, sorted by score. Shares are of all of them, those already in included;
 * counts are additional, unless the stage's mode says otherwise. Each stratum that nobody represents yet gives its
 * lowest score first; ring order fills the rest. The highest scores are held back where the stage says so.
 */
export function resolveStage(stage: StageTaking, units: readonly Unit[]): Resolved {
  const entered = units.filter((unit) => unit.devices === 0).length;
  const wanted = unitsOf(stage.size, units.length) - (stage.mode === 'cumulative' ? entered : 0);
  const heldBack = shareFloor(stage.holdback, units.length);
  const candidates = units.slice(0, units.length - heldBack).filter((unit) => unit.devices > 0);
  const count = Math.max(0, Math.min(wanted, candidates.length));

  const first = representatives(units, candidates).slice(0, count);
  const picked = new Set(first);
  const filled: Unit[] = [];
  for (const unit of candidates) {
    if (first.length + filled.length >= count) break;
    if (!picked.has(unit)) filled.push(unit);
  }
  const chosen = [...first, ...filled];

  return {
    admits: admissionOf(stage, { chosen, first, filled, candidates, heldBack }),
    units: chosen.length,
    devices: chosen.reduce((sum, unit) => sum + unit.devices, 0),
  };
}

/** The lowest score of each stratum that has no unit in yet, in ring order. */
function representatives(units: readonly Unit[], candidates: readonly Unit[]): Unit[] {
  const represented = new Set(units.filter((unit) => unit.devices === 0).map((unit) => unit.stratum));
  // One stratum means that nothing is stratified: ring order is the whole order.
  if (candidates.every((unit) => unit.stratum === candidates[0]?.stratum)) return [];
  const first: Unit[] = [];
  for (const unit of candidates) {
    if (represented.has(unit.stratum)) continue;
    represented.add(unit.stratum);
    first.push(unit);
  }
  return first;
}

function admissionOf(
  stage: StageTaking,
  picked: {
    chosen: readonly Unit[];
    first: readonly Unit[];
    filled: readonly Unit[];
    candidates: readonly Unit[];
    heldBack: number;
  },
): Admission {
  const { chosen, first, filled, candidates } = picked;
  const all = formatSize(stage.size) === 'all';
  // An outcome holds no device ids, so that scores must say whom people named.
  const isNamed = stage.where !== undefined && compileSelection(stage.where).namesDevices;
  if (isNamed || (!all && chosen.length <= LISTED_MAX)) {
    const scores = chosen.map((unit) => unit.score).sort();
    return stage.rampMs > 0 ? { kind: 'list', scores, rampMs: stage.rampMs } : { kind: 'list', scores };
  }
  // A stage of everyone also takes in who enrols later, up to the units held back.
  const everyone = all && picked.heldBack === 0;
  const highest = (all ? candidates.at(-1) : filled.at(-1))?.score ?? ('0'.repeat(16) as Score);
  const score = everyone ? HIGHEST_SCORE : highest;
  const also = first.map((unit) => unit.score).filter((each) => each > score);
  return {
    kind: 'upTo',
    score,
    ...(stage.rampMs > 0 ? { rampFrom: candidates[0]?.score ?? score, rampMs: stage.rampMs } : {}),
    ...(also.length > 0 ? { also } : {}),
  };
}

/** What decides whether an open stage contains a score. */
export type AdmittingStage = Pick<OpenStage, 'admits' | 'rampStartedAt' | 'rampHeldAt'>;

/** Whether an open stage takes in the unit with this score now. A ramp lets units in evenly, in ring order. */
export function admits(stage: AdmittingStage, score: Score, now: Instant): boolean {
  const admission = stage.admits;
  const done = rampDone(stage, now);
  if (admission.kind === 'list') {
    const place = placesOf(admission.scores).get(score);
    return place !== undefined && place < Math.ceil(done * admission.scores.length);
  }
  if (admission.also !== undefined && placesOf(admission.also).has(score)) return true;
  if (done === 1) return score <= admission.score;
  return score <= scoreBetween(admission.rampFrom ?? admission.score, admission.score, done);
}

/** Whether the stage will contain the score once its ramp is over. */
export function willAdmit(stage: AdmittingStage, score: Score): boolean {
  return admits({ admits: stage.admits, rampStartedAt: Number.NEGATIVE_INFINITY }, score, 0);
}

/** How much of the ramp has passed, 0–1; 1 where there is none. */
export function rampDone(
  { admits: { rampMs = 0 }, rampStartedAt, rampHeldAt }: AdmittingStage,
  now: Instant,
): number {
  if (rampMs === 0) return 1;
  const at = rampHeldAt === undefined ? now : Math.min(now, rampHeldAt);
  return Math.min(1, Math.max(0, (at - rampStartedAt) / rampMs));
}

const places = new WeakMap<readonly Score[], ReadonlyMap<Score, number>>();

/** Lists are looked through at every poll of a canary: index them once. */
function placesOf(scores: readonly Score[]): ReadonlyMap<Score, number> {
  let known = places.get(scores);
  if (known === undefined) {
    known = new Map(scores.map((score, place) => [score, place]));
    places.set(scores, known);
  }
  return known;
}
