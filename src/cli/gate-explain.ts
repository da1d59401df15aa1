/** `tidegate gate explain`: what the gates of the stage at hand say now, and why, as the server sees it. */
import type { Outlook } from '../core/gates/measured.ts';
import type { GateStatus, RolloutStatus } from '../core/status.ts';
import { didYouMean } from '../documents/suggest.ts';
import { CommandError, EXIT, type ExitCode } from './errors.ts';
import { gateLines } from './gate-explain-text.ts';
import type { Io } from './io.ts';
import { getJson, serverUrl } from './server.ts';

export interface GateExplainOptions {
  readonly rollout?: string;
  readonly gate?: string;
  readonly server?: string;
  readonly format: 'text' | 'json';
}

/** What `--format json` prints of a rollout: a part of the body of `GET /api/rollouts/:name`; instants are ISO 8601. */
export interface ExplainedRollout {
  readonly name: string;
  readonly state: RolloutStatus['state'];
  readonly attempt?: number;
  /** The one at hand: the last that has opened. */
  readonly stage?: string;
  readonly owner: string;
  readonly gates: readonly (GateStatus & Outlook)[];
  readonly breach?: OverJson<NonNullable<RolloutStatus['breach']>>;
  readonly concerns: readonly OverJson<RolloutStatus['concerns'][number]>[];
}

type OverJson<T> = {
  readonly [Key in keyof T]: Key extends 'at' | 'decideBy' | 'reviewBy' ? string : T[Key];
};

export async function run(options: GateExplainOptions, io: Io): Promise<ExitCode> {
  const server = serverUrl(options.server, io);
  const names = await rolloutNames(io, server);
  if (options.rollout !== undefined && !names.includes(options.rollout)) {
    throw new CommandError(
      `no rollout "${options.rollout}" is in force; ${didYouMean(options.rollout, names)}`,
    );
  }
  const rollouts: ExplainedRollout[] = [];
  for (const name of options.rollout === undefined ? names : [options.rollout]) {
    const answer = await getJson(io, server, `api/rollouts/${encodeURIComponent(name)}`);
    // A commit took it away meanwhile.
    if (answer === undefined) continue;
    rollouts.push(of(explained(answer.body as Parameters<typeof explained>[0]), options.gate));
  }
  if (options.format === 'json') io.out.write(`${JSON.stringify({ rollouts }, null, 2)}\n`);
  else io.out.lines(gateLines(rollouts, io.clock.now(), io.out));
  return EXIT.fine;
}

async function rolloutNames(io: Io, server: URL): Promise<readonly string[]> {
  const answer = await getJson(io, server, 'api/rollouts');
  const { rollouts } = (answer?.body ?? {}) as { rollouts?: readonly { readonly name: string }[] };
  if (Array.isArray(rollouts)) return rollouts.map(({ name }) => name);
  throw new CommandError(`what answers at ${server.origin} is no Tidegate server; check --server`);
}

function explained(
  body: ExplainedRollout & { readonly stages: readonly { readonly name: string; readonly state: string }[] },
): ExplainedRollout {
  const { name, state, attempt, owner, gates, breach, concerns, stages } = body;
  const stage = stages.findLast((each) => each.state !== 'scheduled')?.name;
  return {
    name,
    state,
    ...(attempt === undefined ? {} : { attempt }),
    ...(stage === undefined ? {} : { stage }),
    owner,
    gates,
    ...(breach === undefined ? {} : { breach }),
    concerns,
  };
}

/** What is about one gate only, where one was named. */
function of(rollout: ExplainedRollout, gate: string | undefined): ExplainedRollout {
  if (gate === undefined) return rollout;
  const { breach, ...rest } = rollout;
  const gates = rollout.gates.filter(({ name }) => name === gate);
  if (gates.length === 0) {
    const names = rollout.gates.map(({ name }) => name);
    const where = rollout.stage === undefined ? '' : ` in stage ${rollout.stage}`;
    throw new CommandError(
      `${rollout.name} is judged by no gate "${gate}"${where} now; ${didYouMean(gate, names)}`,
    );
  }
  return {
    ...rest,
    gates,
    ...(breach?.gate === gate ? { breach } : {}),
    concerns: rollout.concerns.filter((concern) => concern.gate === gate),
  };
}
