/** Notices outlive the process that is to deliver them: a server is killed while its receiver is down. */
import { expect, test } from 'vitest';
import { readSigningKeys, webhookHeaders } from '../../src/trust/standard-webhooks.ts';
import { startReceiver } from '../notify/receiver.ts';
import { FLEET } from '../simulation/fleet-files.ts';
import { bareRepository, eventually, type Status, startServer } from './serving.ts';

const SECRET = `whsec_${Buffer.alloc(32, 5).toString('base64')}`;

test('a notice that nobody took is delivered by the next process, signed, and its address is shown nowhere', {
  timeout: 180_000,
}, async () => {
  const place = await bareRepository();
  const receiver = await startReceiver('/services/verysecret');
  const notifications =
    '[{urlFrom: {env: TIDEGATE_HOOK_A}, on: [created]}, {urlFrom: {env: TIDEGATE_HOOK_B}}]';
  await place.commit('Tell us', {
    'fleet/fleet.yaml': FLEET.replace('spec: {', `spec: {notifications: ${notifications}, `),
  });
  await place.git('push', '--quiet');
  receiver.answer(503);
  const env = { TIDEGATE_HOOK_A: receiver.url, TIDEGATE_NOTIFY_SECRET: SECRET };
  const first = await startServer({ ...place, env });
  await eventually('the receiver was asked in vain', () =>
    first.log().includes('answers 503; it is tried again'),
  );
  const { problems } = await first.get<Status & { problems: readonly { message: string }[] }>('/api/status');
  expect(problems.map(({ message }) => message)).toEqual([
    expect.stringContaining('TIDEGATE_HOOK_B is not set in the environment of the server'),
  ]);
  await first.end('SIGKILL');

  receiver.answer(204);
  const before = receiver.received.length;
  const second = await startServer({ ...place, env });
  // What the first one held when it was killed is lent to it for a minute.
  const isDelivered = () => receiver.received.length > before;
  await eventually('the notice is delivered', isDelivered).catch(() =>
    eventually('the notice is delivered after its loan', isDelivered),
  );
  const { headers = {}, body = '' } = receiver.received.at(-1) ?? {};
  expect(JSON.parse(body)).toMatchObject({ type: 'tidegate.rollout.created', subject: 'kiosk/1' });
  const read = readSigningKeys(SECRET);
  const at = Number(headers['webhook-timestamp']) * 1000;
  const expected = webhookHeaders({ id: String(headers['webhook-id']), body, at }, read.ok ? read.keys : []);
  expect(headers).toMatchObject(expected);
  expect(new Set(receiver.received.map((each) => each.headers['webhook-id'])).size).toBe(1);
  expect(await second.end('SIGTERM')).toBe(0);
  expect(first.log() + second.log()).not.toContain('verysecret');
});
