/**
 * What is outside the fleet and answers while a rollout is played: Prometheus, webhooks, those who post numbers, and people who
 * approve. All is well there unless a fault says otherwise, and whoever plays must say so. A pause is nobody's to end: what
 * happens then is what happens where nobody decides.
 */

import { minuteOf } from '../core/gates/outside.ts';
import type { Answer, Question } from '../core/gates/probe.ts';
import type { Rollout } from '../core/model/desired.ts';
import type { Gate, PrometheusGate } from '../core/model/gate.ts';
import type { Attempt } from '../core/model/outcome.ts';
import type { DurationMs, Instant } from '../core/model/time.ts';
import { nextStage } from '../core/plan/slow.ts';
import { addOperations, newOperations, type OperationEntry } from '../documents/edit.ts';
import type { Ask } from '../probes/ask.ts';
import { ALLOWED_SIGNERS } from '../reconcile/approvals.ts';
import type { Store } from '../store/store.ts';
import { EXTERNAL_SERIES } from '../store/sums.ts';
import { generateKeys } from '../trust/keys.ts';
import type { SigningKey } from '../trust/signing-key.ts';
import { signSsh, sshPublicKey } from '../trust/ssh-signature.ts';
import type { Fault } from './fault.ts';
import type { ServiceInMemory } from './service-in-memory.ts';

/** Answers the questions of the rollout's gates. */
export function answersFor({ gates }: Pick<Rollout, 'gates'>, faults: readonly Fault[]): Ask {
  return async (question) => answerTo(question, gates, faults);
}

function answerTo(question: Question, gates: readonly Gate[], faults: readonly Fault[]): Answer {
  if (question.kind === 'webhook') {
    const fault = faults.find((each) => each.kind === 'webhook' && each.gate === question.about['gate']);
    const verdict = fault?.kind === 'webhook' ? fault.verdict : 'pass';
    return { kind: 'verdict', verdict, because: 'simulated' };
  }
  const asking = gates.find(
    (gate): gate is PrometheusGate => gate.kind === 'prometheus' && gate.query === question.query,
  );
  const fault = faults.find((each) => each.kind === 'prometheus' && each.gate === asking?.name);
  if (fault?.kind === 'prometheus') return { kind: 'value', value: fault.value };
  return { kind: 'value', value: asking === undefined ? 0 : wellWithin(asking) };
}

function wellWithin({ limit: { kind, value } }: PrometheusGate): number {
  if (kind === 'above') return value > 0 ? 0 : value - 1;
  return value > 0 ? 2 * value : value + 1;
}

/** Posts what gates over posted numbers wait for, at every step: 0, or a fault's number spread over the gate's window. */
export async function postNumbers(
  store: Pick<Store, 'addUp'>,
  given: {
    readonly gates: readonly Gate[];
    readonly faults: readonly Fault[];
    readonly now: Instant;
    readonly stepMs: DurationMs;
  },
): Promise<void> {
  const { gates, faults, now, stepMs } = given;
  const windows = new Map<string, DurationMs>();
  for (const gate of gates) {
    if (gate.kind === 'observations') {
      windows.set(gate.metric, Math.min(gate.windowMs, windows.get(gate.metric) ?? gate.windowMs));
    }
  }
  if (windows.size === 0) return;
  await store.addUp(
    [...windows].map(([metric, windowMs]) => {
      const fault = faults.find((each) => each.kind === 'observations' && each.metric === metric);
      const amount = fault?.kind === 'observations' ? (fault.value * stepMs) / windowMs : 0;
      return { series: EXTERNAL_SERIES, name: metric, at: minuteOf(now), amount };
    }),
  );
}

/** People who approve; each signs a commit of their own. */
export interface Approvers {
  /** What must be in the repository for their signatures to count. */
  readonly files: Readonly<Record<string, string>>;
  /** Gives what the attempt waits for, as long after it was asked for as they take. True where something was committed. */
  approve(attempt: Attempt, commit: ServiceInMemory['commit'], now: Instant): Promise<boolean>;
}

type Approval = Pick<OperationEntry, 'stage' | 'gate'>;

/** As many people as the rollout asks for. */
export async function createApprovers(rollout: Rollout, afterMs: DurationMs): Promise<Approvers> {
  const asked = [
    ...rollout.stages.map(({ approvals }) => approvals),
    ...rollout.gates.map((gate) => (gate.kind === 'approval' ? gate.count : 0)),
  ];
  const people: { readonly name: string; readonly key: SigningKey }[] = [];
  for (let n = 1; n <= Math.max(0, ...asked); n++) {
    people.push({ name: `approver-${n}`, key: (await generateKeys()).commits });
  }
  const signers = people.map(({ name, key }) => `${name}@simulated ssh-ed25519 ${sshPublicKey(key)}\n`);
  /** Since when they are asked for, and whether they were given; by stage and gate. */
  const known = new Map<string, { readonly since: Instant; isGiven: boolean }>();
  const file = `ops/${rollout.name}.yaml`;
  let text: string | undefined;

  function isDue(approval: Approval, now: Instant): boolean {
    const key = JSON.stringify(approval);
    const { since, isGiven } = known.get(key) ?? { since: now, isGiven: false };
    const isNow = !isGiven && now - since >= afterMs;
    known.set(key, { since, isGiven: isGiven || isNow });
    return isNow;
  }

  return {
    files: people.length === 0 ? {} : { [ALLOWED_SIGNERS]: signers.join('') },

    async approve(attempt, commit, now) {
      const due = askedFor(rollout, attempt).filter((approval) => isDue(approval, now));
      for (const approval of due) {
        for (const { name, key } of people) {
          const entry: OperationEntry = {
            action: 'approve',
            attempt: attempt.attempt,
            ...approval,
            by: name,
          };
          text = text === undefined ? newOperations(rollout.name, [entry]) : addOperations(text, [entry]);
          if (text === undefined) throw new Error(`${file}: an entry could not be added to our own file`);
          await commit(`Approve ${approval.stage}`, { [file]: text }, (content) => signSsh(content, key));
        }
      }
      return due.length > 0;
    },
  };
}

/** Approvals that the attempt waits for now: of the stage that would open, or of gates of the one that is open. */
function askedFor(rollout: Rollout, attempt: Attempt): readonly Approval[] {
  if (attempt.state === 'waitingForApproval') {
    const next = nextStage(rollout, attempt);
    return next === undefined ? [] : [{ stage: next.stage.name }];
  }
  const stage = attempt.stages.at(-1);
  if (attempt.state !== 'running' || stage?.state !== 'running') return [];
  return stage.gates.flatMap((gate) =>
    gate.kind === 'approval' ? [{ stage: stage.name, gate: gate.name }] : [],
  );
}
