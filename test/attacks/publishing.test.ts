/** What is published must be what clients take. */
import { describe, expect, test } from 'vitest';
import type { DeviceId, RolloutName } from '../../src/core/model/ids.ts';
import { DAY, HOUR } from '../../src/core/model/time.ts';
import { manifestTarget } from '../../src/trust/tuf/content.ts';
import { kiosk, rollout } from '../simulation/fleet-files.ts';
import { CLIENTS } from '../trust/tuf/clients.ts';
import { type People, peopleOf } from '../trust/tuf/people.ts';

const bom = (text: string) => `\ufeff${text}`;

async function manifestOf(people: People, name = 'kiosk') {
  const attempt = people.served.fleet
    .service()
    .reconciler.state()
    .outcomes.get(name as RolloutName)
    ?.at(-1);
  if (attempt === undefined) throw new Error('no attempt');
  return manifestTarget(attempt.manifest, attempt.revision);
}

describe.each(CLIENTS)('%s', (_, makeClient) => {
  test('keys of artifacts change in targets.json before artifacts-kiosk.json is signed by enough of the new ones', async () => {
    const people = await peopleOf();
    const { fleet } = people.served;
    await people.handOver();
    await fleet.advance(4 * HOUR);
    const fay = await people.newKey('fay');
    await people.trust('rotate', 'artifacts', '--add', fay, '--remove', 'ada');
    // Ada and Cyd sign targets.json; of the new holders only Cyd has signed artifacts-kiosk.json so far.
    await people.sign('ada', 'cyd');
    await people.merge('Half of a rotation');
    const client = await makeClient(people.served);
    // What devices run can still be looked up.
    expect(await client.target(await manifestOf(people), fleet.clock.now())).toBeDefined();
    expect(await client.target('artifacts/kiosk/none', fleet.clock.now())).toBeUndefined();
  });
});

test('a new product without artifacts: validate says what the server says', async () => {
  const people = await peopleOf();
  const { fleet } = people.served;
  await people.handOver();
  await fleet.advance(4 * HOUR);
  await fleet.pull();
  await fleet.enrol({ id: 'other-1' as DeviceId, tags: { product: 'other' } });
  const set = Object.entries(kiosk('1.0.0')).map(([path, text]) => [
    path.replace('kiosk-1.0.0', 'other-1.0.0'),
    text.replace('kiosk@1.0.0', 'other@1.0.0'),
  ]);
  await fleet.commit('Other', {
    ...Object.fromEntries(set),
    ...rollout(
      '1.0.0',
      { distributionSet: 'other@1.0.0', targetCondition: "tags.product = 'other'" },
      'other',
    ),
  });
  const problems = await people.problems();
  await fleet.advance(2 * HOUR);
  expect(fleet.versions().at(-1)).toBeUndefined();
  expect(problems).not.toEqual([]);
});

test('renewals go on for five days with a target named constructor', async () => {
  const people = await peopleOf();
  const { fleet } = people.served;
  await people.handOver();
  await fleet.advance(4 * HOUR);
  await people.change('targets.json', (text) => {
    const made = JSON.parse(text);
    made.signatures = [];
    made.signed.targets.constructor = { length: 1, hashes: { sha256: '0'.repeat(64) } };
    return JSON.stringify(made);
  });
  await people.merge('Eve');
  for (let day = 0; day < 5; day += 1) {
    fleet.clock.advance(DAY);
    await fleet.settle();
  }
  for (const [, make] of CLIENTS) await (await make(people.served)).refresh(fleet.clock.now());
});

describe.each(CLIENTS.slice(0, 2))('%s', (_, makeClient) => {
  test('a byte order mark before a root that enough have signed', async () => {
    const people = await peopleOf();
    const { fleet } = people.served;
    await people.handOver();
    const client = await makeClient(people.served);
    await client.refresh(fleet.clock.now());
    await people.trust('rotate', 'root', '--threshold', '2');
    await people.sign('ada', 'ben', 'cyd');
    await people.change('3.root.json', bom);
    await people.merge('Eve merges');
    const first = await client.refresh(fleet.clock.now()).then(
      () => undefined,
      (error: unknown) => error,
    );
    // People mend it.
    await people.change('3.root.json', (text) => text.replace('\ufeff', ''));
    await people.merge('Mended');
    // Fails for ever: one version of the root is one file.
    await client.refresh(fleet.clock.now());
    expect(first).toBeUndefined();
  });
});
