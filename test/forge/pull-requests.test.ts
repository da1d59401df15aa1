import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { HOUR, MINUTE } from '../../src/core/model/time.ts';
import type { Forge } from '../../src/forge/forge.ts';
import { githubApi } from '../../src/forge/github.ts';
import { createPullRequests, type PullRequests } from '../../src/forge/pull-requests.ts';
import { createMemoryRepository } from '../../src/git/memory.ts';
import { identities } from '../../src/simulate/simulation.ts';
import { createVirtualClock, type VirtualClock } from '../../src/simulate/virtual-clock.ts';
import { FLEET, kiosk, rollout } from '../simulation/fleet-files.ts';
import {
  createRepositoryFleet,
  type RepositoryFleet,
  WHOLE_ROLLOUT,
} from '../simulation/repository-fleet.ts';
import { type GithubServer, said, startGithub, TOKEN } from './github-server.ts';

const START = Date.UTC(2026, 0, 1);
const BRANCH = 'tidegate/rollback/kiosk/2';

interface AskedForge extends Forge {
  /** How often it was asked, by now and by what is under way in this process. */
  timesAsked(): Promise<number>;
  answered(): Promise<unknown>;
}

/** GitHub, asked by the real client, and a way to wait until everything that was asked is answered. */
function askGithub({ apiUrl }: Pick<GithubServer, 'apiUrl'>, clock: Pick<VirtualClock, 'now'>): AskedForge {
  const repository = { host: 'github.com', owner: 'acme', name: 'fleet' };
  const forge = githubApi({ repository, token: TOKEN, apiUrl, fetch, clock });
  const asked: Promise<unknown>[] = [];
  return {
    ...forge,
    openPullRequest(request, signal) {
      const result = forge.openPullRequest(request, signal);
      asked.push(result);
      return result;
    },
    async timesAsked() {
      await nextTurn();
      return asked.length;
    },
    answered: () => Promise.all(asked),
  };
}

describe('the forge is asked', () => {
  let clock: VirtualClock;
  let github: GithubServer;
  let forge: AskedForge;
  let pullRequests: PullRequests;
  let answers: number;
  let onAnswer: () => void;

  beforeEach(async () => {
    clock = createVirtualClock(START);
    github = await startGithub();
    const git = createMemoryRepository();
    const tree = await git.writeTree([]);
    const message = 'Revert "Release 1.1.0"\n\nThis reverts commit 28e1879d.\n';
    const commit = await git.writeCommit({ tree, parents: [], message, at: START });
    await git.moveBranch({ branch: BRANCH, from: undefined, to: commit });
    answers = 0;
    onAnswer = () => undefined;
    forge = askGithub(github, clock);
    pullRequests = createPullRequests({
      forge,
      git,
      clock,
      base: 'main',
      onAnswer() {
        answers += 1;
        onAnswer();
      },
    });
  });
  afterEach(() => pullRequests.close());

  /** Asks, and resolves when there is an answer. */
  async function answer(branch = BRANCH) {
    await new Promise<void>((resolve) => {
      onAnswer = resolve;
      pullRequests.of(branch);
    });
    return pullRequests.of(branch);
  }

  test('once, however often somebody wants to know, with what the commit says', async () => {
    const opened = { kind: 'open', url: 'https://github.com/acme/fleet/pull/1' };
    const answering = answer();
    expect(pullRequests.of(BRANCH)).toBeUndefined();
    expect(await answering).toEqual(opened);
    clock.advance(HOUR);
    expect(pullRequests.of(BRANCH)).toEqual(opened);
    expect([await forge.timesAsked(), answers]).toEqual([1, 1]);
    expect(github.pulls[0]).toMatchObject({
      head: BRANCH,
      base: 'main',
      title: 'Revert "Release 1.1.0"',
      body: expect.stringMatching(/^Devices have their known-good .*\n\nThis reverts commit 28e1879d\.\n$/s),
    });
  });

  test('again five minutes after a refusal, and not before', async () => {
    github.setToken('renewed');
    expect(await answer()).toMatchObject({ kind: 'refused', reason: expect.stringContaining('new one') });
    clock.advance(5 * MINUTE - 1);
    expect(pullRequests.of(BRANCH)).toMatchObject({ kind: 'refused' });
    expect(await forge.timesAsked()).toBe(1);
    github.setToken(TOKEN);
    clock.advance(1);
    expect(await answer()).toMatchObject({ kind: 'open' });
    expect(await forge.timesAsked()).toBe(2);
  });

  test('again when it said it may be, and after an hour at the latest', async () => {
    github.insteadOfNext(said(429, 'Too many requests', { 'retry-after': '1200' }));
    await answer();
    clock.advance(20 * MINUTE - 1);
    pullRequests.of(BRANCH);
    expect(await forge.timesAsked()).toBe(1);
    clock.advance(1);
    github.insteadOfNext(said(429, 'Too many requests', { 'retry-after': '99999999' }));
    expect(await answer()).toMatchObject({ kind: 'refused' });
    clock.advance(HOUR);
    expect(await answer()).toMatchObject({ kind: 'open' });
  });

  test('not for a branch that is gone', async () => {
    const reason = 'the branch tidegate/rollback/sign/1 is gone; set main back by hand';
    expect(await answer('tidegate/rollback/sign/1')).toEqual({ kind: 'refused', reason });
    expect(await forge.timesAsked()).toBe(0);
  });

  test('no more once it is closed, and nobody waits for the answer that is due', async () => {
    github.insteadOfNext('silence');
    pullRequests.of(BRANCH);
    expect(await forge.timesAsked()).toBe(1);
    pullRequests.close();
    await forge.answered();
    clock.advance(HOUR);
    pullRequests.of(BRANCH);
    expect([await forge.timesAsked(), answers]).toEqual([1, 0]);
  });
});

describe('while main refuses the restoring commit', () => {
  interface DivergedFleet extends RepositoryFleet {
    readonly github: GithubServer;
    /** Resolves once GitHub has been asked again and the fleet has come to rest with what it answered. */
    askedAgain(): Promise<void>;
    /** Resolves once the fleet, come to rest, is as `look` expects it. */
    eventually(look: () => Promise<void>): Promise<void>;
  }

  /** Four kiosks whose bad release is rolled back, and main checked out where Tidegate would move it. */
  async function divergedFleet(): Promise<DivergedFleet> {
    let fleet: RepositoryFleet | undefined;
    const hasBranch = async (branch: string) =>
      (await fleet?.native('branch', '--list', '--format=%(refname:short)', branch)) === branch;
    const github = await startGithub({ hasBranch });
    const forge = askGithub(github, { now: () => START });
    fleet = await createRepositoryFleet({ checkedOut: true, forge });
    await fleet.commit('First release', {
      'fleet/fleet.yaml': FLEET,
      ...kiosk('1.0.0'),
      ...rollout('1.0.0'),
    });
    await fleet.settle();
    await fleet.enrol(...identities(4, () => ({ product: 'kiosk' })));
    await fleet.advance(WHOLE_ROLLOUT);
    const { settle } = fleet;
    const eventually = (look: () => Promise<void>) =>
      vi.waitFor(() => settle().then(look), { timeout: 60_000, interval: 10 });
    const askedAgain = async () => {
      const before = github.requests.length;
      await eventually(async () => expect(github.requests.length).toBeGreaterThan(before));
      await forge.answered();
      await settle();
    };
    return { ...fleet, github, askedAgain, eventually };
  }
  const RELEASE_BAD = { ...kiosk('1.1.0-bad'), ...rollout('1.1.0-bad') };
  const URL = 'https://github.com/acme/fleet/pull/1';

  test('a pull request asks people to merge it, outcomes and status name it, and merging it ends the matter', async () => {
    const fleet = await divergedFleet();
    const bad = await fleet.commit('Release 1.1.0', RELEASE_BAD);
    await fleet.advance(2 * HOUR);
    await fleet.eventually(async () => {
      const { restored } = await fleet.rollout();
      expect(restored).toMatchObject({ main: 'diverged', branch: BRANCH, pullRequest: URL });
    });

    expect((await fleet.rollout()).reason).toBe(
      `rolled back; main still wants the failed revision: merge ${URL}`,
    );
    const [pull] = fleet.github.pulls;
    expect(pull?.title).toBe('Revert "Release 1.1.0"');
    expect(pull?.body).toContain(`This reverts commit ${bad}.`);
    expect(pull?.body).toContain('Attempt: 2');
    expect(fleet.events.filter(({ kind }) => kind === 'diverged')).toMatchObject([{}, { pullRequest: URL }]);
    expect(await fleet.native('log', '--format=%s%n%b', 'outcomes')).toContain(
      `kiosk: a pull request asks to restore main\n${URL}\n`,
    );
    expect(await fleet.native('grep', '--fixed-strings', URL, 'outcomes')).toContain(`pullRequest: ${URL}`);

    // It is on record: no later process asks for it.
    await fleet.restart('keepStore');
    await fleet.advance(HOUR);
    await fleet.native('merge', '--quiet', '--no-ff', '--message', 'Merge pull request #1', BRANCH);
    await fleet.settle();
    expect((await fleet.rollout()).restored).toMatchObject({ main: 'agrees', pullRequest: URL });
    await fleet.advance(HOUR);
    expect(fleet.github.requests).toHaveLength(1);
  });

  test('why there is no pull request is said where people look, and it comes once the reason is gone', async () => {
    const fleet = await divergedFleet();
    fleet.github.setToken('renewed');
    await fleet.commit('Release 1.1.0', RELEASE_BAD);
    await fleet.advance(2 * HOUR);
    const refused =
      /: merge the branch tidegate\/rollback\/kiosk\/2; there is no pull request: .* set TIDEGATE_GITHUB_TOKEN to a new one$/;
    await fleet.eventually(async () => expect((await fleet.rollout()).reason).toMatch(refused));
    const { restored } = await fleet.rollout();
    expect(restored).toMatchObject({ main: 'diverged', branch: BRANCH });
    expect(restored?.pullRequest).toBeUndefined();
    const told = fleet.events.filter(({ kind }) => kind === 'diverged');
    expect(told).toHaveLength(2);
    const tip = await fleet.native('rev-parse', 'outcomes');

    // The same answer again is no news, and no commit.
    fleet.clock.advance(5 * MINUTE);
    await fleet.askedAgain();
    expect(fleet.events.filter(({ kind }) => kind === 'diverged')).toHaveLength(2);
    expect(await fleet.native('rev-parse', 'outcomes')).toBe(tip);

    fleet.github.setToken(TOKEN);
    fleet.clock.advance(5 * MINUTE);
    await fleet.eventually(async () => expect((await fleet.rollout()).restored?.pullRequest).toBe(URL));
  });

  test('a pull request that is open and that the record does not know of is found', async () => {
    const fleet = await divergedFleet();
    // As if we had been cut off between asking and recording.
    await fleet.native('branch', BRANCH);
    const { apiUrl } = fleet.github;
    const request = { branch: BRANCH, base: 'main', title: 'x', body: 'y' };
    await askGithub({ apiUrl }, fleet.clock).openPullRequest(request, new AbortController().signal);
    await fleet.native('branch', '--delete', '--force', BRANCH);
    await fleet.commit('Release 1.1.0', RELEASE_BAD);
    await fleet.advance(2 * HOUR);
    await fleet.eventually(async () => expect((await fleet.rollout()).restored?.pullRequest).toBe(URL));
    expect(fleet.github.pulls).toHaveLength(1);
  });
});
