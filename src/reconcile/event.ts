/** What happens in passes, for logs, metrics and whoever listens. */
import type { Attempt } from '../core/model/outcome.ts';
import type { Instant } from '../core/model/time.ts';
import type { Decision } from '../core/plan/contract.ts';
import type { Oid } from '../git/git.ts';
import type { Wanted } from './desired.ts';

export type ReconcileEvent =
  | { readonly kind: 'snapshot'; readonly at: Instant; readonly wanted: Wanted }
  | { readonly kind: 'problems'; readonly at: Instant; readonly wanted: Wanted }
  | { readonly kind: 'decision'; readonly at: Instant; readonly decision: Decision; readonly commit: Oid }
  | {
      readonly kind: 'restored';
      readonly at: Instant;
      readonly attempt: Attempt;
      readonly commit: Oid;
      readonly subject: string;
    }
  /** Main refused the restoring commit; `pullRequest` is the URL of what asks people to merge it, once that is open. */
  | {
      readonly kind: 'diverged';
      readonly at: Instant;
      readonly attempt: Attempt;
      readonly reason: string;
      readonly pullRequest?: string;
    }
  /** Nothing opens from now on, or again (`reason` absent). */
  | { readonly kind: 'held'; readonly at: Instant; readonly reason?: string }
  | { readonly kind: 'failed'; readonly at: Instant; readonly message: string }
  | { readonly kind: 'pass'; readonly at: Instant };
