/** Gates for an operator who has to decide, and knows no statistics. Pure: the same state at the same instant gives the same text. */
import type { BreachAction, Severity } from '../core/model/gate.ts';
import type { Instant } from '../core/model/time.ts';
import { formatCount } from '../core/words.ts';
import type { ExplainedRollout } from './gate-explain.ts';
import { GATE_STATES } from './gate-states.ts';
import { formatWhen, hanging, type Output, type Style, wrap } from './output.ts';
import { stateWords } from './status-text.ts';

type Paper = Pick<Output, 'width' | 'paint'>;
type ExplainedGate = ExplainedRollout['gates'][number];
type Fact = readonly [name: string, text: string];

export function gateLines(rollouts: readonly ExplainedRollout[], now: Instant, out: Paper): string[] {
  if (rollouts.length === 0) return ['no rollouts'];
  return rollouts.flatMap((rollout, index) => [
    ...(index === 0 ? [] : ['']),
    ...rolloutLines(rollout, now, out),
  ]);
}

function rolloutLines(rollout: ExplainedRollout, now: Instant, out: Paper): string[] {
  const { name, attempt, stage, state, gates, breach, concerns } = rollout;
  const title = [
    name,
    ...(attempt === undefined ? [] : [`attempt ${attempt}`]),
    ...(stage === undefined ? [] : [`stage ${stage}`]),
  ].join(', ');
  return [
    ...wrap(`${title}: ${stateWords(state)}`, out).map((line) => out.paint('bold', line)),
    ...(gates.length === 0 ? wrap(whyNoGates(rollout), out, '  ') : []),
    ...(countsAnew(rollout) ? wrap(ANEW, out, '  ').map((line) => out.paint('dim', line)) : []),
    ...gates.flatMap((gate) => ['', ...gateFacts(gate, out)]),
    ...(breach === undefined ? [] : ['', ...breachLines(breach, now, out)]),
    ...concerns.flatMap((concern) => ['', ...concernLines(concern, now, out)]),
  ];
}

/** After a breach a gate may well hold: what led to it is not counted twice. */
const ANEW = 'Since the breach gates count anew: what they say is about what was seen after it.';

function countsAnew({ state, gates, breach }: ExplainedRollout): boolean {
  return gates.length > 0 && breach?.gate !== undefined && (state === 'paused' || state === 'monitoring');
}

const ENDED: ReadonlySet<ExplainedRollout['state']> = new Set([
  'succeeded',
  'stopped',
  'rolledBack',
  'superseded',
]);

function whyNoGates({ name, state, attempt, stage }: ExplainedRollout): string {
  if (attempt === undefined) return 'no gates yet: there is no attempt';
  if (ENDED.has(state)) {
    return `no gates are judged any more: the attempt has ended; tidegate gate replay GATE --outcome ${name}/${attempt} shows what was recorded`;
  }
  if (stage === undefined) return 'no gates yet: no stage is open';
  return `stage ${stage} has no gates: devices succeed by reporting so`;
}

function gateFacts(gate: ExplainedGate, out: Paper): string[] {
  const { glyph, style, words } = GATE_STATES[gate.state];
  const outlook = outlookText(gate);
  return [
    `${out.paint(style, `${glyph} ${gate.name}`)}  ${out.paint('bold', words)}`,
    ...factLines(
      [
        ['looks at', gate.rule],
        ['because', gate.because],
        ...(outlook === '' ? [] : ([['outlook', outlook]] as const)),
      ],
      out,
    ),
  ];
}

/** How far the gate is from a decision, either way. */
function outlookText({ state, incidentsToHalt, hoursToCertain }: ExplainedGate): string {
  const parts: string[] = [];
  if (incidentsToHalt !== undefined && state !== 'halts') {
    parts.push(`${formatCount(incidentsToHalt)} more within the next hour would halt it`);
  }
  if (hoursToCertain === 0) parts.push('it is certain that it is not twice as bad');
  else if (hoursToCertain !== undefined) {
    const hours = hoursToCertain === 1 ? 'one more hour' : `${formatCount(hoursToCertain)} more hours`;
    parts.push(`after ${hours} of what is normal it is certain that it is not twice as bad`);
  }
  return parts.join('; ');
}

function factLines(facts: readonly Fact[], out: Paper): string[] {
  const width = Math.max(...facts.map(([name]) => name.length));
  return facts.flatMap(([name, text]) => hanging(name, text, width, out));
}

const SEVERITIES: Readonly<Record<Severity, Style>> = {
  low: 'yellow',
  moderate: 'yellow',
  high: 'red',
  critical: 'red',
};

const ACTIONS: Readonly<Record<BreachAction, string>> = {
  continue: 'it goes on, and is looked at',
  monitor: 'nothing new is offered, and devices tell more',
  pause: 'nothing new is offered',
  rollBack: 'devices go back at once',
};

function breachLines(breach: NonNullable<ExplainedRollout['breach']>, now: Instant, out: Paper): string[] {
  const { at, gate, severity, action, because, owner, runbook, clusters = [] } = breach;
  const when = formatWhen(Date.parse(at), now);
  const title = `! breach of ${gate === undefined ? 'the error threshold' : `gate ${gate}`}, ${severity}: ${ACTIONS[action]}`;
  return [
    ...wrap(title, out).map((line) => out.paint(SEVERITIES[severity], line)),
    ...factLines(
      [
        ['at', when],
        ['because', because],
        ...clusters.map(({ tag, value, failed, devices }): Fact => {
          const share = `${formatCount(failed)} of ${formatCount(devices)} devices`;
          return ['where', `${share} with ${tag} ${value} are affected`];
        }),
        ['owner', owner],
        ...(runbook === undefined ? [] : ([['runbook', runbook]] as const)),
        ...deadlineFacts(breach, now),
      ],
      out,
    ),
  ];
}

function deadlineFacts(
  { action, decideBy, owner }: NonNullable<ExplainedRollout['breach']>,
  now: Instant,
): readonly Fact[] {
  if (decideBy === undefined) return [['decide', `${owner} decides, without a deadline`]];
  const when = formatWhen(Date.parse(decideBy), now);
  if (action === 'rollBack') return [['back by', `${when}: by then all devices should have returned`]];
  const then = 'it goes on slowly if nothing is wrong since, and is rolled back otherwise';
  return [['decide by', `${when}; without a decision ${then}`]];
}

function concernLines(
  { at, gate, severity, because, reviewBy }: ExplainedRollout['concerns'][number],
  now: Instant,
  out: Paper,
): string[] {
  const title = `! concern about gate ${gate}, ${severity}: ${ACTIONS.continue}`;
  return [
    ...wrap(title, out).map((line) => out.paint(SEVERITIES[severity], line)),
    ...factLines(
      [
        ['at', formatWhen(Date.parse(at), now)],
        ['because', because],
        ['look by', formatWhen(Date.parse(reviewBy), now)],
      ],
      out,
    ),
  ];
}
