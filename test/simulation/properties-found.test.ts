/** Counterexamples that random histories have found, each as the shortest story that shows it. */
import { expect, test } from 'vitest';
import type { DeviceId } from '../../src/core/model/ids.ts';
import { type Chaos, createChaos, wishFiles } from './chaos.ts';
import { FLEET } from './fleet-files.ts';
import { createPromises } from './promises.ts';

const WISH = {
  version: '1.0.0',
  stages: 0,
  condition: 0,
  priority: 10,
  suspend: false,
  onFailure: 'ladder',
} as const;

async function kiosksOn(version: string, count: number): Promise<Chaos> {
  const chaos: Chaos = await createChaos({
    seed: 'found',
    onPoll: (...polled) => promises.onPoll(...polled),
  });
  const promises = createPromises(() => chaos);
  await chaos.commit('Begin', { 'fleet/fleet.yaml': FLEET, ...wishFiles('kiosk', { ...WISH, version }) });
  await chaos.settle();
  const ids = Array.from({ length: count }, (_, n) => `kiosk-${n}` as DeviceId);
  await chaos.enrol(...ids.map((id) => ({ id, tags: { product: 'kiosk' } })));
  await chaos.advance(2);
  return chaos;
}

async function stagesOf(chaos: Chaos, name: string): Promise<readonly (readonly [string, number, string])[]> {
  const answer = await chaos.service().app.request(`/api/rollouts/${name}`);
  const { stages } = (await answer.json()) as { stages: { name: string; devices: number; state: string }[] };
  return stages.map((stage) => [stage.name, stage.devices, stage.state] as const);
}

test.each([1, 3])(
  'the first stage of a new rollout takes none of the devices that a higher one has, with %i left',
  async (left) => {
    const chaos = await kiosksOn('1.0.0', 5);
    await chaos.enrol(
      ...Array.from({ length: left }, (_, n) => ({ id: `sign-${n}` as DeviceId, tags: { product: 'sign' } })),
    );
    await chaos.commit(
      'A rollout for all',
      wishFiles('base', { ...WISH, version: '2.0.0', condition: 2, priority: 5 }),
    );
    await chaos.advance(3);
    expect(await stagesOf(chaos, 'base')).toEqual([
      ['canary', 1, 'passed'],
      ['fleet', left - 1, 'passed'],
    ]);
    expect(chaos.devices.map(({ device }) => device.runs()?.version)).toEqual([
      ...new Array<string>(5).fill('1.0.0'),
      ...new Array<string>(left).fill('2.0.0'),
    ]);
  },
);
