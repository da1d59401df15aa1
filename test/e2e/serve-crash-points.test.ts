/** The process is ended at every step of a pass, over and over, in the middle of a release and of a rollback. */
import { expect, test } from 'vitest';
import type { PassStep } from '../../src/reconcile/reconciler.ts';
import { git } from '../cli/fixture.ts';
import {
  allRun,
  bareRepository,
  createDevices,
  decisions,
  eventually,
  FAILED,
  type Place,
  release,
  rolloutOf,
  type Server,
  SUCCEEDED,
  startServer,
  stepAll,
} from './serving.ts';

const STEPS = [
  'read',
  'planned',
  'noted',
  'closed',
  'written',
  'recorded',
  'remembered',
  'opened',
  'restored',
] as const satisfies readonly PassStep[];
/** Every step of a pass is here: one that is left out does not compile. */
const _ALL: Exclude<PassStep, (typeof STEPS)[number]> extends never ? true : never = true;

const KILL_AT = new URL('./kill-at.ts', import.meta.url).href;
/** In each half of the story: often enough to meet its decisions; then the server may live. */
const KILLS_MAX = 4;

test.for(STEPS)(
  'killed at "%s" of pass after pass, it loses no decision, makes none twice, and offers nothing that is not recorded as open',
  { timeout: 240_000 },
  async (step) => {
    const place = await bareRepository();
    const life = await startMortal(place, step);
    const devices = await createDevices(place, { ids: ['a', 'b', 'c'], url: life.url });
    const isPast = async (state: string, attempt: number) => {
      const status = await rolloutOf(life.server()).catch(() => undefined);
      return status?.attempt === attempt && status.state === state;
    };
    /** Devices go on asking, whether or not anybody is there to answer. */
    const live = (what: string, look: () => Promise<boolean>) =>
      eventually(what, async () => {
        await life.reviveIfDead();
        await stepAll(devices);
        for (const device of devices) {
          if (device.runs()?.version === '2.0.0-bad') await checkOffered(place);
        }
        return look();
      });

    await live(
      'release 1.0.0 succeeds',
      async () => (await isPast('succeeded', 1)) && allRun(devices, '1.0.0'),
    );
    await life.dieAgain();
    await place.commit('Release 2.0.0-bad', release('2.0.0-bad'));
    await place.git('push', '--quiet');
    await live('the bad release is reverted', async () => {
      const status = await rolloutOf(life.server()).catch(() => undefined);
      return status?.restored?.main === 'agrees' && status.restored.completedAt !== undefined;
    });

    await life.spare();
    expect(life.kills()).toBeGreaterThan(step === 'restored' ? 0 : 2);
    expect(await decisions(place)).toEqual([...SUCCEEDED(1, '1.0.0'), ...FAILED(2, '2.0.0-bad')]);
    expect(allRun(devices, '1.0.0')).toBe(true);
    const log = await git(place.repo, 'log', '-3', '--format=%s', 'main');
    expect(log.split('\n')).toEqual(['Revert "Release 2.0.0-bad"', 'Release 2.0.0-bad', 'Release 1.0.0']);
    for (const { id, client, acknowledged, generations } of devices) {
      expect(generations, `the generations of ${id}`).toEqual(generations.toSorted((a, b) => a - b));
      const last = acknowledged.at(-1);
      if (last === undefined) throw new Error(`${id} was never answered`);
      // Nobody is told anything before the first pass is through.
      const again = await eventually('it is answered', async () => {
        const answer = await client.report(last);
        return answer.kind === 'accepted' ? answer : undefined;
      });
      expect(again).toEqual({ kind: 'accepted', effect: 'duplicate' });
    }
  },
);

/** What a device runs, a stage was opened for; its commit is in the repository. */
async function checkOffered(place: Place): Promise<void> {
  expect(await decisions(place)).toEqual(expect.arrayContaining(FAILED(2, '2.0.0-bad').slice(0, 2)));
}

interface Mortal {
  server(): Server;
  url(): string;
  kills(): number;
  /** Another life, and as many kills to come as at first. */
  dieAgain(): Promise<void>;
  /** One more life, the last, which nothing ends. */
  spare(): Promise<void>;
  /** Starts the next life where the last one has ended. */
  reviveIfDead(): Promise<void>;
}

async function startMortal(place: Place, step: PassStep): Promise<Mortal> {
  let kills = 0;
  let killsMax = KILLS_MAX;
  const start = () => {
    // Where the step comes before the record, dying at it again and again would be no progress.
    const env = kills < killsMax ? { TIDEGATE_KILL_AT: `${step}+${kills % 2}` } : {};
    return startServer({ ...place, env: { ...env, NODE_OPTIONS: `--import=${KILL_AT}` } });
  };
  let server = await start();
  return {
    server: () => server,
    url: () => server.url,
    kills: () => kills,
    async dieAgain() {
      await server.end('SIGKILL');
      killsMax = kills + KILLS_MAX;
      server = await start();
    },
    async spare() {
      await server.end('SIGKILL');
      killsMax = 0;
      server = await start();
    },
    async reviveIfDead() {
      if (!server.hasEnded()) return;
      expect(await server.end('SIGKILL')).toBeNull();
      kills += 1;
      server = await start();
    },
  };
}
