/**
 * What a breach is worth. Evidence decides whether there is one; how many times the baseline it is picks the rung, and the rung says
 * what is done and by when somebody has to have decided.
 */
import type { Gate, Ladder, Rung } from '../model/gate.ts';
import { DAY, HOUR } from '../model/time.ts';

/** Incidents, failures and metrics. A regression of half as much again is real, and seldom urgent. */
export const STANDARD_LADDER: Ladder = [
  { from: 0, severity: 'low', action: 'pause', withinMs: 72 * HOUR },
  { from: 2, severity: 'moderate', action: 'monitor', withinMs: 48 * HOUR },
  { from: 5, severity: 'high', action: 'pause', withinMs: 24 * HOUR },
  { from: 10, severity: 'critical', action: 'rollBack', withinMs: 4 * HOUR },
];

/** Devices that nobody hears of any more can be given nothing but a way back, and that at once. */
export const SILENCE_LADDER: Ladder = [{ from: 0, severity: 'critical', action: 'rollBack', withinMs: HOUR }];

/** What people say needs people to look at. */
export const TRIAGE_LADDER: Ladder = [
  { from: 0, severity: 'moderate', action: 'pause', withinMs: 24 * HOUR },
];

/** For what is a nuisance: it goes on, and somebody looks at it once a week. */
export const NUISANCE_LADDER: Ladder = [
  { from: 0, severity: 'low', action: 'continue', withinMs: 7 * DAY },
  ...STANDARD_LADDER.slice(1),
];

/** The ladder of a gate that has none of its own. */
export function ladderOf(gate: Gate): Ladder {
  if (gate.kind !== 'expression' && gate.ladder !== undefined) return gate.ladder;
  if (gate.kind === 'share' && gate.of === 'silent') return SILENCE_LADDER;
  if (gate.kind === 'observations' || gate.kind === 'prometheus' || gate.kind === 'webhook')
    return TRIAGE_LADDER;
  return STANDARD_LADDER;
}

/** The highest rung that the ratio reaches. Without a ratio it is the lowest. */
export function rungOf(ladder: Ladder, ratio: number | undefined): Rung {
  const reached = ladder.filter(({ from }) => from <= (ratio ?? 0) * (1 + 1e-12));
  const [lowest = STANDARD_RUNG] = ladder;
  return reached.reduce((highest, rung) => (rung.from >= highest.from ? rung : highest), lowest);
}

const STANDARD_RUNG: Rung = { from: 0, severity: 'moderate', action: 'pause', withinMs: 48 * HOUR };
