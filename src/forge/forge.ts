/** The port to the server that hosts the fleet repository, as far as it is more than git: asking people to merge. */
import type { Instant } from '../core/model/time.ts';

export interface Forge {
  /**
   * Asks people to merge `branch` into `base`. Asking again finds what was asked before and is still open. Never rejects
   * for what the forge or the network does; `signal` ends the wait.
   */
  openPullRequest(request: PullRequest, signal: AbortSignal): Promise<PullRequestResult>;
}

export interface PullRequest {
  readonly branch: string;
  readonly base: string;
  readonly title: string;
  /** Markdown. */
  readonly body: string;
}

export type PullRequestResult =
  | { readonly kind: 'open'; readonly url: string }
  /** `reason` is a sentence with the next step, and never holds the token. Before `retryAt` asking again is no use. */
  | { readonly kind: 'refused'; readonly reason: string; readonly retryAt?: Instant };
