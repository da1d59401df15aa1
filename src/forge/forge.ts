/**
 * The port to the server that hosts the fleet repository, as far as it is more than git: asking people to merge, and telling them on
 * their pull requests what became of them. Nothing here rejects for what the forge or the network does; `signal` ends the wait.
 */
import type { Instant } from '../core/model/time.ts';

export interface Forge {
  /** Asks people to merge `branch` into `base`. Asking again finds what was asked before and is still open. */
  openPullRequest(request: PullRequest, signal: AbortSignal): Promise<PullRequestResult>;
  /** The pull request that was merged into `base` and brought the commit. */
  pullRequestOf(
    commit: { readonly commit: string; readonly base: string },
    signal: AbortSignal,
  ): Promise<BroughtBy | Refused>;
  /**
   * Makes the comment, or changes it to be this one. There is one of ours per marker and pull request, however often and by however
   * many this is called; a comment with the marker that is somebody else's is left alone.
   */
  keepComment(comment: StickyComment, signal: AbortSignal): Promise<CommentResult>;
}

export interface PullRequest {
  readonly branch: string;
  readonly base: string;
  readonly title: string;
  /** Markdown. */
  readonly body: string;
}

/** `reason` is a sentence with the next step, and never holds the token. Before `retryAt` asking again is no use. */
export interface Refused {
  readonly kind: 'refused';
  readonly reason: string;
  readonly retryAt?: Instant;
}

export type PullRequestResult = { readonly kind: 'open'; readonly url: string } | Refused;

/** `none`: somebody pushed it. */
export type BroughtBy = { readonly kind: 'pullRequest'; readonly number: number } | { readonly kind: 'none' };

export interface StickyComment {
  /** Its number. */
  readonly pullRequest: number;
  /** The first line of the comment: `<!-- what it is about -->`, which nobody sees. */
  readonly marker: string;
  /** Markdown, which comes after it. */
  readonly body: string;
}

export type CommentResult =
  /** `url` is empty where the forge did not say. */
  | { readonly kind: 'kept'; readonly url: string }
  /** It will not take this one: the conversation was locked or deleted, or is full. `reason` is a sentence. */
  | { readonly kind: 'gone'; readonly reason: string }
  | Refused;
