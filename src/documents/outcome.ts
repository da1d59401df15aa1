/**
 * The RolloutOutcome document: one attempt as it lies on the branch `outcomes`. Encoding is deterministic (equal
 * attempts, equal text) and decoding gives back exactly what was encoded, or says what is wrong with the text.
 * Where the files are and how they get there is fleet-repo's.
 */
import { Ajv2020, type ErrorObject } from 'ajv/dist/2020.js';
import { parseDocument, stringify } from 'yaml';
import schema from '../../schemas/rollout-outcome.schema.json' with { type: 'json' };
import type { Fraction, Threshold } from '../core/model/desired.ts';
import { type Score, shortRevision } from '../core/model/ids.ts';
import { revisionOf } from '../core/model/manifest.ts';
import type { Admission, Attempt, Restored, StageOutcome } from '../core/model/outcome.ts';
import {
  breachFromDocument,
  breachToDocument,
  concernFromDocument,
  concernToDocument,
  gateFromDocument,
  gateToDocument,
  verdictFromDocument,
  verdictToDocument,
  watchFromDocument,
  watchToDocument,
} from './outcome-gates.ts';
import { readDuration, readInstant, UnreadableValue, writeDuration, writeInstant } from './outcome-values.ts';

export type DecodedOutcome =
  | { readonly ok: true; readonly attempt: Attempt }
  | { readonly ok: false; readonly message: string };

/** Where the attempt's document lies in the tree of `outcomes`. */
export function outcomePath(attempt: Pick<Attempt, 'rollout' | 'attempt' | 'revision'>): string {
  return `rollouts/${attempt.rollout}/${attempt.attempt}-${shortRevision(attempt.revision)}.yaml`;
}

const FIRST_LINE =
  '# Tidegate writes this file and reads it back: do not edit it. Learnings belong in ops/ on main.\n';

/**
 * The attempt's document. An attempt that decoding would refuse is a bug and throws: once committed, it would stop
 * everything that is decided from it.
 */
export function encodeOutcome(attempt: Attempt): string {
  const document = toDocument(attempt);
  if (!isDocument(document)) {
    throw new Error(`outcome of ${nameOf(attempt)} cannot be written: ${describe(isDocument.errors ?? [])}`);
  }
  const yaml = stringify(document, {
    sortMapEntries: (a, b) => readingOrder(String(a.key), String(b.key)),
    aliasDuplicateObjects: false,
    lineWidth: 0,
  });
  return FIRST_LINE + yaml;
}

/** Every expected error is returned; nothing is thrown. */
export function decodeOutcome(text: string): DecodedOutcome {
  let content: unknown;
  try {
    const yaml = parseDocument(text);
    const [problem] = [...yaml.errors, ...yaml.warnings];
    if (problem !== undefined) throw problem;
    content = yaml.toJS({ maxAliasCount: 0 });
  } catch (error) {
    // Aliases, and nesting too deep to follow, are thrown by the parser; what comes after the first line is an excerpt.
    return refuse(String(error instanceof Error ? error.message : error).replace(/\n.*/s, ''));
  }
  if (!isDocument(content)) return refuse(describe(isDocument.errors ?? []));

  let attempt: Attempt;
  try {
    attempt = fromDocument(content);
  } catch (error) {
    if (!(error instanceof UnreadableValue)) throw error;
    return refuse(error.message);
  }
  const name = nameOf(attempt);
  if (content.metadata.name !== name) {
    return refuse(`/metadata/name: expected ${name}, found ${JSON.stringify(content.metadata.name)}`);
  }
  const revision = revisionOf(attempt.manifest);
  if (revision !== attempt.revision) {
    return refuse(`/spec/manifest: expected the manifest of ${attempt.revision}, found that of ${revision}`);
  }
  return { ok: true, attempt };
}

function refuse(problem: string): DecodedOutcome {
  return {
    ok: false,
    message: `RolloutOutcome: ${problem}; only Tidegate writes on outcomes: bring the file back from the branch's history`,
  };
}

function nameOf(attempt: Attempt): string {
  return `${attempt.rollout}-${attempt.attempt}`;
}

/** What happened first, what it was made from last. Keys that are not here (of `env`, `routes`) follow by name. */
const READING_ORDER: ReadonlyMap<string, number> = new Map(
  `apiVersion kind metadata spec
  rollout attempt at name state cause stage createdAt openedAt closedAt epoch revision snapshot commit
  condition where whereDigest excluding exclude seed unit size units category devices
  successThreshold errorThreshold numerator denominator tolerated soak soakMax minExposureHours stuckAfter alpha slow
  expression event signal of metric query url count against value method margin haltRatio worse range limit share points
  window above for every after ladder from to severity action within
  breach concerns gate sinceAt hourAt less ratio owner runbook decideBy reviewBy clusters tag
  holds fails missing logEvidence previous rows before observations samples watch
  verdict because counts pending installing verifying succeeded failed gates failures silent
  admits score rampFrom ramp also scores
  restored main knownGood branch pullRequest completedAt timeToRestore
  learnings history appliedOperations stages
  manifest distributionSet product version type status restartPolicy image registryCredential env
  sha256 sizeBytes urls securityEpoch hardwareIds artifacts modules routes`
    .split(/\s+/)
    .map((key, index) => [key, index]),
);

function readingOrder(a: string, b: string): number {
  const [first, second] = [READING_ORDER.get(a) ?? Infinity, READING_ORDER.get(b) ?? Infinity];
  if (first !== second) return first - second;
  return a < b ? -1 : 1;
}

type OutcomeDocument = ReturnType<typeof toDocument>;
type StageDocument = ReturnType<typeof stageToDocument>;
type RestoredDocument = ReturnType<typeof restoredToDocument>;

const isDocument = new Ajv2020({ verbose: true }).compile<OutcomeDocument>(schema);

/** The outermost mistake: inner ones are those of the alternatives that it does not fit either. */
function describe(errors: readonly ErrorObject[]): string {
  const error = errors.at(-1);
  if (error === undefined) return 'expected a RolloutOutcome';
  const params = error.params as {
    additionalProperty?: string;
    allowedValues?: readonly unknown[];
    allowedValue?: unknown;
  };
  const detail = params.additionalProperty ?? params.allowedValues?.join(', ') ?? params.allowedValue;
  const { description } = error.parentSchema as { description?: string };
  const expected = `${error.message}${detail === undefined ? '' : `: ${detail}`}${description === undefined ? '' : ` (${description})`}`;
  return `${error.instancePath || '/'}: ${expected}, found ${excerpt(error.data)}`;
}

function excerpt(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length <= 80 ? text : `${text.slice(0, 80)}…`;
}

function toDocument(attempt: Attempt) {
  const { createdAt, history, stages, restored, breach, concerns, ...unchanged } = attempt;
  return {
    apiVersion: 'tidegate.dev/v1',
    kind: 'RolloutOutcome',
    metadata: { name: nameOf(attempt) },
    spec: {
      ...unchanged,
      createdAt: writeInstant(createdAt),
      history: history.map((transition) => ({ ...transition, at: writeInstant(transition.at) })),
      stages: stages.map(stageToDocument),
      breach: breach && breachToDocument(breach),
      concerns: concerns?.map(concernToDocument),
      restored: restored && restoredToDocument(restored),
    },
  };
}

function fromDocument({ spec }: OutcomeDocument): Attempt {
  const { createdAt, history, stages, restored, breach, concerns, ...unchanged } = spec;
  return {
    ...unchanged,
    createdAt: readInstant(createdAt),
    history: history.map((transition) => ({ ...transition, at: readInstant(transition.at) })),
    stages: stages.map(stageFromDocument),
    ...(breach === undefined ? {} : { breach: breachFromDocument(breach) }),
    ...(concerns === undefined ? {} : { concerns: concerns.map(concernFromDocument) }),
    ...(restored === undefined ? {} : { restored: restoredFromDocument(restored) }),
  };
}

/** What outcomes of a time before there were gates that bet mean, and what is not written. */
const ALPHA_DEFAULT = 0.05;

function stageToDocument(stage: StageOutcome) {
  const {
    openedAt,
    closedAt,
    admits,
    successThreshold,
    errorThreshold,
    soakMs,
    soakMaxMs,
    stuckAfterMs,
    gates,
    alpha,
    watch,
    verdict,
    ...unchanged
  } = stage;
  return {
    ...unchanged,
    openedAt: writeInstant(openedAt),
    closedAt: closedAt === undefined ? undefined : writeInstant(closedAt),
    admits: admissionToDocument(admits),
    successThreshold: writeThreshold(successThreshold),
    errorThreshold: writeThreshold(errorThreshold),
    soak: writeDuration(soakMs),
    stuckAfter: writeDuration(stuckAfterMs),
    soakMax: soakMaxMs === undefined ? undefined : writeDuration(soakMaxMs),
    gates: gates.map(gateToDocument),
    alpha: alpha === ALPHA_DEFAULT ? undefined : alpha,
    watch: watch && watchToDocument(watch),
    verdict: verdict && {
      ...verdict,
      at: writeInstant(verdict.at),
      gates: verdict.gates.map(verdictToDocument),
    },
  };
}

function stageFromDocument(document: StageDocument): StageOutcome {
  const {
    openedAt,
    closedAt,
    admits,
    successThreshold,
    errorThreshold,
    soak,
    soakMax,
    stuckAfter,
    gates,
    alpha,
    watch,
    verdict,
    ...unchanged
  } = document;
  return {
    ...unchanged,
    openedAt: readInstant(openedAt),
    ...(closedAt === undefined ? {} : { closedAt: readInstant(closedAt) }),
    admits: admissionFromDocument(admits),
    successThreshold: readThreshold(successThreshold),
    errorThreshold: readThreshold(errorThreshold),
    soakMs: readDuration(soak),
    stuckAfterMs: readDuration(stuckAfter),
    ...(soakMax === undefined ? {} : { soakMaxMs: readDuration(soakMax) }),
    gates: gates.map(gateFromDocument),
    alpha: alpha ?? ALPHA_DEFAULT,
    ...(watch === undefined ? {} : { watch: watchFromDocument(watch) }),
    ...(verdict === undefined
      ? {}
      : {
          verdict: {
            ...verdict,
            at: readInstant(verdict.at),
            gates: verdict.gates.map(verdictFromDocument),
          },
        }),
  };
}

function admissionToDocument(admission: Admission) {
  const { rampMs, ...unchanged } = admission;
  const ramp = rampMs === undefined ? undefined : writeDuration(rampMs);
  return unchanged.kind === 'list'
    ? { ...unchanged, scores: writeScores(unchanged.scores), ramp }
    : { ...unchanged, ramp };
}

function admissionFromDocument(document: ReturnType<typeof admissionToDocument>): Admission {
  const { ramp, ...unchanged } = document;
  const rampMs = ramp === undefined ? {} : { rampMs: readDuration(ramp) };
  return unchanged.kind === 'list'
    ? { ...unchanged, scores: readScores(unchanged.scores), ...rampMs }
    : { ...unchanged, ...rampMs };
}

/** A list that people may read. A longer one is read by nobody, and a hundred thousand lines of YAML would take seconds. */
const SCORE_LINES_MAX = 1000;
const SCORE_LENGTH = 16;

function writeScores(scores: readonly Score[]): readonly Score[] | string {
  return scores.length <= SCORE_LINES_MAX ? scores : scores.join('');
}

function readScores(written: readonly Score[] | string): readonly Score[] {
  if (typeof written !== 'string') return written;
  if (written.length % SCORE_LENGTH !== 0)
    throw new UnreadableValue(
      `expected scores of ${SCORE_LENGTH} digits each, found ${written.length} digits in all`,
    );
  return Array.from(
    { length: written.length / SCORE_LENGTH },
    (_, at) => written.slice(at * SCORE_LENGTH, (at + 1) * SCORE_LENGTH) as Score,
  );
}

function restoredToDocument({ completedAt, timeToRestoreMs, ...unchanged }: Restored) {
  return {
    ...unchanged,
    completedAt: completedAt === undefined ? undefined : writeInstant(completedAt),
    timeToRestore: timeToRestoreMs === undefined ? undefined : writeDuration(timeToRestoreMs),
  };
}

function restoredFromDocument({ completedAt, timeToRestore, ...unchanged }: RestoredDocument): Restored {
  return {
    ...unchanged,
    ...(completedAt === undefined ? {} : { completedAt: readInstant(completedAt) }),
    ...(timeToRestore === undefined ? {} : { timeToRestoreMs: readDuration(timeToRestore) }),
  };
}

function writeThreshold(threshold: Threshold): string | number | Fraction {
  return threshold.kind === 'count' ? threshold.count : (writePercentage(threshold.share) ?? threshold.share);
}

function readThreshold(written: string | number | Fraction): Threshold {
  if (typeof written === 'number') return { kind: 'count', count: written };
  return { kind: 'share', share: typeof written === 'string' ? readPercentage(written) : written };
}

/**
 * A share as people write it, where reading it gives the same two numbers back: 95/100 is `95%`, 950/1000 is `95.0%`,
 * and 19/20 is none.
 */
function writePercentage({ numerator, denominator }: Fraction): string | undefined {
  const decimals = String(denominator).length - 3;
  if (decimals < 0 || decimals > 6 || denominator !== 100 * 10 ** decimals) return undefined;
  const digits = String(numerator).padStart(decimals + 1, '0');
  if (digits.length > 15) return undefined;
  if (decimals === 0) return `${digits}%`;
  return `${digits.slice(0, -decimals)}.${digits.slice(-decimals)}%`;
}

function readPercentage(text: string): Fraction {
  const [whole = '', decimals = ''] = text.slice(0, -1).split('.');
  return { numerator: Number(whole + decimals), denominator: 100 * 10 ** decimals.length };
}
