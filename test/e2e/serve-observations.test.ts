/** A support system and a server that run: the commands of the documentation, over HTTP, and a token that is taken back. */
import { expect, test } from 'vitest';
import { run } from '../cli/fixture.ts';
import { bareRepository, eventually, startServer } from './serving.ts';

test('a number is taken from whoever has a token, is there once after a crash, and nothing more comes once it is taken back', {
  timeout: 180_000,
}, async () => {
  const place = await bareRepository();
  const first = await startServer(place);
  await eventually(
    'a program is in force',
    async () => (await first.get<{ readonly programVersion: number | null }>('/api/status')).programVersion,
  );
  const args = ['--data', place.data, '--server', first.url, '--metric', 'support-tickets'];
  const { out, err } = await run(['observation', 'token', ...args]);
  const [, id = ''] = /TOKENS=(\S+)/.exec(err) ?? [];
  const post = async (url: string) => {
    const response = await fetch(`${url}/v1/observations`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${out.trimEnd()}` },
      body: JSON.stringify({ metric: 'support-tickets', value: 1, id: 'T-4711' }),
    });
    return { status: response.status, body: (await response.json()) as object };
  };
  expect(await post(first.url)).toEqual({ status: 202, body: { effects: ['counted'] } });
  await first.end('SIGKILL');

  const second = await startServer(place);
  await eventually('it answers again', async () => (await post(second.url)).status === 202);
  expect(await post(second.url)).toEqual({ status: 202, body: { effects: ['duplicate'] } });
  expect(await second.end('SIGTERM')).toBe(0);

  const third = await startServer({ ...place, env: { TIDEGATE_REVOKED_OBSERVATION_TOKENS: id } });
  const refused = await eventually('it answers', async () => {
    const answer = await post(third.url);
    return answer.status !== 503 && answer;
  });
  expect(refused).toMatchObject({ status: 401, body: { detail: expect.stringContaining('was taken back') } });
  expect(first.log() + second.log() + third.log()).not.toContain(out.trimEnd());
});
