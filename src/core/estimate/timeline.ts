/**
 * When stages open and pass. `least`: every device answers at once, nothing is wrong, and no person is waited for. `likely` adds what
 * is known of polling, installing and looking at results. Nobody can say how long approvals take.
 */
import type { Fleet, InstallWindow, Rollout, Stage } from '../model/desired.ts';
import type { DurationMs, Instant } from '../model/time.ts';
import { firstOpen, inZone } from '../window/install-window.ts';

export interface StageTimes {
  /** After the beginning. */
  readonly opensAfterMs: DurationMs;
  readonly passesAfterMs: DurationMs;
  /** From opening until an install window lets the first device begin. */
  readonly windowMs: DurationMs;
  /** Until enough devices have succeeded: its ramp up to there. */
  readonly rampMs: DurationMs;
  readonly soakMs: DurationMs;
}

export interface Timeline {
  readonly stages: readonly StageTimes[];
  readonly endsAfterMs: DurationMs;
}

export interface Timelines {
  /** The instant that both count from: the merge, or when a start or a freeze lets it begin. */
  readonly beginsAt: Instant;
  /** It waits for a person to start it. */
  readonly isManual: boolean;
  readonly least: Timeline;
  /** As `least`, with the time that people take to look at each stage. */
  readonly analysed: Timeline;
  readonly likely: Timeline;
  /** As `least`, with the longest soaks: a gate is not certain before. */
  readonly longest: Timeline;
}

/** What a stage takes besides its ramp and soak. */
export interface Pace {
  /** From opening until a device has run the revision for the first time: its poll and its install. */
  readonly reachMs: DurationMs;
  /** Until somebody has looked at a stage's results. */
  readonly analysisMs: DurationMs;
}

const AT_ONCE: Pace = { reachMs: 0, analysisMs: 0 };

export function timelinesOf(
  rollout: Pick<Rollout, 'stages' | 'start' | 'installWindow' | 'name'>,
  given: { readonly fleet: Fleet; readonly pace: Pace; readonly now: Instant },
): Timelines {
  const { fleet, pace, now } = given;
  const { start, name } = rollout;
  const startsAt = start.kind === 'at' ? Math.max(now, start.at) : now;
  const { freeze } = fleet;
  const isFrozen = freeze !== undefined && !freeze.except.includes(name);
  const beginsAt = isFrozen ? Math.max(startsAt, freeze.until) : startsAt;
  const of = (at: Pace, soak: (stage: Stage) => DurationMs) =>
    timelineOf(rollout, { beginsAt, fleet, pace: at, soak });
  return {
    beginsAt,
    isManual: start.kind === 'manual',
    least: of(AT_ONCE, ({ soakMs }) => soakMs),
    analysed: of({ ...AT_ONCE, analysisMs: pace.analysisMs }, ({ soakMs }) => soakMs),
    likely: of(pace, ({ soakMs }) => soakMs),
    longest: of(AT_ONCE, ({ soakMs, soakMaxMs = soakMs }) => soakMaxMs),
  };
}

function timelineOf(
  { stages, installWindow }: Pick<Rollout, 'stages' | 'installWindow'>,
  given: {
    readonly beginsAt: Instant;
    readonly fleet: Fleet;
    readonly pace: Pace;
    readonly soak: (stage: Stage) => DurationMs;
  },
): Timeline {
  const { beginsAt, fleet, pace, soak } = given;
  let at = beginsAt;
  const found = stages.map((stage): StageTimes => {
    const opensAt = at;
    const windowMs = waitForWindow(installWindow, fleet, opensAt);
    const rampMs = Math.round(stage.rampMs * successShare(stage));
    const soakMs = soak(stage);
    at = opensAt + windowMs + pace.reachMs + rampMs + soakMs;
    const passesAfterMs = at - beginsAt;
    at += pace.analysisMs;
    return { opensAfterMs: opensAt - beginsAt, passesAfterMs, windowMs, rampMs, soakMs };
  });
  return { stages: found, endsAfterMs: at - beginsAt };
}

/** In the zone that the fleet or the window has; devices with zones of their own may begin earlier or later. */
function waitForWindow(window: InstallWindow | undefined, { timezone }: Fleet, at: Instant): DurationMs {
  if (window === undefined) return 0;
  return firstOpen(inZone(window, { tags: {}, fleetTimezone: timezone }), at) - at;
}

/** The share of its devices with which a stage begins to soak. */
function successShare({ successThreshold }: Stage): number {
  if (successThreshold.kind === 'count') return 1;
  return successThreshold.share.numerator / successThreshold.share.denominator;
}
