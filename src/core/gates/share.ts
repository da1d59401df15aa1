/** Gates over shares of a stage's devices: each device is one trial, however often it reports. */
import type { ShareGate } from '../model/gate.ts';
import { type DurationMs, formatDuration } from '../model/time.ts';
import { betOnShare, logEvidence, noBets, ODDS_GRID } from './e-process.ts';
import type { GateReading } from './reading.ts';
import { evidenceText, exceeds, figure, percent, points } from './words.ts';

/** Devices at this moment. */
export interface DeviceShares {
  /** A device of which nothing was heard for so long is silent. */
  readonly afterMs: DurationMs;
  /** Those that tried the revision: they run it, or failed with it. */
  readonly attempted: number;
  readonly failed: number;
  readonly rolledBack: number;
  /** Those that began with the revision, and those of them that have not been heard of for the gate's time. */
  readonly reached: number;
  readonly silent: number;
  /** The same of devices that the rollout has not reached. */
  readonly control: number;
  readonly controlSilent: number;
}

export function readShare(gate: ShareGate, seen: DeviceShares, alpha: number): GateReading {
  const { name, limit } = gate;
  const [bad, all] = gate.of === 'silent' ? [seen.silent, seen.reached] : [seen[gate.of], seen.attempted];
  const counts = [bad, all, seen.controlSilent, seen.control] as const;
  const common = { name, counts, ...(gate.of === 'silent' ? { afterMs: seen.afterMs } : {}) };
  if (all === 0) {
    const because = 'no device has begun with the new revision';
    return { ...common, state: 'missing', because, ...(limit.kind === 'allowed' ? { logEvidence: 0 } : {}) };
  }
  const share = bad / all;
  const said = `${figure(bad)} of ${figure(all)} devices ${WORDS[gate.of]}${gate.of === 'silent' ? ` for ${formatDuration(seen.afterMs)}` : ''} (${percent(share)})`;
  switch (limit.kind) {
    case 'above': {
      const ratio = share / limit.share;
      const state = exceeds(share, limit.share) ? 'halts' : 'holds';
      return { ...common, state, because: `${said}; more than ${percent(limit.share)} halts`, ratio };
    }
    case 'allowed': {
      const log = logEvidence(
        betOnShare(noBets(ODDS_GRID), { failures: bad, trials: all, allowed: limit.share }),
      );
      const because = `${said}; the evidence that this is more than ${percent(limit.share)} is ${evidenceText(log)}, and halts at ${figure(1 / alpha)}`;
      return { ...common, state: 'holds', because, ratio: share / limit.share, logEvidence: log };
    }
    case 'drop': {
      if (seen.control === 0) {
        const because = `${said}; there are no untouched devices to compare with: keep some with holdback, or give a share with above`;
        return { ...common, state: 'missing', because };
      }
      const here = 1 - share;
      const there = 1 - seen.controlSilent / seen.control;
      const drop = 'points' in limit ? there - here : there > 0 ? (there - here) / there : 0;
      const most = 'points' in limit ? limit.points : limit.share;
      const text = 'points' in limit ? points : percent;
      const state = exceeds(drop, most) ? 'halts' : 'holds';
      const because = `${percent(here)} of the devices are heard of, of untouched ones ${percent(there)}: ${drop > 0 ? `${text(drop)} less` : 'no less'}; more than ${text(most)} halts`;
      // How much more often than untouched devices they are not heard of.
      const ratio = there < 1 ? share / (1 - there) : undefined;
      return { ...common, state, because, ...(ratio === undefined ? {} : { ratio }) };
    }
  }
}

const WORDS = {
  failed: 'failed',
  rolledBack: 'went back by themselves',
  silent: 'have not been heard of',
} as const;

/** The devices again, from what {@link readShare} made of them; `afterMs` where the gate says nothing of it. */
export function sharesFrom(
  gate: ShareGate,
  recorded: { readonly counts: GateReading['counts']; readonly afterMs: DurationMs },
): DeviceShares {
  const [bad, all, controlSilent, control] = recorded.counts ?? [0, 0, 0, 0];
  const none = { attempted: 0, failed: 0, rolledBack: 0, reached: 0, silent: 0 };
  const own = gate.of === 'silent' ? { reached: all, silent: bad } : { attempted: all, [gate.of]: bad };
  return { ...none, ...own, afterMs: recorded.afterMs, control, controlSilent };
}
