/**
 * Asks the questions of gates again and again, and keeps what was answered. It judges nothing: whoever plans reads the
 * samples. Nobody waits for an answer, and an answer that does not come is one, too.
 */
import type { Clock } from '../clock.ts';
import type { Answer, Probe, Sample } from '../core/gates/probe.ts';
import { DAY, type DurationMs, type Instant, SECOND } from '../core/model/time.ts';
import type { Ask } from './ask.ts';

export interface Prober {
  /** From now on these are asked, the new ones at once. A key that stays keeps its samples; one that is gone is forgotten. */
  follow(probes: readonly Probe[]): void;
  /** By key, the oldest first; a key that is followed and was not answered yet has none. It is not changed afterwards. */
  samples(): ReadonlyMap<string, readonly Sample[]>;
  /** Asks no more, and resolves when nothing is under way. */
  close(): Promise<void>;
}

export interface ProberOptions {
  readonly clock: Clock;
  /** From 0 to below 1. */
  readonly random: () => number;
  readonly ask: Ask;
  /** Called after an answer, unless it is the trouble that there was before, word for word. */
  readonly onSample: () => void;
}

/** However often a gate wants to ask. */
const EVERY_MS_MIN = 5 * SECOND;
/** Part of the interval that is left to chance, so that those who began together do not go on together. */
const JITTER = 0.1;
const UNDER_WAY_MAX = 8;
/** Of these, who had trouble last may take so many: servers that do not answer hold up nobody who asks another. */
const TROUBLED_MAX = UNDER_WAY_MAX / 2;
const SAMPLES_MAX = 1000;
/** Timers count to 24 days. */
const SLEEP_MS_MAX = DAY;

interface Followed {
  probe: Probe;
  samples: readonly Sample[];
  /** The last time; undefined before the first. */
  askedAt?: Instant;
  /** 0–1: where in the jitter its next time is. */
  lot: number;
}

interface Request {
  readonly controller: AbortController;
  readonly isTroubled: boolean;
  readonly ended: Promise<void>;
}

export function createProber({ clock, random, ask, onSample }: ProberOptions): Prober {
  let followed: ReadonlyMap<string, Followed> = new Map();
  /** By key. One that was aborted stays until it has ended: a key is never asked twice at once. */
  const underWay = new Map<string, Request>();
  let alarm:
    | { readonly at: Instant; readonly cancel: AbortController; readonly over: Promise<void> }
    | undefined;
  let isClosed = false;

  /** Asks what is due as far as there is room, and wakes when the next is. What finds no room is looked at after an answer. */
  function arrange(): void {
    if (isClosed) return;
    const now = clock.now();
    const due: Followed[] = [];
    let nextAt: Instant | undefined;
    for (const [key, each] of followed) {
      if (underWay.has(key)) continue;
      const at = dueAt(each, now);
      if (at <= now) due.push(each);
      else if (nextAt === undefined || at < nextAt) nextAt = at;
    }
    due.sort((a, b) => dueAt(a, now) - dueAt(b, now));
    for (const each of due) {
      if (underWay.size >= UNDER_WAY_MAX) break;
      if (isTroubled(each) && troubledUnderWay() >= TROUBLED_MAX) continue;
      begin(each, now);
    }
    wakeAt(nextAt, now);
  }

  function begin(each: Followed, now: Instant): void {
    const { key, question } = each.probe;
    const controller = new AbortController();
    each.askedAt = now;
    each.lot = random();
    const ended = answerTo(ask(question, controller.signal)).then((answer) => {
      underWay.delete(key);
      if (!controller.signal.aborted) note(each, { at: now, ...answer });
      arrange();
    });
    underWay.set(key, { controller, isTroubled: isTroubled(each), ended });
  }

  function note(each: Followed, sample: Sample): void {
    const before = each.samples.at(-1);
    const earlier = each.samples.filter(({ at }) => at <= sample.at);
    each.samples = kept([...earlier, sample], each.probe.keepMs, clock.now());
    const isNews =
      sample.kind !== 'trouble' || before?.kind !== 'trouble' || before.because !== sample.because;
    if (isNews) onSample();
  }

  const troubledUnderWay = () => [...underWay.values()].filter((request) => request.isTroubled).length;

  function wakeAt(at: Instant | undefined, now: Instant): void {
    if (alarm?.at === at) return;
    alarm?.cancel.abort();
    alarm = undefined;
    if (at === undefined) return;
    const cancel = new AbortController();
    const over = clock.sleep(Math.min(at - now, SLEEP_MS_MAX), cancel.signal).then(() => {
      if (cancel.signal.aborted) return;
      alarm = undefined;
      arrange();
    });
    alarm = { at, cancel, over };
  }

  return {
    follow(probes) {
      if (isClosed) return;
      const before = followed;
      followed = new Map(
        probes.map((probe) => {
          const known = before.get(probe.key);
          if (known === undefined) return [probe.key, { probe, samples: [], lot: 0 }];
          known.probe = probe;
          return [probe.key, known];
        }),
      );
      for (const [key, { controller }] of underWay) if (!followed.has(key)) controller.abort();
      arrange();
    },
    samples() {
      const now = clock.now();
      return new Map(
        [...followed].map(([key, { samples, probe }]) => [key, kept(samples, probe.keepMs, now)]),
      );
    },
    async close() {
      isClosed = true;
      alarm?.cancel.abort();
      for (const { controller } of underWay.values()) controller.abort();
      await Promise.all([alarm?.over, ...[...underWay.values()].map(({ ended }) => ended)]);
    },
  };
}

/** In the past where it never was asked, or where the clock was set back since. */
function dueAt({ probe, askedAt, lot }: Followed, now: Instant): Instant {
  if (askedAt === undefined || askedAt > now) return Number.NEGATIVE_INFINITY;
  const everyMs: DurationMs = probe.everyMs * (1 + JITTER * (lot - 0.5));
  return askedAt + Math.max(EVERY_MS_MIN, Math.round(everyMs));
}

function isTroubled({ samples }: Followed): boolean {
  return samples.at(-1)?.kind === 'trouble';
}

/** Without what is too old, or of a time that the clock was set back from. The last one stays whatever its age. */
function kept(samples: readonly Sample[], keepMs: DurationMs, now: Instant): readonly Sample[] {
  const [first, last] = [samples[0], samples.at(-1)];
  if (first === undefined || last === undefined) return samples;
  if (samples.length <= SAMPLES_MAX && first.at >= now - keepMs && last.at <= now) return samples;
  const isKept = (sample: Sample) => sample === last || (sample.at <= now && sample.at >= now - keepMs);
  return samples.filter(isKept).slice(-SAMPLES_MAX);
}

async function answerTo(asked: Promise<Answer>): Promise<Answer> {
  try {
    return await asked;
  } catch (error) {
    const cause = error instanceof Error ? error.message : String(error);
    return { kind: 'trouble', because: `it could not be asked: ${cause}; this is a bug, report it` };
  }
}
