/**
 * `POST /v1/observations`: numbers that others measure, for gates to judge by. A number can stop a stage whose gate asks for it and do
 * nothing else: it is added to a sum, which is all that is kept of it. It is all or nothing: of a request in which one number is wrong
 * none is kept. What is too much is a gate's to say.
 */
import { Hono } from 'hono';
import type { Clock } from '../clock.ts';
import { minuteOf } from '../core/gates/outside.ts';
import { formatDuration, type Instant, MINUTE } from '../core/model/time.ts';
import { OBSERVATION_LATE_MAX_MS } from '../reconcile/measuring.ts';
import type { PublishedProgram, Store } from '../store/store.ts';
import { type Addition, EXTERNAL_SERIES } from '../store/sums.ts';
import type { Keys } from '../trust/keys.ts';
import {
  mayPost,
  type ObservationGrant,
  unitOf,
  verifyObservationToken,
} from '../trust/observation-token.ts';
import { bearerOf } from './bearer.ts';
import { noProgram } from './caller.ts';
import { compileSchema, readJson } from './limits.ts';
import { OBSERVATIONS_SCHEMA } from './observation-schemas.ts';
import { methodNotAllowed, notFound, problem, tooMany } from './problem.ts';
import type { RateLimit } from './rate-limit.ts';

export interface ObservationsOptions {
  readonly fleet: () => { readonly name: string };
  /** The program in force; undefined before the first one. */
  readonly program: () => PublishedProgram | undefined;
  readonly keys: Pick<Keys, 'enrolment'>;
  readonly store: Pick<Store, 'addUp'>;
  readonly clock: Pick<Clock, 'now'>;
  /** Ids of tokens that were taken back. */
  readonly revoked: ReadonlySet<string>;
  /** How many numbers may come with one token; absent: any number. */
  readonly rate?: RateLimit;
  /** Called when something that counts is stored. */
  readonly onCounted: () => void;
  /** Answers for an error that was thrown on the way. */
  readonly fault: (error: unknown) => Response;
}

interface Observation {
  readonly metric: string;
  readonly value: number;
  readonly at?: string;
  readonly id?: string;
  readonly unit?: string;
}

type Body = Observation | { readonly observations: readonly Observation[] };

/** An observation and where it stands in the body, as a JSON pointer. */
interface Placed {
  readonly observation: Observation;
  readonly pointer: string;
}

const BYTES_MAX = 256 * 1024;
/** How far the clock of whoever posts may be ahead. */
const AHEAD_MAX_MS = 5 * MINUTE;

const checkBody = compileSchema<Body>(OBSERVATIONS_SCHEMA);

export function observationsApi(options: ObservationsOptions): Hono {
  const app = new Hono();
  app.post('/v1/observations', (c) => post(options, c.req.raw, c.req.header('Authorization')));
  app.all('/v1/observations', (c) => methodNotAllowed(c.req.raw, 'POST'));
  app.notFound((c) => notFound(c.req.raw));
  app.onError((error) => options.fault(error));
  return app;
}

async function post(
  api: ObservationsOptions,
  request: Request,
  authorization: string | undefined,
): Promise<Response> {
  // Who it is comes first: a stranger cannot make the server read a body.
  const grant = await grantOf(api, authorization);
  if (grant instanceof Response) return grant;
  // One before the body is known, so that bodies that come to nothing count, too.
  const tooOften = take(api, grant, 1);
  if (tooOften !== undefined) return tooOften;
  const read = await readJson(request, { maxBytes: BYTES_MAX, schema: checkBody });
  if (read.kind === 'refused') return read.response;
  const given = placed(read.body);
  const now = api.clock.now();
  const additions: Addition[] = [];
  for (const each of given) {
    const addition = additionOf(each, grant, now);
    if (addition instanceof Response) return addition;
    additions.push(addition);
  }
  const tooManyOfThem = take(api, grant, given.length - 1);
  if (tooManyOfThem !== undefined) return tooManyOfThem;

  const counted = await api.store.addUp(additions);
  if (counted.includes(true)) api.onCounted();
  const effects = counted.map((isCounted) => (isCounted ? 'counted' : 'duplicate'));
  return Response.json({ effects }, { status: 202, headers: { 'Cache-Control': 'no-store' } });
}

async function grantOf(
  { program, keys, fleet, clock, revoked }: ObservationsOptions,
  authorization: string | undefined,
): Promise<ObservationGrant | Response> {
  // Before the first program the fleet's name is not known, and a token that is fine would be refused for good.
  if (program() === undefined) return noProgram();
  const token = bearerOf(authorization);
  if (token === undefined) return refused('expected "Authorization: Bearer <observation token>"');
  const given = { token, fleet: fleet().name, now: clock.now(), revoked };
  const result = await verifyObservationToken(keys, given);
  return result.kind === 'ok' ? result.grant : refused(result.message);
}

function refused(detail: string): Response {
  const next = 'send a token of tidegate observation token, made where the data of this server lies';
  return problem('observation-token-refused', { detail, next });
}

function take({ rate, clock }: ObservationsOptions, { id }: ObservationGrant, times: number) {
  const now = clock.now();
  const seconds = times === 0 ? undefined : rate?.wait(id, now, times);
  if (seconds !== undefined) return tooMany('too many observations come with this token', seconds);
  rate?.count(id, now, times);
  return undefined;
}

function placed(body: Body): readonly Placed[] {
  if (!('observations' in body)) return [{ observation: body, pointer: '' }];
  return body.observations.map((observation, index) => ({ observation, pointer: `/observations/${index}` }));
}

/** What the observation adds, or the problem with it. */
function additionOf(given: Placed, grant: ObservationGrant, now: Instant): Addition | Response {
  const { observation, pointer } = given;
  const { metric, value, id } = observation;
  if (!mayPost(grant, metric)) {
    return problem('other-metric', {
      detail: `${pointer}/metric: the token is not for "${metric}"`,
      next: 'post a metric that the token names, or ask an operator for a token that names this one',
      extensions: { pointer: `${pointer}/metric` },
    });
  }
  const another = unitProblem(given, grant);
  if (another !== undefined) return another;
  const at = observation.at === undefined ? now : instantOf(observation.at);
  if (at === undefined || at < now - OBSERVATION_LATE_MAX_MS || at > now + AHEAD_MAX_MS) {
    const late = formatDuration(OBSERVATION_LATE_MAX_MS);
    const expected = `an instant from ${late} ago to ${formatDuration(AHEAD_MAX_MS)} ahead`;
    const found = observation.at ?? '';
    const next = 'correct the instant or the clock; what is older is too late to count';
    return invalid(`${pointer}/at`, { expected, found, next });
  }
  return {
    series: EXTERNAL_SERIES,
    name: metric,
    at: minuteOf(at),
    amount: value,
    // No name of a metric has a colon in it, so no two pairs of a metric and an id have one key.
    ...(id === undefined ? {} : { limits: [{ key: `id:${metric}:${id}`, max: 1 }] }),
  };
}

/** Minutes added to hours would be neither: a unit counts only where the token says it, too. */
function unitProblem({ observation, pointer }: Placed, grant: ObservationGrant): Response | undefined {
  const { metric, unit: found } = observation;
  const unit = unitOf(grant, metric);
  if (found === undefined || found === unit) return undefined;
  const expected = unit === undefined ? 'no unit, as the token names none' : `the unit "${unit}"`;
  const next =
    unit === undefined
      ? 'leave it out, or use a token that was made with --metric NAME=UNIT'
      : 'convert the value, or leave the unit out where it is this one';
  return invalid(`${pointer}/unit`, { expected, found, next });
}

function invalid(pointer: string, said: { expected: string; found: string; next: string }): Response {
  const { expected, found, next } = said;
  const detail = `${pointer}: expected ${expected}, found ${JSON.stringify(found)}`;
  return problem('invalid-body', { detail, next, extensions: { pointer, expected, found } });
}

/** Undefined where there is no such day: what has the form may still be the 30th of February. */
function instantOf(text: string): Instant | undefined {
  const at = Date.parse(text);
  const day = text.slice(0, 10);
  const midnight = Date.parse(`${day}T00:00:00Z`);
  if (Number.isNaN(at) || Number.isNaN(midnight)) return undefined;
  return new Date(midnight).toISOString().startsWith(day) ? at : undefined;
}
