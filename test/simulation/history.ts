/** What may happen to a fleet, as plain data that fast-check can draw and shrink, and how it is played. */
import { strict as assert } from 'node:assert';
import fc from 'fast-check';
import type { DeviceId } from '../../src/core/model/ids.ts';
import {
  type Chaos,
  CONDITIONS,
  createChaos,
  InjectedFault,
  type RolloutChoice,
  STAGE_PLANS,
  type Wire,
  type Wish,
  wishFiles,
} from './chaos.ts';
import { FLEET } from './fleet-files.ts';
import { createPromises } from './promises.ts';

export type Command =
  | {
      readonly kind: 'release';
      readonly rollout: RolloutChoice;
      readonly quality: '' | '-bad' | '-broken';
      readonly onFailure: Wish['onFailure'];
      readonly stages: number;
    }
  | { readonly kind: 'goBack'; readonly rollout: RolloutChoice; readonly releases: number }
  | { readonly kind: 'edit'; readonly rollout: RolloutChoice; readonly change: Partial<Wish> }
  | { readonly kind: 'remove'; readonly rollout: RolloutChoice }
  | { readonly kind: 'breakMain' }
  | {
      readonly kind: 'operate';
      readonly rollout: RolloutChoice;
      readonly action: string;
      readonly behind: number;
    }
  | { readonly kind: 'override'; readonly device: number; readonly say: string }
  | { readonly kind: 'enrol'; readonly devices: number }
  | { readonly kind: 'wire'; readonly device: number; readonly wire: Wire }
  | { readonly kind: 'sicken'; readonly device: number; readonly sick: boolean }
  | { readonly kind: 'reboot'; readonly device: number }
  | { readonly kind: 'time'; readonly hours: number }
  | { readonly kind: 'restart' }
  | { readonly kind: 'loseStore' }
  | { readonly kind: 'cut'; readonly calls: number }
  | { readonly kind: 'race'; readonly calls: number; readonly rollout: RolloutChoice }
  | { readonly kind: 'protect'; readonly protect: boolean };

const rollout = fc.constantFrom<RolloutChoice>('kiosk', 'kiosk', 'kiosk', 'base');
const device = fc.nat({ max: 7 });
const just = <Kind extends string>(kind: Kind) => fc.record({ kind: fc.constant(kind) });

export const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('time'), hours: fc.constantFrom(1, 2, 4, 12, 30) }) },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('release'),
      rollout,
      quality: fc.constantFrom('', '', '-bad', '-broken'),
      onFailure: fc.constantFrom('ladder', 'pause', 'rollback'),
      stages: fc.constantFrom(0, 1, 1, 2, 3),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('goBack'), rollout, releases: fc.nat({ max: 3 }) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('edit'),
      rollout,
      change: fc.record(
        {
          stages: fc.nat({ max: STAGE_PLANS.length - 1 }),
          condition: fc.nat({ max: CONDITIONS.length - 1 }),
          priority: fc.integer({ min: 1, max: 12 }),
          suspend: fc.boolean(),
          onFailure: fc.constantFrom('ladder', 'pause', 'rollback'),
        },
        { requiredKeys: [] },
      ),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('remove'), rollout }) },
  { weight: 1, arbitrary: just('breakMain') },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('operate'),
      rollout,
      action: fc.constantFrom('pause', 'resume', 'approve', 'promote', 'cancel', 'retry', 'retry'),
      behind: fc.constantFrom(0, 0, 0, 1),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('override'),
      device,
      say: fc.constantFrom(
        'retired: true',
        'tags: {ring: a}',
        'tags: {ring: b, site: null}',
        'tags: {product: sign}',
      ),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('enrol'), devices: fc.integer({ min: 1, max: 2 }) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('wire'),
      device,
      wire: fc.constantFrom<Wire>('clean', 'lost', 'late', 'twice', 'silent'),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('sicken'), device, sick: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('reboot'), device }) },
  { weight: 2, arbitrary: just('restart') },
  { weight: 1, arbitrary: just('loseStore') },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('cut'), calls: fc.integer({ min: 1, max: 60 }) }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('race'), calls: fc.integer({ min: 1, max: 60 }), rollout }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('protect'), protect: fc.boolean() }) },
) as fc.Arbitrary<Command>;

const FIRST: Wish = {
  version: '1.0.0',
  stages: 0,
  condition: 0,
  priority: 10,
  suspend: false,
  onFailure: 'ladder',
};

/** Plays a history from an empty repository to a fleet in order. Throws where a promise is broken. */
export async function play(history: readonly Command[]): Promise<void> {
  const chaos: Chaos = await createChaos({
    seed: 'chaos',
    onPoll: (...polled) => promises.onPoll(...polled),
  });
  const promises = createPromises(() => chaos);
  const people = createPeople(chaos);
  await people.begin();
  await promises.afterwards();
  for (const each of history) {
    await people.act(each);
    await chaos.settle();
    await promises.afterwards();
    await checkRest(chaos);
  }
  await people.makeOrder();
  await promises.afterwards();
  await people.checkConverged();
}

/** Twice equals once: a pass with nothing new changes nothing, in git or in the store. */
async function checkRest(chaos: Chaos): Promise<void> {
  const look = async () => ({
    branches: [...chaos.git.branches()],
    program: await chaos.store().program(),
    journal: await chaos.store().journal(),
  });
  const before = await look();
  assert.equal((await chaos.service().reconciler.pass()).again, false);
  assert.deepEqual(await look(), before, 'a pass without news changed something');
}

function createPeople(chaos: Chaos) {
  const wishes = new Map<RolloutChoice, Wish>();
  const versions = new Map<RolloutChoice, string[]>();
  const operations: string[] = [];
  const overrides = new Map<string, string>();
  let releases = 0;
  let enrolled = 0;

  async function wish(name: RolloutChoice, change: Partial<Wish>): Promise<void> {
    const next = { ...(wishes.get(name) ?? { ...FIRST, priority: name === 'kiosk' ? 10 : 5 }), ...change };
    wishes.set(name, next);
    await chaos.commit(`Change ${name}: ${JSON.stringify(change)}`, wishFiles(name, next));
  }

  async function release(name: RolloutChoice, quality: string, change: Partial<Wish> = {}): Promise<void> {
    releases += 1;
    const version = `1.${releases}.0${quality}`;
    versions.set(name, [...(versions.get(name) ?? []), version]);
    await wish(name, { onFailure: 'ladder', ...change, version });
  }

  async function enrol(count: number): Promise<void> {
    for (let n = 0; n < count; n++) {
      enrolled += 1;
      const tags = {
        product: enrolled % 5 === 0 ? 'sign' : 'kiosk',
        ring: enrolled % 2 === 0 ? 'a' : 'b',
        site: `s${enrolled % 3}`,
      };
      await chaos.enrol({ id: `device-${enrolled}` as DeviceId, tags });
    }
  }

  const latestAttempt = (name: string) => {
    const attempts = [...chaos.service().reconciler.state().outcomes].find(([each]) => each === name)?.[1];
    return {
      attempt: attempts?.at(-1)?.attempt ?? 1,
      stage: attempts?.at(-1)?.stages.at(-1)?.name ?? 'canary',
    };
  };

  async function operate(name: RolloutChoice, action: string, behind: number): Promise<void> {
    const { attempt, stage } = latestAttempt(name);
    const at = Math.max(1, attempt - behind);
    const staged = action === 'approve' ? ', stage: fleet' : action === 'promote' ? `, stage: ${stage}` : '';
    operations.push(
      `${name}|{action: ${action}, attempt: ${at}${staged}, by: ada, reason: "${operations.length}"}`,
    );
    const own = operations
      .filter((each) => each.startsWith(`${name}|`))
      .map((each) => each.slice(name.length + 1));
    await chaos.commit(`Operate ${name}: ${action}`, {
      [`ops/${name}.yaml`]: `apiVersion: tidegate.dev/v1\nkind: Operation\nmetadata: {name: ${name}}\nspec:\n  operations:\n${own.map((each) => `  - ${each}\n`).join('')}`,
    });
  }

  async function commitOverrides(): Promise<void> {
    const lines = [...overrides].map(([id, say]) => `  - {id: ${id}, ${say}}\n`).join('');
    await chaos.commit('Override devices', {
      'fleet/devices/all.yaml':
        lines === ''
          ? null
          : `apiVersion: tidegate.dev/v1\nkind: DeviceList\nmetadata: {name: all}\nspec:\n  devices:\n${lines}`,
    });
  }

  return {
    async begin() {
      await chaos.commit('Begin', { 'fleet/fleet.yaml': FLEET });
      await release('kiosk', '');
      await chaos.settle();
      await enrol(6);
      await chaos.advance(4);
    },

    async act(command: Command): Promise<void> {
      const target = 'device' in command ? chaos.devices[command.device % chaos.devices.length] : undefined;
      switch (command.kind) {
        case 'release':
          return release(command.rollout, command.quality, {
            onFailure: command.onFailure,
            stages: command.stages,
          });
        case 'goBack': {
          const version = versions.get(command.rollout)?.at(-1 - command.releases);
          if (version !== undefined) await wish(command.rollout, { version });
          return;
        }
        case 'edit':
          if (wishes.has(command.rollout)) await wish(command.rollout, command.change);
          return;
        case 'remove':
          wishes.delete(command.rollout);
          await chaos.commit(`Remove ${command.rollout}`, {
            [`fleet/rollouts/${command.rollout}.yaml`]: null,
          });
          return;
        case 'breakMain':
          await chaos.commit('Break main', {
            'fleet/fleet.yaml': FLEET.replace('kind: Fleet', 'kind: Flit'),
          });
          await chaos.advance(1);
          await chaos.commit('Mend main', { 'fleet/fleet.yaml': FLEET });
          return;
        case 'operate':
          return operate(command.rollout, command.action, command.behind);
        case 'override':
          if (target !== undefined) overrides.set(target.id, command.say);
          return commitOverrides();
        case 'enrol':
          return enrol(command.devices);
        case 'wire':
          if (target !== undefined) target.wire = command.wire;
          return;
        case 'sicken':
          if (target !== undefined) target.sick = command.sick;
          return;
        case 'reboot':
          if (target !== undefined) target.reboots += 1;
          return;
        case 'time':
          return chaos.advance(command.hours);
        case 'restart':
          return chaos.restart();
        case 'loseStore':
          return chaos.loseStore();
        case 'cut':
          await chaos.disturb(command.calls, async () => {
            throw new InjectedFault('the disk is away');
          });
          return;
        case 'race':
          await chaos.disturb(command.calls, () => release(command.rollout, ''));
          return;
        case 'protect':
          return chaos.protectMain(command.protect);
      }
    },

    /** The last commit asks for a new release and takes back everything that could hold it. */
    async makeOrder() {
      for (const each of chaos.devices) Object.assign(each, { wire: 'clean', sick: false });
      chaos.protectMain(false);
      operations.length = 0;
      overrides.clear();
      await chaos.commit('Forget operations', { 'ops/kiosk.yaml': null, 'ops/base.yaml': null });
      await commitOverrides();
      // One after the other: a canary whose devices another rollout then takes would wait for a person.
      for (const [name, condition] of [
        ['kiosk', 0],
        ['base', 2],
      ] as const) {
        await wish(name, {
          ...FIRST,
          version: `9.0.0-${name}`,
          condition,
          priority: name === 'base' ? 5 : 10,
        });
        await chaos.advance(4);
      }
    },

    async checkConverged() {
      for (const { id, device, tags } of chaos.devices) {
        const name = tags['product'] === 'sign' ? 'base' : 'kiosk';
        assert.equal(device.runs()?.version, `9.0.0-${name}`, `${id} did not arrive at what main wants`);
      }
      const answer = (await (await chaos.service().app.request('/api/status')).json()) as {
        devices: { status: { inSync: number } };
      };
      assert.equal(answer.devices.status.inSync, chaos.devices.length, 'a device in order is not in sync');
    },
  };
}
