/** What gates ask of the world outside the fleet, and what was answered. Asking is not done here, and neither is judging. */
import type { DurationMs, Instant } from '../model/time.ts';

/** A question that a gate asks again and again. */
export type Question =
  | { readonly kind: 'prometheus'; readonly query: string }
  | {
      readonly kind: 'webhook';
      readonly url: string;
      /** What is sent: which rollout, attempt, revision, stage and gate it is about. */
      readonly about: Readonly<Record<string, string | number>>;
    };

export interface Probe {
  readonly key: string;
  readonly everyMs: DurationMs;
  /** Samples older than this are forgotten, but for the last one. */
  readonly keepMs: DurationMs;
  readonly question: Question;
}

/** Every number is finite. `because` is one line of at most a few hundred characters, for people. */
export type Answer =
  | { readonly kind: 'value'; readonly value: number }
  | { readonly kind: 'verdict'; readonly verdict: Verdict; readonly because: string }
  /** There is no answer, or none that can be used. It speaks neither for the release nor against it. */
  | { readonly kind: 'trouble'; readonly because: string };

type Verdict = 'pass' | 'halt' | 'wait';

/** What was answered, once. `at` is when it was asked: what is said of the world may be younger, and is never older. */
export type Sample = { readonly at: Instant } & Answer;
