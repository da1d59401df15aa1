/** Tickets of support in the whole loop: somebody posts numbers, a gate over any four hours of them stops a rollout. */
import { describe, expect, test } from 'vitest';
import { replayVerdict } from '../../src/core/gates/replay.ts';
import type { RolloutName } from '../../src/core/model/ids.ts';
import { HOUR, MINUTE } from '../../src/core/model/time.ts';
import { startPosted } from './posted-fleet.ts';

const RUNNING = ['running', undefined, undefined];
const PAUSED = ['paused', 'gate', 'tickets'];

describe('S4.34 tickets that support posts', () => {
  test('stop a rollout with the 101st within any four hours, and not with the 100th', async () => {
    const { post, standing, advance, reading, fleet } = await startPosted();
    await advance(2 * HOUR);
    for (let hour = 0; hour < 4; hour += 1) {
      await post({ value: 25 });
      await advance(hour === 3 ? 50 * MINUTE : HOUR);
    }
    expect((await standing())[0]).toBe('running');
    expect(await reading()).toMatchObject({
      state: 'holds',
      because: 'support-tickets: 100 in the last 4h; more than 100 halts',
    });
    const before = fleet.running('2.0.0').length;
    await post({ value: 1 });
    expect(await standing()).toEqual(PAUSED);
    const breach = (await fleet.status()).attempts.at(-1)?.breach;
    expect(breach).toMatchObject({ severity: 'moderate', action: 'pause' });
    expect(breach?.because).toContain('support-tickets: 101 within 4h; more than 100 halts');
    // It takes nothing from anybody, and nobody is given more, while somebody may decide.
    await advance(23 * HOUR);
    expect([await standing(), fleet.running('2.0.0').length]).toEqual([PAUSED, before]);
    await post({ value: 0 });
    await advance(HOUR);
    expect((await standing()).slice(0, 2)).toEqual(['running', 'deadline']);
  });

  test('leave it alone where 150 are spread so that no four hours have more than 100', async () => {
    const { post, standing, advance, fleet } = await startPosted();
    for (let half = 0; half < 16; half += 1) {
      await advance(30 * MINUTE);
      await post({ value: half % 2 === 0 ? 10 : 9 });
    }
    expect((await standing())[0]).toBe('running');
    for (let hour = 0; hour < 60 && (await standing())[0] !== 'succeeded'; hour += 1) {
      await advance(HOUR);
      await post({ value: 0 });
    }
    expect((await standing())[0]).toBe('succeeded');
    expect(fleet.running('2.0.0')).toHaveLength(20);
  });

  test('count once by their id, however often they are sent', async () => {
    const { post, standing, advance } = await startPosted();
    await advance(HOUR);
    const tickets = Array.from({ length: 100 }, (_, n) => ({ id: `T-${n}` }));
    expect(new Set(await post(...tickets))).toEqual(new Set(['counted']));
    expect(new Set(await post(...tickets))).toEqual(new Set(['duplicate']));
    await advance(HOUR);
    expect(await post({ id: 'T-99' })).toEqual(['duplicate']);
    expect((await standing())[0]).toBe('running');
    expect(await post({ id: 'T-100' })).toEqual(['counted']);
    expect(await standing()).toEqual(PAUSED);
  });

  test('count in the window where they belong, however late they come', async () => {
    const { post, standing, advance, now } = await startPosted();
    await advance(2 * HOUR);
    const at = now();
    await post({ value: 60 });
    await advance(6 * HOUR);
    // A window of their own: 60 then, 60 now.
    await post({ value: 60 });
    expect((await standing())[0]).toBe('running');
    await advance(10 * HOUR);
    await post({ value: 40, at: at - 30 * MINUTE });
    expect((await standing())[0]).toBe('running');
    await post({ value: 1, at: at + 3 * HOUR });
    expect(await standing()).toEqual(PAUSED);
  });

  test('of before the stage opened say nothing about it', async () => {
    const { post, standing, advance, now } = await startPosted();
    await advance(HOUR);
    await post({ value: 500, at: now() - 2 * HOUR }, { value: 100 });
    await advance(HOUR);
    expect((await standing())[0]).toBe('running');
  });

  test('that nobody posts leave the stage where it is, and say what is missing; nothing else stops', async () => {
    const { standing, advance, reading, fleet, post } = await startPosted();
    await advance(30 * HOUR);
    expect((await standing())[0]).toBe('running');
    expect((await fleet.status()).stages.map(({ state }) => state)).toEqual(['running', 'scheduled']);
    expect(await reading()).toMatchObject({
      state: 'missing',
      because:
        'nothing of support-tickets was posted in the last 4h; post it to /v1/observations, also where it is 0',
    });
    // Devices poll and report, and what is released after it is rolled out.
    expect(fleet.running('2.0.0')).toHaveLength(4);
    await post({ value: 0 });
    await advance(HOUR);
    expect((await fleet.status()).stages[0]?.state).toBe('passed');
  });

  test('that were decided upon do not stop it again at once; new ones do', async () => {
    const { post, standing, advance, fleet } = await startPosted();
    await advance(90 * MINUTE);
    await post({ value: 101 });
    expect(await standing()).toEqual(PAUSED);
    await advance(10 * MINUTE);
    const { attempt } = await fleet.status();
    await fleet.operate(`{action: resume, attempt: ${attempt}, by: ada, reason: a mail of ours caused them}`);
    await advance(HOUR);
    expect((await standing())[0]).toBe('running');
    await post({ value: 100 });
    expect((await standing())[0]).toBe('running');
    await post({ value: 1 });
    expect(await standing()).toEqual(PAUSED);
    // The record has what it was, without what was decided upon before.
    const paused = fleet.service.reconciler
      .state()
      .outcomes.get('kiosk' as RolloutName)
      ?.at(-1);
    const [stage] = paused?.stages ?? [];
    const { replay, recorded } = (paused && stage && replayVerdict(paused, stage, 'tickets')) ?? {};
    expect(recorded?.observations?.map(([, sum]) => sum)).toEqual([101]);
    expect(replay?.reading).toMatchObject({ state: 'halts', because: recorded?.because });
  });
});

test.each([
  [100, RUNNING[0]],
  [101, PAUSED[0]],
])('S4.69 %d tickets in a sliding window of four hours: %s', async (tickets, expected) => {
  const { post, standing, advance } = await startPosted();
  // The window is none of the clock's: it begins at 01:50 and ends just before 05:50.
  await advance(50 * MINUTE);
  await post({ value: 40 });
  await advance(2 * HOUR);
  await post({ value: 40 });
  await advance(110 * MINUTE);
  await post({ value: tickets - 80 });
  expect((await standing())[0]).toBe(expected);
  // Ten minutes on the first forty are out of it: what comes now is counted with sixty.
  await advance(10 * MINUTE);
  await post({ value: 39 });
  expect((await standing())[0]).toBe(expected);
});
