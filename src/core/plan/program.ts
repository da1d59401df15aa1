/** The program that follows from desired state and outcomes. */
import type { DesiredState, Rollout } from '../model/desired.ts';
import { isExpression } from '../model/gate.ts';
import type { Revision } from '../model/ids.ts';
import { type Attempt, isFinished, knownGoodOf, type Outcomes } from '../model/outcome.ts';
import type {
  KnownGood,
  Program,
  ProgramCandidate,
  ProgramRevision,
  ProgramRollout,
  Watches,
} from '../model/program.ts';
import { isEmergency } from './emergency.ts';
import { isOffering, rampClock } from './ramp.ts';

/** A rollout and everything that was tried of it. */
interface Precedent {
  readonly rollout: Rollout;
  readonly attempts: readonly Attempt[];
}

/** Of two that match a device the first one has it: larger priority; equal: the more recently created, then the name in ascending order. */
export function byPrecedence({ rollouts }: Pick<DesiredState, 'rollouts'>, outcomes: Outcomes): Precedent[] {
  // A rollout without an attempt gives nothing yet, but who shadows it must be known before its first stage opens.
  return [...rollouts.values()]
    .map((rollout) => {
      const attempts = outcomes.get(rollout.name) ?? [];
      return { rollout, attempts, createdAt: attempts[0]?.createdAt ?? Number.POSITIVE_INFINITY };
    })
    .sort(
      (a, b) =>
        b.rollout.priority - a.rollout.priority ||
        // Two that were never tried are as recent as each other: infinities have no difference.
        (a.createdAt === b.createdAt ? 0 : b.createdAt - a.createdAt) ||
        (a.rollout.name < b.rollout.name ? -1 : 1),
    );
}

export function buildProgram(desired: DesiredState, outcomes: Outcomes): Program {
  const known = new Set<Revision>();
  const products = new Set<string>();
  for (const { revision, manifest } of [...outcomes.values()].flat()) {
    known.add(revision);
    products.add(manifest.product);
  }
  return {
    fleet: desired.fleet.name,
    rollouts: byPrecedence(desired, outcomes).map(({ rollout, attempts }) => programOf(rollout, attempts)),
    devices: Object.fromEntries(desired.devices),
    pollIntervalMs: desired.fleet.pollIntervalMs,
    timezone: desired.fleet.timezone,
    sites: Object.fromEntries(desired.sites),
    flags: [...desired.flags.values()].sort((a, b) => (a.name < b.name ? -1 : 1)),
    knownRevisions: [...known].sort(),
    knownProducts: [...products].sort(),
  };
}

/** The program without the offers that are `stopped`: who has something keeps it. */
export function withoutOffers(
  program: Program,
  stopped: (candidate: ProgramCandidate) => boolean = () => true,
): Program {
  return {
    ...program,
    rollouts: program.rollouts.map((rollout) =>
      rollout.candidate === undefined || !stopped(rollout.candidate)
        ? rollout
        : { ...rollout, candidate: { ...rollout.candidate, offers: false } },
    ),
  };
}

function programOf(rollout: Rollout, attempts: readonly Attempt[]): ProgramRollout {
  const latest = attempts.at(-1);
  const knownGood = knownGoodOf(attempts);
  const lastRollback = attempts.findLastIndex((attempt) => attempt.state === 'rolledBack');
  const lastSuccess = attempts.findLastIndex((attempt) => attempt.state === 'succeeded');
  // A rollback takes everything since known-good back with it; success leaves nothing older to keep.
  const since = attempts
    .slice(Math.max(lastRollback, lastSuccess) + 1)
    .filter((attempt) => attempt.stages.length > 0);
  const isCurrent = (attempt: Attempt) => attempt === latest && attempt.state !== 'superseded';
  const candidate = since.find(isCurrent);
  const withdrawn = lastRollback > lastSuccess ? attempts[lastRollback] : undefined;
  return {
    name: rollout.name,
    priority: rollout.priority,
    condition: rollout.condition,
    gates: rollout.gates.filter(isExpression),
    ...(rollout.installWindow === undefined ? {} : { installWindow: rollout.installWindow }),
    ...(candidate === undefined ? {} : { candidate: candidateOf(candidate) }),
    kept: since
      .filter((attempt) => !isCurrent(attempt))
      .reverse()
      .map(candidateOf),
    ...(knownGood === undefined
      ? {}
      : { knownGood: knownGoodPart(knownGood), ...olderOf(attempts, knownGood) }),
    ...(rollout.exclude === undefined ? {} : { exclude: rollout.exclude }),
    ...(withdrawn === undefined || withdrawn.revision === knownGood?.revision
      ? {}
      : { withdrawn: revisionPart(withdrawn) }),
  };
}

function revisionPart(attempt: Attempt): ProgramRevision {
  const { attempt: number, revision, manifest, snapshot, commit } = attempt;
  return { attempt: number, revision, manifest, snapshot, commit };
}

function knownGoodPart(attempt: Attempt): KnownGood {
  const { condition, exclude } = attempt;
  return { ...revisionPart(attempt), condition, ...(exclude === undefined ? {} : { exclude }) };
}

/** Devices that known-good excludes have what succeeded before it, and so on, until one that excludes nobody. */
function olderOf(attempts: readonly Attempt[], knownGood: Attempt): Pick<ProgramRollout, 'olderKnownGood'> {
  const older: KnownGood[] = [];
  let last = knownGood;
  while (last.exclude !== undefined) {
    const before = attempts.findLast((each) => each.attempt < last.attempt && each.state === 'succeeded');
    if (before === undefined) break;
    older.push(knownGoodPart(before));
    last = before;
  }
  return older.length === 0 ? {} : { olderKnownGood: older };
}

/** The attempt as devices are assigned by it. */
export function candidateOf(attempt: Attempt): ProgramCandidate {
  return {
    ...revisionPart(attempt),
    offers: isOffering(attempt),
    ...(attempt.state === 'monitoring' ? { telemetry: 'debug' as const } : {}),
    ...(isEmergency(attempt) ? { emergency: true } : {}),
    seed: attempt.seed,
    ...(attempt.excluding === undefined ? {} : { excluding: attempt.excluding }),
    ...(attempt.exclude === undefined ? {} : { exclude: attempt.exclude }),
    stages: attempt.stages.map((stage) => {
      const { name, condition, where, unit, admits } = stage;
      const gates = stage.gates.filter(isExpression);
      return {
        name,
        condition,
        ...(where === undefined ? {} : { where }),
        unit,
        admits,
        gates,
        ...rampClock(attempt, stage),
      };
    }),
    ...watchesOf(attempt),
  };
}

/** What reports are looked at for while the attempt lasts; a finished one asks for nothing. */
function watchesOf(attempt: Attempt): Pick<ProgramCandidate, 'watches'> {
  if (isFinished(attempt)) return {};
  const events = new Set<string>();
  const metrics = new Map<string, Watches['metrics'][number]>();
  let silent = false;
  for (const gate of attempt.stages.flatMap(({ gates }) => gates)) {
    if (gate.kind === 'events') events.add(gate.event);
    if (gate.kind === 'metric') {
      const { signal, range } = gate;
      metrics.set(signal, { signal, ...(range === undefined ? {} : { range }) });
    }
    if (gate.kind === 'share' && gate.of === 'silent') silent = true;
  }
  if (events.size === 0 && metrics.size === 0 && !silent) return {};
  return { watches: { events: [...events].sort(), metrics: [...metrics.values()], silent } };
}
