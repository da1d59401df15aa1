/** The attempt that somebody names on the command line, as it is recorded on `outcomes`. */
import type { RolloutName } from '../core/model/ids.ts';
import type { Attempt, Outcomes } from '../core/model/outcome.ts';
import { didYouMean } from '../documents/suggest.ts';
import { OUTCOMES_BRANCH, type OutcomeCache, readOutcomes } from '../fleet-repo/outcomes.ts';
import type { Commit, Git, Oid } from '../git/git.ts';
import { firstParentLog } from '../git/tree.ts';
import { CommandError } from './errors.ts';
import type { Io } from './io.ts';
import { ABBREVIATED, commitIfThere, HISTORY_MAX, openToRead, theOne } from './repository.ts';

export interface RecordedAttempt {
  readonly attempt: Attempt;
  /** The stage that the commit is about, where a commit was named. */
  readonly stage: string | undefined;
}

/** `outcome`: `ROLLOUT` (its latest attempt), `ROLLOUT/ATTEMPT`, or a commit of outcomes. Throws {@link CommandError} where it is none. */
export async function findAttempt(
  options: { readonly repo: string; readonly branch: string; readonly outcome: string },
  io: Io,
): Promise<RecordedAttempt> {
  const workplace = await openToRead(options, io);
  try {
    const { git, place } = workplace;
    const tip = await git.branch(OUTCOMES_BRANCH);
    if (tip === undefined) {
      throw new CommandError(
        `${place} has no branch ${OUTCOMES_BRANCH}, where decisions are recorded; name the repository that the server works on with --repo`,
      );
    }
    const cache: OutcomeCache = new Map();
    const outcomes = await readOutcomes(git, tip, cache);
    const [, rollout = options.outcome, number] = /^([^/]+)\/([1-9][0-9]{0,8})$/.exec(options.outcome) ?? [];
    const attempts = outcomes.get(rollout as RolloutName);
    if (attempts !== undefined) return { attempt: theAttempt(attempts, rollout, number), stage: undefined };
    const commit = await findCommit(git, tip, options.outcome);
    if (commit !== undefined) return await attemptOf(git, commit, cache);
    throw unknown(options.outcome, outcomes, place);
  } finally {
    await workplace.close();
  }
}

function theAttempt(attempts: readonly Attempt[], rollout: string, number: string | undefined): Attempt {
  const found =
    number === undefined ? attempts.at(-1) : attempts.find(({ attempt }) => attempt === Number(number));
  if (found !== undefined) return found;
  const last = attempts.at(-1)?.attempt ?? 0;
  throw new CommandError(
    `${rollout} has no attempt ${number}; there ${last === 1 ? 'is attempt 1' : `are attempts 1 to ${last}`}`,
  );
}

function unknown(written: string, outcomes: Outcomes, place: string): CommandError {
  const names = [...outcomes.keys()].sort();
  const [name = written] = written.split('/');
  return new CommandError(
    `outcomes of ${place} has nothing called "${written}" (ROLLOUT, ROLLOUT/ATTEMPT or a commit of that branch); ${didYouMean(name, names)}`,
  );
}

async function findCommit(git: Git, tip: Oid, name: string): Promise<Commit | undefined> {
  if (!ABBREVIATED.test(name)) return undefined;
  if (name.length === 40) return await commitIfThere(git, name);
  const log = await firstParentLog(git, tip, () => false, HISTORY_MAX);
  const oid = theOne(
    name,
    log.map((commit) => commit.oid),
  );
  return log.find((commit) => commit.oid === oid);
}

/** The attempt as of a decision: later ones may have overwritten its verdicts. */
async function attemptOf(git: Git, commit: Commit, cache: OutcomeCache): Promise<RecordedAttempt> {
  const trailer = (key: string) => new RegExp(`^${key}: (.+)$`, 'm').exec(commit.message)?.[1];
  const outcomes = await readOutcomes(git, commit.oid, cache);
  const attempts = outcomes.get((trailer('Rollout') ?? '') as RolloutName) ?? [];
  const attempt = attempts.find((each) => each.attempt === Number(trailer('Attempt')));
  if (attempt !== undefined) return { attempt, stage: trailer('Stage') };
  throw new CommandError(
    `commit ${commit.oid} records no decision about an attempt; name one of the branch ${OUTCOMES_BRANCH}: git log ${OUTCOMES_BRANCH}`,
  );
}
