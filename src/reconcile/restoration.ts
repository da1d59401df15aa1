/**
 * Brings main back to what devices were given back: a restoring commit where main takes it, and otherwise a branch that
 * people are asked to merge. What came of it is noted until the plan has recorded it.
 */
import type { Clock } from '../clock.ts';
import type { Restored } from '../core/model/outcome.ts';
import { attemptKey, type Restore, type RestoreResult } from '../core/plan/contract.ts';
import type { DocumentCache } from '../documents/load.ts';
import { restoreMain } from '../fleet-repo/restore.ts';
import type { Forge } from '../forge/forge.ts';
import { createPullRequests } from '../forge/pull-requests.ts';
import type { Git, NewCommit, Oid } from '../git/git.ts';
import type { ReconcileEvent } from './event.ts';
import type { Notes } from './journal.ts';
import { isSameValue } from './same-value.ts';

export interface Restorer {
  /**
   * The results, by attempt. `isNews`: something came of it, so that the next pass sees it; where somebody else moved main
   * meanwhile, that is all that came of it.
   */
  restore(
    restores: readonly Restore[],
    from: { readonly tip: Oid; readonly known: Notes['restorations'] },
  ): Promise<{ readonly restorations: Notes['restorations']; readonly isNews: boolean }>;
  close(): void;
}

export function createRestorer(ports: {
  readonly git: Git;
  readonly clock: Clock;
  readonly branch: string;
  readonly cache: DocumentCache;
  readonly sign: NonNullable<NewCommit['sign']>;
  readonly forge: Forge | undefined;
  readonly onEvent: (event: ReconcileEvent) => void;
  readonly onRestored: () => void;
  /** The forge has answered, some time after it was asked. */
  readonly onAnswer: () => void;
}): Restorer {
  const { git, clock, branch, cache, sign, forge, onEvent, onAnswer } = ports;
  const pullRequests =
    forge === undefined ? undefined : createPullRequests({ forge, git, clock, base: branch, onAnswer });

  /** What became of asking people to merge the restoring commit; undefined while nothing has. */
  function askPeople({ branch: aside = '' }: Restored): RestoreResult | undefined {
    const asked = pullRequests?.of(aside);
    const diverged = { kind: 'diverged', branch: aside } as const;
    if (asked === undefined) return undefined;
    if (asked.kind === 'refused') {
      return { ...diverged, reason: `there is no pull request: ${asked.reason}`, unopened: asked.reason };
    }
    const { url } = asked;
    return { ...diverged, reason: `${url} asks to merge the branch ${aside}`, pullRequest: url };
  }

  async function announce({ attempt }: Restore, result: RestoreResult) {
    const at = clock.now();
    if (result.kind === 'pushed') {
      const subject = (await git.commit(result.commit)).message.split('\n')[0] ?? '';
      onEvent({ kind: 'restored', at, attempt, commit: result.commit, subject });
    } else {
      const { reason, pullRequest } = result;
      onEvent({
        kind: 'diverged',
        at,
        attempt,
        reason,
        ...(pullRequest === undefined ? {} : { pullRequest }),
      });
    }
  }

  return {
    async restore(restores, { tip, known }) {
      // Results are kept until the plan has recorded them; then nobody asks for the restoration any more.
      const restorations = new Map<string, RestoreResult>();
      let isNews = false;
      for (const restore of restores) {
        const { attempt } = restore;
        const result =
          attempt.restored?.main === 'diverged'
            ? askPeople(attempt.restored)
            : await restoreMain(git, { restore, branch, tip, at: clock.now(), cache, sign });
        isNews ||= result?.kind === 'lost';
        if (result === undefined || result.kind === 'lost') continue;
        restorations.set(attemptKey(attempt), result);
        if (isSameValue(result, known.get(attemptKey(attempt)))) continue;
        isNews = true;
        ports.onRestored();
        await announce(restore, result);
      }
      return { restorations, isNews };
    },
    close: () => pullRequests?.close(),
  };
}
