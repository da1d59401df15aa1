/** Much of something in trust/, unsigned. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { HOUR } from '../../src/core/model/time.ts';
import { peopleOf } from '../trust/tuf/people.ts';

async function passes(people: Awaited<ReturnType<typeof peopleOf>>) {
  const { fleet } = people.served;
  const begun = performance.now();
  await fleet.settle();
  const first = performance.now() - begun;
  fleet.clock.advance(HOUR);
  const again = performance.now();
  await fleet.service().reconciler.pass();
  const later = performance.now() - again;
  const body = await (await fleet.service().app.request('/api/status')).text();
  return {
    first: Math.round(first),
    later: Math.round(later),
    problems: (await fleet.status()).problems.length,
    bytes: body.length,
  };
}

test('one unsigned file that lists 40,000 foreign targets makes no 40,000 problems', async () => {
  const people = await peopleOf();
  const { fleet } = people.served;
  await people.handOver();
  const targets = Object.fromEntries(
    Array.from({ length: 40_000 }, (_, n) => [`x${n}`, { length: 1, hashes: { sha256: '0'.repeat(64) } }]),
  );
  await people.change('artifacts-kiosk.json', (text) => {
    const made = JSON.parse(text);
    made.signatures = [];
    made.signed.targets = targets;
    made.signed.version += 1;
    return JSON.stringify(made);
  });
  await fleet.commit('Eve', {});
  const seen = await passes(people);
  console.log(seen);
  expect(seen.problems).toBeLessThan(1000);
}, 120_000);

test('20,000 files that are no metadata make no 20,000 problems', async () => {
  const people = await peopleOf();
  const { fleet } = people.served;
  await people.handOver();
  await mkdir(join(fleet.folder, 'trust/permits'), { recursive: true });
  for (let n = 0; n < 20_000; n += 1) await writeFile(join(fleet.folder, `trust/artifacts-x${n}.json`), '{}');
  await fleet.commit('Eve', {});
  const seen = await passes(people);
  console.log(seen);
  expect(seen.problems).toBeLessThan(1000);
}, 120_000);
