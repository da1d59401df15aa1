/**
 * A fleet whose devices do as the test says, seen as people see it: through the operators' API, through what devices
 * are offered, and through the branch `outcomes`. Nothing in here looks inside the product.
 */
import { parse } from 'yaml';
import type { DeviceId } from '../../src/core/model/ids.ts';
import type { Manifest } from '../../src/core/model/manifest.ts';
import type { Attempt } from '../../src/core/model/outcome.ts';
import { DAY, type DurationMs, MINUTE } from '../../src/core/model/time.ts';
import type { RolloutStatus } from '../../src/core/status.ts';
import { OUTCOMES_BRANCH } from '../../src/fleet-repo/outcomes.ts';
import { readFiles } from '../../src/git/tree.ts';
import { createSimulation, identities, type Simulation } from '../../src/simulate/simulation.ts';
import type { World } from '../../src/simulate/virtual-device.ts';
import { FLEET, kiosk, rollout } from '../simulation/fleet-files.ts';

/** One tick: every device polls once in it. */
export const TICK: DurationMs = 5 * MINUTE;

/** What a device that runs an offered version says of it: nothing, until the test has decided. */
type Says = 'works' | 'fails' | 'nothing';

export type RolloutAnswer = RolloutStatus & { readonly attempts: readonly Attempt[] };

interface FleetOptions {
  readonly devices: number;
  /** Lines of the rollout's spec, over those of {@link rollout}. */
  readonly spec?: Record<string, string>;
  /** Tags beyond `product: kiosk` of the n-th device, from 1. */
  readonly tagsOf?: (n: number) => Readonly<Record<string, string>>;
  /** What devices say unless {@link HawkbitFleet.say} told them otherwise. */
  readonly says?: Says;
  readonly installMs?: DurationMs;
  readonly wire?: 'direct' | 'http';
}

interface Offer {
  readonly id: DeviceId;
  readonly manifest: Manifest;
}

export interface HawkbitFleet extends Omit<Simulation, 'devices'> {
  /** Every install that a device began, in order: a device that is offered something new begins it at its next poll. */
  readonly offers: readonly Offer[];
  /** From their next report on, these devices say so of whatever they run. */
  say(says: Says, ids: readonly DeviceId[]): void;
  tick(): Promise<void>;
  rollout(name?: string): Promise<RolloutAnswer>;
  stage(name: string): Promise<RolloutAnswer['stages'][number]>;
  /** The devices of an open stage, as the operators' API lists them. */
  members(stage: string): Promise<readonly DeviceId[]>;
  device(id: DeviceId): Promise<DeviceAnswer>;
  /** Writes entries of `ops/kiosk.yaml`: all that were ever given, as people add to the file. */
  operate(...entries: readonly string[]): Promise<void>;
  /** The commits of `outcomes`, oldest first, each with the document that it wrote. */
  outcomes(): Promise<readonly OutcomeCommit[]>;
}

interface DeviceAnswer {
  readonly id: DeviceId;
  readonly status: string;
  readonly assignment: { readonly rollout: string; readonly attempt: number } | null;
}

export interface OutcomeCommit {
  readonly commit: string;
  readonly subject: string;
  /** The `spec` of the RolloutOutcome, as YAML has it. */
  readonly outcome: Pick<Attempt, 'attempt' | 'state' | 'cause' | 'stages' | 'history'>;
}

/** Enrolled devices, and `kiosk@1.0.0` on main: its first stage, if it may, is open. */
export async function startFleet(options: FleetOptions): Promise<HawkbitFleet> {
  const { devices, spec = {}, tagsOf = () => ({}), installMs = 0, wire = 'direct' } = options;
  const offers: Offer[] = [];
  const said = new Map<DeviceId, Says>();
  const world: World = {
    install({ id }, manifest) {
      offers.push({ id, manifest });
      return { takesMs: installMs };
    },
    signals({ id }, manifest) {
      const says = manifest === undefined ? 'nothing' : (said.get(id) ?? options.says ?? 'nothing');
      return says === 'nothing' ? {} : { healthy: says === 'works' };
    },
  };
  const simulation = await createSimulation({
    startAt: Date.UTC(2026, 0, 1),
    seed: 'hawkbit',
    world,
    wire,
  });
  const fleet = watch(simulation, { offers, said });
  await fleet.commit('Begin', {
    'fleet/fleet.yaml': FLEET,
    ...kiosk('1.0.0'),
    ...rollout('1.0.0', spec),
  });
  await fleet.settle();
  await fleet.enrol(...identities(devices, (n) => ({ product: 'kiosk', ...tagsOf(n) })));
  await fleet.settle();
  return fleet;
}

/** Lets minutes pass until `done`; more than a week of them is a failure of the test. */
export async function advanceUntil(fleet: HawkbitFleet, done: () => Promise<boolean>): Promise<void> {
  const giveUpAt = fleet.clock.now() + 7 * DAY;
  while (!(await done())) {
    if (fleet.clock.now() > giveUpAt) throw new Error('what the test waits for did not happen within a week');
    await fleet.advance(MINUTE, MINUTE);
  }
}

function watch(
  simulation: Simulation,
  seen: { offers: HawkbitFleet['offers']; said: Map<DeviceId, Says> },
): HawkbitFleet {
  const { devices: _, ...rest } = simulation;
  const { git, service } = simulation;
  const given: string[] = [];

  async function get<Answer>(path: string): Promise<Answer> {
    const response = await service.app.request(path);
    if (response.status !== 200) throw new Error(`GET ${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as Answer;
  }
  const showRollout = (name = 'kiosk') => get<RolloutAnswer>(`/api/rollouts/${name}`);

  return {
    ...rest,
    offers: seen.offers,
    say(says, ids) {
      for (const id of ids) seen.said.set(id, says);
    },
    tick: () => simulation.advance(TICK, TICK),
    rollout: showRollout,
    async stage(name) {
      const { stages } = await showRollout();
      const stage = stages.find((each) => each.name === name);
      if (stage === undefined) throw new Error(`no stage ${name} among ${stages.map((each) => each.name)}`);
      return stage;
    },
    async members(stage) {
      const { devices } = await get<{ devices: { id: DeviceId; progress?: { stage: string } }[] }>(
        '/api/devices?rollout=kiosk&limit=1000',
      );
      return devices.filter(({ progress }) => progress?.stage === stage).map(({ id }) => id);
    },
    device: (id) => get(`/api/devices/${id}`),
    async operate(...entries) {
      given.push(...entries);
      const lines = given.map((entry) => `    - ${entry}\n`).join('');
      await simulation.commit('Operate', {
        'ops/kiosk.yaml': `apiVersion: tidegate.dev/v1\nkind: Operation\nmetadata: {name: kiosk}\nspec:\n  operations:\n${lines}`,
      });
      await simulation.settle();
    },
    async outcomes() {
      const log: OutcomeCommit[] = [];
      for (let oid = await git.branch(OUTCOMES_BRANCH); oid !== undefined; ) {
        const { message, parents, tree, oid: commit } = await git.commit(oid);
        const trailer = (key: string) => new RegExp(`^${key}: (.*)$`, 'm').exec(message)?.[1];
        const folder = `rollouts/${trailer('Rollout')}`;
        const file = (await readFiles(git, tree, folder)).find(({ path }) =>
          path.includes(`/${trailer('Attempt')}-`),
        );
        const text = new TextDecoder().decode(await git.blob(file?.oid ?? ''));
        const { spec } = parse(text) as { spec: OutcomeCommit['outcome'] };
        log.unshift({ commit, subject: message.split('\n')[0] ?? '', outcome: spec });
        oid = parents[0];
      }
      return log;
    },
  };
}
