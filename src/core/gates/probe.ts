/** What gates ask of the outside world, and what was answered. Asking is src/probes's. */
import type { DurationMs, Instant } from '../model/time.ts';

/** A question that a gate asks again and again. */
export type Question =
  | { readonly kind: 'prometheus'; readonly query: string }
  | {
      readonly kind: 'webhook';
      readonly url: string;
      readonly about: Readonly<Record<string, string | number>>;
    };

export interface Probe {
  readonly key: string;
  readonly everyMs: DurationMs;
  /** Samples older than this are forgotten, but for the last one. */
  readonly keepMs: DurationMs;
  readonly question: Question;
}

/** What was answered, once. */
export type Sample = { readonly at: Instant } & (
  | { readonly kind: 'value'; readonly value: number }
  | { readonly kind: 'verdict'; readonly verdict: 'pass' | 'halt' | 'wait'; readonly because: string }
  | { readonly kind: 'trouble'; readonly because: string }
);
