/**
 * `POST /api/rollouts/:name/selection`: whom a stage would take in, were it declared now. It is asked with a body because a list of devices
 * is too long for an address; it answers, and changes nothing.
 */
import { Hono } from 'hono';
import type { Clock } from '../clock.ts';
import type { DesiredState, Rollout, Stage } from '../core/model/desired.ts';
import type { DeviceId, RolloutName } from '../core/model/ids.ts';
import { type Attempt, isFinished } from '../core/model/outcome.ts';
import type { ProgramCandidate } from '../core/model/program.ts';
import { isEmergency } from '../core/plan/emergency.ts';
import { buildProgram, candidateOf } from '../core/plan/program.ts';
import { nextStage, stagesToCome } from '../core/plan/slow.ts';
import type { StageTaking } from '../core/select/admission.ts';
import { conditionOn, parseCondition } from '../core/target/condition.ts';
import { parseSize } from '../documents/quantity.ts';
import type { Observer } from '../reconcile/observer.ts';
import type { ReconcilerState } from '../reconcile/reconciler.ts';
import type { Selection } from '../reconcile/selection.ts';
import { noProgram } from './caller.ts';
import { compileSchema, readJson } from './limits.ts';
import { methodNotAllowed, problem, tooMany } from './problem.ts';
import { SELECTION_BYTES_MAX, SELECTION_SCHEMA, type SelectionBody } from './selection-schema.ts';

export interface SelectionApiOptions {
  readonly state: () => ReconcilerState;
  readonly select: Observer['select'];
  readonly clock: Pick<Clock, 'now'>;
}

/** The answer, besides the {@link Selection} itself. */
export interface SelectionAnswer extends Selection {
  readonly rollout: RolloutName;
  /** Of main, in force: what it was answered by. */
  readonly commit: string;
  /** The attempt that the stage would open in, and whether it has yet to begin. */
  readonly attempt: number;
  readonly next: boolean;
  /** The stages that have opened in it. */
  readonly opened: readonly string[];
  /** `given`: neither the rollout nor its record says one, so that the answer holds only if the rollout is given this one. */
  readonly seed: 'known' | 'given';
}

/** Each looks at the whole fleet, in the thread that passes wait for, too. */
const AT_ONCE_MAX = 2;

const checkBody = compileSchema<SelectionBody>(SELECTION_SCHEMA);

export function selectionApi(options: SelectionApiOptions): Hono {
  const app = new Hono();
  let asking = 0;
  app.post('/api/rollouts/:name/selection', async (c) => {
    if (asking >= AT_ONCE_MAX) return tooMany('as many selections as may are being worked out', 1);
    asking += 1;
    try {
      return await answer(options, c.req.raw, c.req.param('name'));
    } finally {
      asking -= 1;
    }
  });
  app.all('/api/rollouts/:name/selection', (c) => methodNotAllowed(c.req.raw, 'POST'));
  return app;
}

async function answer(api: SelectionApiOptions, request: Request, name: string): Promise<Response> {
  const read = await readJson(request, { maxBytes: SELECTION_BYTES_MAX, schema: checkBody });
  if (read.kind === 'refused') return read.response;
  const { body } = read;
  const { wanted, outcomes } = api.state();
  const desired = wanted?.desired;
  if (desired === undefined) return noProgram();
  const rollout = desired.rollouts.get(name as RolloutName);
  if (rollout === undefined) {
    const detail = `the snapshot in force has no rollout "${name}"`;
    return problem('not-found', { detail, next: 'GET /api/rollouts lists those that it has' });
  }
  const takes = takingOf(body);
  if (takes instanceof Response) return takes;
  const attempts = outcomes.get(rollout.name) ?? [];
  const place = placeIn(desired, rollout, { attempts, seed: body.seed });
  if (place instanceof Response) return place;
  const { candidate, opened, coming, isNext } = place;
  const selection = await api.select(
    {
      rollout: rollout.name,
      condition: rollout.condition,
      candidate,
      coming: coming.filter((stage) => stage.name !== body.stage),
      takes,
      ...(body.ids === undefined
        ? {}
        : {
            named: {
              ids: body.ids as readonly DeviceId[],
              ...(body.where === undefined ? {} : { within: body.where }),
            },
          }),
      tags: tellingTags(rollout),
      lists: body.list ?? false,
    },
    buildProgram(desired, outcomes),
    api.clock.now(),
  );
  const answered: SelectionAnswer = {
    rollout: rollout.name,
    commit: desired.commit,
    attempt: candidate.attempt,
    next: isNext,
    opened,
    seed: (rollout.seed ?? attempts[0]?.seed) === undefined ? 'given' : 'known',
    ...selection,
  };
  return Response.json(answered, { headers: { 'Cache-Control': 'no-store' } });
}

/** The stage as `tidegate select` writes it: its size is of devices that are not in yet. */
function takingOf({ size: written, where, ids }: SelectionBody): StageTaking | Response {
  const parsed = parseSize(written);
  if (parsed === undefined || parsed.unit !== 'device')
    return invalid('/size', 'a size such as "10", "5%" or "all"', written);
  const condition = where === undefined ? undefined : parseCondition(where);
  if (condition?.ok === false)
    return invalid('/where', `a target condition (${condition.message})`, where ?? '');
  const own = ids === undefined ? where : conditionOn(ids);
  return {
    size: parsed.size,
    ...(own === undefined ? {} : { where: own }),
    unit: 'device',
    mode: 'incremental',
    stratifyBy: [],
    rampMs: 0,
    holdback: { numerator: 0, denominator: 1 },
  };
}

interface PlaceInAttempt {
  readonly candidate: ProgramCandidate;
  readonly opened: readonly string[];
  readonly coming: readonly Stage[];
  readonly isNext: boolean;
}

/** The attempt under way, or the one that would be the next. */
function placeIn(
  { snapshot, commit }: DesiredState,
  rollout: Rollout,
  { attempts, seed: given }: { readonly attempts: readonly Attempt[]; readonly seed: string | undefined },
): PlaceInAttempt | Response {
  const latest = attempts.at(-1);
  if (latest !== undefined && !isFinished(latest) && latest.revision === rollout.revision) {
    if (isEmergency(latest))
      return unready(`an emergency is under way in attempt ${latest.attempt}, and no stage opens after it`);
    if (nextStage(rollout, latest)?.slow === true)
      return unready(`attempt ${latest.attempt} goes on slowly, with a fifth of its next stage`);
    const opened = latest.stages.filter(({ slow }) => slow !== true).map(({ name }) => name);
    return { candidate: candidateOf(latest), opened, coming: stagesToCome(rollout, latest), isNext: false };
  }
  const seed = rollout.seed ?? attempts[0]?.seed ?? given;
  if (seed === undefined) return unready('the rollout has no seed yet');
  const { revision, manifest, exclude } = rollout;
  const candidate = {
    attempt: (latest?.attempt ?? 0) + 1,
    revision,
    manifest,
    snapshot,
    commit,
    offers: true,
    seed,
    ...(exclude === undefined ? {} : { exclude }),
    stages: [],
  };
  return { candidate, opened: [], coming: rollout.stages, isNext: true };
}

/** What people tell devices apart by, and whatever else a stage is to have of each. */
function tellingTags({ stages }: { readonly stages: readonly Stage[] }): readonly string[] {
  return [
    ...new Set(['hardwareRevision', 'region', 'site', ...stages.flatMap(({ stratifyBy }) => stratifyBy)]),
  ];
}

function unready(detail: string): Response {
  return problem('not-selectable', { detail, next: 'GET /api/rollouts/{name} says where it stands' });
}

function invalid(pointer: string, expected: string, found: string): Response {
  const detail = `${pointer}: expected ${expected}, found ${JSON.stringify(found.slice(0, 80))}`;
  return problem('invalid-body', { detail, next: 'correct this value', extensions: { pointer } });
}
