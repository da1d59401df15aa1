/**
 * The story that `npm start` plays, on the repository in fleet-repo-example/: a first release that becomes known-good,
 * a good one that goes through its stages, and a bad one that its canary stops. It says what people commit, how the
 * devices take it, and what must be true at the end.
 */
import type { DeviceId, RolloutName } from '../core/model/ids.ts';
import type { Attempt } from '../core/model/outcome.ts';
import { MINUTE } from '../core/model/time.ts';
import { scoreOf } from '../core/select/score.ts';
import type { ReconcilerState } from '../reconcile/reconciler.ts';
import type { SimulatedIdentity, World } from './virtual-device.ts';

export const STORY_ROLLOUT = 'thermostat-firmware' as RolloutName;
const ROLLOUT_FILE = 'fleet/rollouts/thermostat-firmware.yaml';
const SITES = 24;
const THERMOSTATS_PER_SITE = 8;

/** One commit on main. */
export interface StoryCommit {
  readonly message: string;
  /** The files it writes, given those that are there. */
  edit(files: ReadonlyMap<string, string>): Readonly<Record<string, string>>;
}

const FIRST = '2.5.0';
const GOOD = '2.6.0';
const BAD = '2.7.0';

/** What people commit after the example repository itself. */
export const STORY: readonly StoryCommit[] = [
  release(GOOD, 'Learn the heating curve of each room'),
  release(BAD, 'Rewrite the radio driver'),
];

/** A new distribution set, made from the first one, and the one line of the rollout that asks for it. */
function release(version: string, what: string): StoryCommit {
  return {
    message: `Release thermostat ${version}\n\n${what}.\n`,
    edit(files) {
      const set = files.get(`fleet/distribution-sets/thermostat-${FIRST}.yaml`) ?? '';
      const rollout = files.get(ROLLOUT_FILE) ?? '';
      return {
        [`fleet/distribution-sets/thermostat-${version}.yaml`]: set
          .replaceAll(FIRST, version)
          .replace(/description: .*/, `description: ${what}.`)
          .replace(/sha256: [0-9a-f]{64}/, `sha256: ${scoreOf(version, 'image').repeat(4)}`),
        [ROLLOUT_FILE]: rollout.replace(
          /distributionSet: thermostat@\S+/,
          `distributionSet: thermostat@${version}`,
        ),
      };
    },
  };
}

/** Houses with a gateway and eight thermostats of three hardware revisions. */
export function storyDevices(): readonly SimulatedIdentity[] {
  return Array.from({ length: SITES }, (_, house) => {
    const site = `house-${String(house + 1).padStart(2, '0')}`;
    const tags = { site, environment: 'prod', region: house % 3 === 0 ? 'north' : 'south' };
    const thermostats = Array.from({ length: THERMOSTATS_PER_SITE }, (_, n) => {
      const number = house * THERMOSTATS_PER_SITE + n + 1;
      return {
        id: `thermostat-${String(number).padStart(6, '0')}` as DeviceId,
        tags: { ...tags, product: 'thermostat', hardwareRevision: ['b', 'b', 'c'][number % 3] ?? 'b' },
      };
    });
    const gateway = {
      id: `gateway-${site}` as DeviceId,
      tags: { ...tags, product: 'gateway', hardwareRevision: 'a' },
    };
    return [...thermostats, gateway];
  }).flat();
}

/** Every release installs in a few minutes; the bad one then drops radio messages on most devices. */
export const STORY_WORLD: World = {
  install: (device) => ({ takesMs: 4 * MINUTE + spread(device, 'install') * 8 * MINUTE }),
  signals(device, manifest) {
    const drops = manifest?.version === BAD && spread(device, 'radio') < 0.8 ? 17 : 0;
    return {
      runtime_healthy: true,
      adapter_connected: true,
      gap: drops > 0 ? '42s' : '3.2s',
      drops,
      acceptance_suite_passed: true,
      restarts_last_hour: 0,
    };
  },
};

/** A number from 0 to 1 that is the device's own and the same in every run. */
function spread(device: SimulatedIdentity, what: string): number {
  return Number.parseInt(scoreOf(what, device.id).slice(0, 8), 16) / 0xffffffff;
}

/** How many of the story's commits have been seen through: the next one is due when the last has come to its end. */
export function chaptersDone(state: ReconcilerState): number {
  const attempts = state.outcomes.get(STORY_ROLLOUT) ?? [];
  return attempts.filter(
    (attempt) => attempt.state === 'succeeded' || attempt.restored?.completedAt !== undefined,
  ).length;
}

/** What the end of the story must be, each with whether it is. */
export function checkStory(
  state: ReconcilerState,
): readonly { readonly claim: string; readonly holds: boolean }[] {
  const [first, good, bad] = state.outcomes.get(STORY_ROLLOUT) ?? [];
  const wanted = state.wanted?.desired;
  const passed = (attempt: Attempt | undefined) =>
    attempt?.stages.map((stage) => `${stage.name} ${stage.state}`).join(', ');
  const all = 'canary passed, batch passed, fleet passed';
  return [
    { claim: `${FIRST} became known-good`, holds: first?.state === 'succeeded' },
    {
      claim: `${GOOD} went canary → batch → fleet`,
      holds: good?.state === 'succeeded' && passed(good) === all,
    },
    {
      claim: `${BAD} was stopped at its canary`,
      holds: bad?.state === 'rolledBack' && passed(bad) === 'canary failed',
    },
    {
      claim: 'main:fleet is the known-good snapshot again',
      holds: good !== undefined && wanted?.snapshot === good.snapshot && bad?.restored?.main === 'agrees',
    },
    { claim: `every device runs ${GOOD} again`, holds: bad?.restored?.completedAt !== undefined },
  ];
}
