/** A gate that people approve: the stage is open and watched, and does not pass before they have. */
import { expect, test } from 'vitest';
import { HOUR, MINUTE } from '../../src/core/model/time.ts';
import { startCrashing } from '../simulation/crashing-fleet.ts';

const STEP = 10 * MINUTE;

test('a stage with an approval gate passes once so many people have approved it, each once, and no other stage with it', async () => {
  const fleet = await startCrashing({
    devices: 10,
    spec: {
      gates: '{health: healthy, lab: {approval: 1}}',
      stages: '[{name: canary, size: 2}, {name: half, size: 50%}, {name: fleet, size: all, gates: [health]}]',
    },
    crashes: () => 0,
  });
  await fleet.release('2.0.0');
  await fleet.advance(3 * HOUR, STEP);
  const waiting = await fleet.status();
  expect(waiting).toMatchObject({
    state: 'running',
    reason: expect.stringContaining('0 of 1 approvals given'),
  });
  expect(waiting.gates.find(({ name }) => name === 'lab')).toMatchObject({
    state: 'missing',
    rule: 'one approval',
  });
  // Of another stage, of another gate: neither counts.
  await fleet.operate(
    '{action: approve, attempt: 2, stage: half, gate: lab, by: ada}',
    '{action: approve, attempt: 2, stage: canary, gate: health, by: ada}',
  );
  await fleet.advance(HOUR, STEP);
  expect((await fleet.status()).attempts.at(-1)?.stages).toHaveLength(1);
  const { problems } = (await (await fleet.service.app.request('/api/status')).json()) as {
    problems: { message: string }[];
  };
  expect(problems.map(({ message }) => message).join('\n')).toMatch(
    /stage canary has no gate health that people approve/,
  );

  await fleet.operate('{action: approve, attempt: 2, stage: canary, gate: lab, by: ada}');
  await fleet.advance(3 * HOUR, STEP);
  // The approval of the second stage was there already.
  expect((await fleet.status()).state).toBe('succeeded');
});
