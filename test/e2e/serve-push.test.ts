/** The main job from the outside: people push with native git, devices follow, outcomes and reverts come back as commits. */
import { expect, test } from 'vitest';
import {
  allRun, bareRepository, createDevices, decisions, eventually, release, type RolloutAnswer, startServer, stepUntil,
} from './serving.ts';

test('a push', { timeout: 120_000 }, async () => {
  const place = await bareRepository();
  const server = await startServer(place);
  const devices = await createDevices(place, { ids: ['a', 'b', 'c', 'd'], url: () => server.url });
  const state = async () => (await server.get<RolloutAnswer>('/api/rollouts/kiosk'));
  await stepUntil(devices, '1.0.0', async () => (await state()).state === 'succeeded' && allRun(devices, '1.0.0') || undefined);
  await place.commit('Release 1.1.0-bad', release('1.1.0-bad'));
  await place.git('push', '--quiet');
  await stepUntil(devices, 'revert', async () => (await state()).restored?.completedAt && (await state()).restored?.main === 'agrees' || undefined);
  console.log(await decisions(place));
  console.log(server.log());
  console.log(await place.git('pull'));
  console.log(await server.end('SIGTERM'));
});
