/** A replay for people and for programs: hour by hour, then the verdict. Pure: the same replay gives the same text, byte for byte. */
import type { MeasuredGate, Row } from '../core/gates/exposure.ts';
import type { GateReading } from '../core/gates/reading.ts';
import type { Replay, Tick } from '../core/gates/replay.ts';
import { evidenceText, figure } from '../core/gates/words.ts';
import type { StageGate } from '../core/model/gate.ts';
import type { StageGateVerdict } from '../core/model/outcome.ts';
import { formatInstant } from '../core/model/time.ts';
import { GATE_STATES } from './gate-states.ts';
import { type Cell, hanging, type Output, printable, table, wrap } from './output.ts';

type Paper = Pick<Output, 'width' | 'paint'>;

/** What both kinds of replay print in JSON. Numbers as they are: an evidence beyond every number is null, its logarithm is not. */
export function jsonOfReplay(gate: StageGate, { reading, ticks, haltsAtTick }: Replay) {
  const { state, because, logEvidence, ratio } = reading;
  const arms = armsIn(gate);
  return {
    state,
    because,
    logEvidence: numberOrNull(logEvidence),
    evidence: evidenceOf(logEvidence),
    ratio: numberOrNull(ratio),
    haltsAtTick: haltsAtTick ?? null,
    ...(arms === undefined ? {} : { seen: seenIn(ticks, arms) }),
    ticks: ticks.map((tick) => ({
      at: formatInstant(tick.at),
      ...(arms === undefined ? {} : armsOf(tick.row, arms)),
      ratio: numberOrNull(tick.ratio),
      logEvidence: numberOrNull(tick.logEvidence),
      evidence: evidenceOf(tick.logEvidence),
      halts: tick.halts,
    })),
  };
}

export function numberOrNull(value: number | undefined): number | null {
  return value === undefined || !Number.isFinite(value) ? null : value;
}

function evidenceOf(log: number | undefined): number | null {
  return log === undefined ? null : numberOrNull(Math.exp(log));
}

/** How the two numbers of an arm are called, and the one divided by the other. */
interface ArmWords {
  readonly amount: 'incidents' | 'sum';
  readonly over: 'hours' | 'count';
  readonly per: 'rate' | 'mean';
}

function armsIn(gate: StageGate): ArmWords | undefined {
  if (gate.kind === 'events') return { amount: 'incidents', over: 'hours', per: 'rate' };
  if (gate.kind === 'metric') return { amount: 'sum', over: 'count', per: 'mean' };
  return undefined;
}

function armsOf([, amount, over, other, otherOver]: Row, words: ArmWords) {
  return {
    treated: { [words.amount]: amount, [words.over]: over },
    control: { [words.amount]: other, [words.over]: otherOver },
  };
}

/** All hours together. */
function seenIn(ticks: readonly Tick[], words: ArmWords) {
  const arm = ([amount, over]: readonly [number, number]) => ({
    [words.amount]: amount,
    [words.over]: over,
    [words.per]: over > 0 ? amount / over : null,
  });
  const { treated, control } = totalsOf(ticks);
  return { treated: arm(treated), control: arm(control) };
}

function totalsOf(ticks: readonly Tick[]) {
  const sum = (index: 1 | 2 | 3 | 4) => ticks.reduce((total, { row }) => total + row[index], 0);
  return { treated: [sum(1), sum(2)] as const, control: [sum(3), sum(4)] as const };
}

/** A line per hour, the one that halts marked, and what they add up to. */
export function hoursLines(gate: MeasuredGate, { ticks, haltsAtTick }: Replay, out: Paper): string[] {
  if (ticks.length === 0) return wrap('No hours were recorded.', out);
  const hasControl = gate.against.kind === 'control' || ticks.some(({ row }) => row[4] > 0);
  const bets = gate.method.kind === 'sequential';
  const [own, over] = gate.kind === 'events' ? ['INCIDENTS', 'HOURS'] : ['MEAN', 'VALUES'];
  const head = [
    'HOUR (UTC)',
    own,
    over,
    ...(hasControl ? ['UNTOUCHED', over] : []),
    'RATIO',
    ...(bets ? ['EVIDENCE'] : []),
  ];
  const rows = ticks.map((tick) => [
    formatInstant(tick.at).slice(0, 16).replace('T', ' '),
    ...armCells(gate, [tick.row[1], tick.row[2]]),
    ...(hasControl ? armCells(gate, [tick.row[3], tick.row[4]]) : []),
    tick.ratio === undefined ? '–' : shortRatio(tick.ratio),
    ...(bets ? [tick.logEvidence === undefined ? '–' : evidenceText(tick.logEvidence)] : []),
  ]);
  const [first = [], ...others] = rightAligned([head, ...rows]);
  const cells = others.map((row, index): Cell[] =>
    index === haltsAtTick ? [...row, { text: '✗ halts', style: 'red' }] : row,
  );
  return [
    ...table([first.map((text): Cell => ({ text, style: 'dim' })), ...cells], out),
    ...totalLines(gate, ticks, { hasControl, bets }, out),
  ];
}

function armCells(gate: MeasuredGate, [amount, over]: readonly [number, number]): string[] {
  if (gate.kind === 'events') return [figure(amount), figure(over)];
  return [over > 0 ? figure(amount / over) : '–', figure(over)];
}

function shortRatio(ratio: number): string {
  return ratio < 10 ? ratio.toFixed(2) : figure(Math.round(ratio));
}

/** Numbers below each other by their last digit; the first column is text. */
function rightAligned(rows: readonly (readonly string[])[]): string[][] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row.map((text, column) => (column === 0 ? text : text.padStart(widths[column] ?? 0))),
  );
}

function totalLines(
  gate: MeasuredGate,
  ticks: readonly Tick[],
  { hasControl, bets }: { hasControl: boolean; bets: boolean },
  out: Paper,
): string[] {
  const { treated, control } = totalsOf(ticks);
  const facts: [string, string][] = [
    ['in all', totalText(gate, treated)],
    ...(hasControl ? [['untouched', totalText(gate, control)] as [string, string]] : []),
  ];
  const width = Math.max(...facts.map(([name]) => name.length));
  const legend = `${bets ? 'Ratio and evidence are' : 'The ratio is'} of all hours up to that one.`;
  return [
    ...wrap(legend, out).map((line) => out.paint('dim', line)),
    '',
    ...facts.flatMap(([name, text]) => hanging(name, text, width, out)),
  ];
}

function totalText(gate: MeasuredGate, [amount, over]: readonly [number, number]): string {
  if (gate.kind === 'metric') {
    const mean = over > 0 ? `, ${figure(amount / over)} on average` : '';
    return `${figure(over)} values of ${printable(gate.signal)}${mean}`;
  }
  const rate = over > 0 ? `: ${figure(amount / over)} per device-hour` : '';
  return `${figure(amount)} ${printable(gate.event)} in ${figure(over)} device-hours${rate}`;
}

/** What a gate that is not over hours had seen. */
export function heardLines(gate: StageGate, recorded: StageGateVerdict, out: Paper): string[] {
  const { counts, observations = [], samples = [] } = recorded;
  switch (gate.kind) {
    case 'share': {
      const [bad, all, otherBad, other] = counts ?? [0, 0, 0, 0];
      const what = { failed: 'failed', rolledBack: 'went back', silent: 'silent' }[gate.of];
      const facts: [string, string][] = [
        [what, `${figure(bad)} of ${figure(all)} devices`],
        ...(gate.of === 'silent'
          ? [['untouched', `${figure(otherBad)} of ${figure(other)} devices`] as [string, string]]
          : []),
      ];
      const width = Math.max(...facts.map(([name]) => name.length));
      return facts.flatMap(([name, text]) => hanging(name, text, width, out));
    }
    case 'observations':
      return listLines(
        ['MINUTE (UTC)', 'POSTED'],
        observations.map(([at, sum]) => [formatInstant(at), figure(sum)]),
        out,
      );
    case 'prometheus':
    case 'webhook':
      return listLines(
        ['ASKED', 'ANSWER'],
        samples.map((sample) => [
          formatInstant(sample.at),
          sample.kind === 'value'
            ? figure(sample.value)
            : printable(
                `${sample.kind === 'verdict' ? sample.verdict : 'no answer'}${sample.because === '' ? '' : `: ${sample.because}`}`,
              ),
        ]),
        out,
      );
    default:
      return [];
  }
}

function listLines(head: readonly string[], rows: readonly (readonly string[])[], out: Paper): string[] {
  if (rows.length === 0) return wrap('Nothing was heard.', out);
  return table([head.map((text): Cell => ({ text, style: 'dim' })), ...rows], out);
}

/** `✗ halts: …` */
export function verdictLines({ state, because }: GateReading, out: Paper): string[] {
  const { glyph, style, words } = GATE_STATES[state];
  return wrap(`${glyph} ${words}: ${printable(because)}`, out).map((line) => out.paint(style, line));
}
