/** What became of a merged pull request is said on it: by the real reconciler, to a server that behaves as GitHub does. */
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { DAY, type DurationMs, HOUR, MINUTE } from '../../src/core/model/time.ts';
import { githubApi } from '../../src/forge/github.ts';
import { openRepository } from '../../src/git/local.ts';
import { createService } from '../../src/service.ts';
import { identities } from '../../src/simulate/simulation.ts';
import { type GithubServer, said, startGithub, TOKEN } from '../forge/github-server.ts';
import { FLEET, kiosk, rollout } from '../simulation/fleet-files.ts';
import {
  createRepositoryFleet,
  type RepositoryFleet,
  WHOLE_ROLLOUT,
} from '../simulation/repository-fleet.ts';

const START = Date.UTC(2026, 0, 1);
const REPOSITORY = { host: 'github.com', owner: 'acme', name: 'fleet' };

interface ToldFleet extends RepositoryFleet {
  readonly github: GithubServer;
  readonly troubles: readonly string[];
  /** Merges files as pull request `number`; resolves to the commit. */
  merge(number: number, files: Readonly<Record<string, string>>): Promise<string>;
  /** Delivers from now on, in this process. */
  deliver(): { end(): Promise<void> };
  /** Time passes in steps, and what is to be said is said after each. */
  live(duration: DurationMs): Promise<void>;
  /** Another server over the same repository and store, which delivers, too. */
  replica(): Promise<{ pass(): Promise<void> }>;
  /** The comments of a pull request, each without its marker. */
  said(number: number): readonly string[];
}

async function toldFleet(options: { forge?: false } = {}): Promise<ToldFleet> {
  const github = await startGithub();
  const troubles: string[] = [];
  const clock = { now: () => fleet.clock.now() };
  const forge = githubApi({ repository: REPOSITORY, token: TOKEN, apiUrl: github.apiUrl, fetch, clock });
  const notifications = {
    fetch,
    hooks: new Map(),
    random: () => 0,
    onTrouble: (text: string) => void troubles.push(text),
  };
  const fleet: RepositoryFleet = await createRepositoryFleet({
    ...(options.forge === false ? {} : { forge }),
    notifications,
  });
  const deliver = () => {
    const abort = new AbortController();
    const running = fleet.service().deliver(abort.signal);
    const end = async () => {
      abort.abort();
      await running;
    };
    onTestFinished(end);
    return { end };
  };
  return {
    ...fleet,
    github,
    troubles,
    deliver,
    async merge(number, files) {
      const commit = await fleet.commit(`Merge pull request #${number}`, files);
      github.merged({ number, base: 'main', commits: [commit] });
      await fleet.settle();
      return commit;
    },
    async replica() {
      const service = createService({
        git: await openRepository(join(fleet.folder, '../fleet.git')),
        store: fleet.service().store,
        keys: fleet.keys,
        clock: fleet.clock,
        randomHex: () => 'ab'.repeat(16),
        forge: githubApi({ repository: REPOSITORY, token: TOKEN, apiUrl: github.apiUrl, fetch, clock }),
        notifications,
      });
      const abort = new AbortController();
      const running = service.deliver(abort.signal);
      onTestFinished(async () => {
        abort.abort();
        await running;
        await service.close();
      });
      return {
        async pass() {
          for (let passes = 0; passes < 30; passes++) if (!(await service.reconciler.pass()).again) return;
        },
      };
    },
    async live(duration) {
      for (let passed = 0; passed < duration; passed += 10 * MINUTE) {
        await fleet.advance(10 * MINUTE);
        await quiet(github);
      }
    },
    said: (number) =>
      github.comments
        .filter(({ issue, author }) => issue === number && author === 'tidegate-acme')
        .map(({ body }) => body),
  };
}

/** What is delivered beside the passes is there a little later. */
function eventually(look: () => void): Promise<void> {
  return vi.waitFor(look, { timeout: 20_000, interval: 20 });
}

/** Resolves when nobody has asked for a while. */
async function quiet(github: GithubServer): Promise<void> {
  for (let before = -1; before !== github.requests.length; ) {
    before = github.requests.length;
    await new Promise((resolve) => setTimeout(resolve, 60));
  }
}

const FIRST = { 'fleet/fleet.yaml': FLEET, ...kiosk('1.0.0'), ...rollout('1.0.0') };

/** Commits are signed by keys that each run makes anew. */
function shown(comments: readonly string[]): string {
  return `${comments.join('\n')}\n`.replaceAll(/\b[0-9a-f]{40}\b/g, 'COMMIT');
}

const KIOSKS = identities(4, () => ({ product: 'kiosk' }));
const CHANGES = ['POST', 'PATCH', 'DELETE'];

function changesAsked({ requests }: GithubServer): readonly string[] {
  return requests.map(({ method }) => method).filter((method) => CHANGES.includes(method));
}

test('a rollout, from its first stage to its success, is one comment', { timeout: 120_000 }, async () => {
  const fleet = await toldFleet();
  fleet.deliver();
  await fleet.merge(1, FIRST);
  await fleet.enrol(...KIOSKS);
  await fleet.live(10 * MINUTE);
  expect(fleet.said(1)[0]).toMatch(
    /^<!-- tidegate:attempt kiosk\/1 -->\n### ▶ `kiosk@1\.0\.0` is running in stage canary\n/,
  );
  await fleet.live(WHOLE_ROLLOUT);
  await eventually(() => expect(fleet.said(1)).toHaveLength(1));
  await eventually(() => expect(fleet.said(1)[0]).toContain('has succeeded'));
  await expect(shown(fleet.said(1))).toMatchFileSnapshot('golden/succeeded.md');
  expect(fleet.github.comments).toHaveLength(1);
  expect(fleet.troubles).toEqual([]);
});

test('a release that is rolled back is told why, and what to do', { timeout: 120_000 }, async () => {
  const fleet = await toldFleet();
  fleet.deliver();
  await fleet.merge(1, FIRST);
  await fleet.enrol(...KIOSKS);
  await fleet.live(WHOLE_ROLLOUT);
  await fleet.merge(2, {
    ...kiosk('1.1.0-bad'),
    ...rollout('1.1.0-bad', { runbook: 'https://wiki.example/kiosk?a=1&b=2' }),
  });
  await fleet.live(2 * HOUR);
  await eventually(() => expect(fleet.said(2)).toHaveLength(1));
  await eventually(() => expect(fleet.said(2)[0]).toContain('every device has what'));
  await expect(shown(fleet.said(2))).toMatchFileSnapshot('golden/rolled-back.md');
  // The one before it has nothing new to say.
  await eventually(() => expect(fleet.said(1)).toEqual([expect.stringContaining('has succeeded')]));
});

test('several commits that come at once: the pull request is that of the one that asked', {
  timeout: 60_000,
}, async () => {
  const fleet = await toldFleet();
  fleet.deliver();
  const release = await fleet.commit('Release 1.0.0 (#3)', FIRST);
  const rebased = await fleet.commit('Say why', { 'README.md': 'Kiosks.' });
  const other = await fleet.commit('Tidy up (#4)', { 'NOTES.md': 'None.' });
  fleet.github.merged({ number: 3, base: 'main', commits: [release, rebased], fork: 'mallory' });
  fleet.github.merged({ number: 4, base: 'main', commits: [other] });
  await fleet.settle();
  await fleet.enrol(...KIOSKS);
  await fleet.live(10 * MINUTE);
  await eventually(() => expect(fleet.said(3)).toHaveLength(1));
  expect(fleet.said(4)).toEqual([]);
});

test('what was pushed without a pull request is asked about, and nothing is said', {
  timeout: 60_000,
}, async () => {
  const fleet = await toldFleet();
  fleet.deliver();
  await fleet.commit('Release', FIRST);
  await fleet.settle();
  await fleet.enrol(...KIOSKS);
  await fleet.live(WHOLE_ROLLOUT);
  expect((await fleet.rollout()).state).toBe('succeeded');
  expect(changesAsked(fleet.github)).toEqual([]);
  // For both decisions at its beginning, and again when GitHub had the time to know it; then it is remembered.
  expect(fleet.github.requests).toHaveLength(3);
  expect(fleet.troubles).toEqual([]);
});

test('without a token nobody is asked anything', { timeout: 60_000 }, async () => {
  const fleet = await toldFleet({ forge: false });
  fleet.deliver();
  await fleet.merge(1, FIRST);
  await fleet.enrol(...KIOSKS);
  await fleet.live(HOUR);
  expect(fleet.github.requests).toEqual([]);
  expect(await fleet.service().store.outbox.nextDueAt()).toBeUndefined();
});

test('a process that ends between the decision and the comment leaves it to the next', {
  timeout: 60_000,
}, async () => {
  const fleet = await toldFleet();
  await fleet.merge(1, FIRST);
  await fleet.enrol(...KIOSKS);
  await fleet.advance(10 * MINUTE);
  expect(fleet.github.requests).toEqual([]);
  await fleet.restart('keepStore');
  await fleet.settle();
  fleet.deliver();
  await quiet(fleet.github);
  await eventually(() => expect(fleet.said(1)).toHaveLength(1));
});

test('a process that ends after the comment and before it knew leaves one comment', {
  timeout: 60_000,
}, async () => {
  const fleet = await toldFleet();
  await fleet.merge(1, FIRST);
  await fleet.enrol(...KIOSKS);
  // It is made, and the answer never comes: the server knows of it, the process does not.
  fleet.github.keepAnswersOf('POST');
  const first = fleet.deliver();
  await eventually(() => expect(fleet.said(1)).toHaveLength(1));
  await first.end();
  await fleet.restart('keepStore');
  await fleet.settle();
  fleet.github.keepAnswersOf(undefined);
  fleet.deliver();
  await fleet.live(WHOLE_ROLLOUT);
  await eventually(() => expect(fleet.said(1)).toEqual([expect.stringContaining('has succeeded')]));
  expect(changesAsked(fleet.github).filter((method) => method === 'POST')).toHaveLength(1);
});

test('two servers that share a store keep one comment', { timeout: 120_000 }, async () => {
  const fleet = await toldFleet();
  const replica = await fleet.replica();
  fleet.deliver();
  await fleet.merge(1, FIRST);
  await fleet.enrol(...KIOSKS);
  for (let steps = 0; steps < 15; steps++) {
    await fleet.live(10 * MINUTE);
    await replica.pass();
    await quiet(fleet.github);
  }
  await eventually(() => expect(fleet.said(1)).toEqual([expect.stringContaining('has succeeded')]));
  expect(changesAsked(fleet.github)).not.toContain('DELETE');
});

test('what a token lacks is said once, and what waited is said when it has it', {
  timeout: 120_000,
}, async () => {
  const fleet = await toldFleet();
  fleet.deliver();
  const refusal = said(403, 'Resource not accessible by personal access token');
  fleet.github.refuseChanges(refusal);
  await fleet.merge(1, FIRST);
  await fleet.enrol(...KIOSKS);
  await fleet.live(HOUR);
  expect(fleet.troubles).toEqual([
    'the forge cannot be told: github.com/acme/fleet does not let the token comment on pull requests ' +
      '(403: Resource not accessible by personal access token); give it the permission "Pull requests: write" ' +
      'for this repository, or a classic token the scope repo',
  ]);
  expect((await fleet.rollout()).state).toBe('running');
  fleet.github.refuseChanges(undefined);
  await fleet.live(WHOLE_ROLLOUT);
  expect(fleet.troubles.slice(1)).toEqual(['the forge takes notices again']);
  await eventually(() => expect(fleet.said(1)).toEqual([expect.stringContaining('has succeeded')]));
});

test('a rate limit is kept, and what happened meanwhile is one change', { timeout: 120_000 }, async () => {
  const fleet = await toldFleet();
  fleet.deliver();
  const reset = String((START + HOUR) / 1000);
  fleet.github.refuseChanges(
    said(403, 'API rate limit exceeded', { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': reset }),
  );
  await fleet.merge(1, FIRST);
  await fleet.enrol(...KIOSKS);
  await fleet.live(50 * MINUTE);
  expect(changesAsked(fleet.github)).toHaveLength(1);
  fleet.github.refuseChanges(undefined);
  await fleet.live(WHOLE_ROLLOUT);
  await eventually(() => expect(fleet.said(1)).toEqual([expect.stringContaining('has succeeded')]));
  expect(fleet.troubles[0]).toMatch(
    /limits how often it is asked; it is tried again after 2026-01-01T01:00:00Z$/,
  );
});

test('a locked conversation is said once, and nothing more is asked of it', {
  timeout: 120_000,
}, async () => {
  const fleet = await toldFleet();
  fleet.deliver();
  const release = await fleet.commit('Release (#1)', FIRST);
  fleet.github.merged({ number: 1, base: 'main', commits: [release], isLocked: true });
  await fleet.settle();
  await fleet.enrol(...KIOSKS);
  await fleet.live(WHOLE_ROLLOUT);
  expect(fleet.troubles).toEqual([
    'the forge is not told of kiosk, attempt 1: github.com/acme/fleet takes no comment there ' +
      '(403: Unable to create comment because issue is locked.)',
  ]);
  expect(changesAsked(fleet.github)).toHaveLength(1);
});

test('what a forge does not take for three days is given up, and holds up nothing', {
  timeout: 120_000,
}, async () => {
  const fleet = await toldFleet();
  fleet.deliver();
  fleet.github.setToken('renewed');
  await fleet.merge(1, FIRST);
  await fleet.enrol(...KIOSKS);
  await fleet.live(WHOLE_ROLLOUT);
  expect((await fleet.rollout()).state).toBe('succeeded');
  fleet.clock.advance(3 * DAY);
  await eventually(() => expect(fleet.troubles.at(-1)).toMatch(/a notice is given up after 3d$/));
  expect(fleet.github.comments).toEqual([]);
  expect(JSON.stringify(fleet.troubles)).not.toContain(TOKEN);
});
