/**
 * Ripples: devices chosen by hand with `tidegate select`, in a clone of a repository that a real server follows. The devices are those of
 * the simulator, which ask the service for what they are to run.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { DeviceId, RolloutName } from '../../src/core/model/ids.ts';
import { HOUR } from '../../src/core/model/time.ts';
import { listen } from '../../src/http/listen.ts';
import { createDirectClient } from '../../src/simulate/direct-client.ts';
import { identities } from '../../src/simulate/simulation.ts';
import { run, temporaryFolder } from '../cli/fixture.ts';
import { PERSON } from '../cli/people.ts';
import { FLEET, kiosk, rollout } from '../simulation/fleet-files.ts';
import { createRepositoryFleet, type RepositoryFleet } from '../simulation/repository-fleet.ts';

type Tags = Readonly<Record<string, string>>;

/** The rollout waits for people: nobody is updated who was not selected. */
const WAITS = '[{name: fleet, size: all, approvals: 1}]';
const NORTH = `apiVersion: tidegate.dev/v1
kind: Group
metadata: {name: north}
spec: {targetCondition: "tags.region = 'north'"}
`;
const SETTLED = 2 * HOUR;

interface Ripples {
  readonly fleet: RepositoryFleet;
  /** `tidegate select kiosk …`; the server takes in what was committed. */
  select(...args: readonly string[]): Promise<{ exit: number; out: string; err: string }>;
  tidegate(...args: readonly string[]): Promise<{ exit: number; out: string; err: string }>;
  /** Ids of the devices that the service offers a revision when they ask. */
  offered(): Promise<readonly string[]>;
  commits(): Promise<string>;
  url: string;
}

async function ripples(
  devices: number,
  given: { readonly tagsOf?: (n: number) => Tags; readonly spec?: Record<string, string> } = {},
): Promise<Ripples> {
  const { tagsOf = (n) => ({ product: 'kiosk', region: n % 2 === 0 ? 'north' : 'south' }), spec } = given;
  const fleet = await createRepositoryFleet();
  await fleet.commit('Begin', {
    'fleet/fleet.yaml': FLEET,
    'fleet/groups/north.yaml': NORTH,
    ...kiosk('1.0.0'),
    ...rollout('1.0.0', { stages: WAITS, ...spec }),
  });
  await fleet.settle();
  const all = identities(devices, tagsOf);
  if (devices <= 200) await fleet.enrol(...all);
  // Many at a time: the intake commits them in batches.
  for (let at = 0; devices > 200 && at < devices; at += 1000)
    await Promise.all(all.slice(at, at + 1000).map((each) => createDirectClient(fleet.service(), each)));
  await fleet.settle();
  const { url, close } = await listen(fleet.service().app, { host: '127.0.0.1', port: 0 });
  onTestFinished(close);
  const clients = new Map<string, Awaited<ReturnType<typeof createDirectClient>>>();
  const tidegate = async (...args: readonly string[]) => {
    const ran = await run([...args, '--repo', fleet.folder, '--by', 'ada'], { env: PERSON });
    await fleet.settle();
    return ran;
  };
  return {
    fleet,
    url,
    tidegate,
    select: (...args) => tidegate('select', 'kiosk', '--server', url, ...args),
    async offered() {
      const found: string[] = [];
      for (const each of all) {
        const client = clients.get(each.id) ?? (await createDirectClient(fleet.service(), each));
        clients.set(each.id, client);
        if ((await client.poll()).kind === 'assigned') found.push(each.id);
      }
      return found;
    },
    commits: () => fleet.native('ls-remote', 'origin', 'main'),
  };
}

const idsIn = (out: string) => out.trimEnd().split('\n');

test('S2.3 S2.4 ten of the whole fleet or of a group are chosen at random, and the same ten from the same commit', async () => {
  const { select, offered } = await ripples(120);
  const dry = ['--stage', 'ripple-1', '--limit', '10', '--dry-run', '--print-ids'];
  const first = await select(...dry);
  expect(first).toMatchObject({ exit: 0, err: '' });
  expect(new Set(idsIn(first.out)).size).toBe(10);
  expect((await select(...dry)).out).toBe(first.out);
  const ofGroup = idsIn((await select(...dry, '--group', 'north')).out);
  expect(ofGroup).toHaveLength(10);
  for (const id of ofGroup) expect(Number(id.slice(-6)) % 2).toBe(0);
  const made = await select('--stage', 'north-1', '--limit', '10', '--group', 'north');
  expect(made.exit).toBe(0);
  expect(made.out).toContain('Stage north-1 takes in 10 of the 60 devices that match, before stage fleet.');
  expect(await offered()).toEqual(ofGroup);
});

test('S2.6 S2.9 the printed set is the one that is offered later, and a dry run offers and commits nothing', async () => {
  const { select, offered, commits, fleet } = await ripples(60);
  const before = await commits();
  const dry = await select('--stage', 'ripple-1', '--limit', '7', '--dry-run', '--print-ids');
  expect(await commits()).toBe(before);
  expect(await offered()).toEqual([]);
  // Nobody else's devices make a difference: what changes is the clock, and that a server has started anew.
  fleet.clock.advance(HOUR);
  const made = await select('--stage', 'ripple-1', '--limit', '7', '--print-ids');
  expect(made).toMatchObject({ exit: 0, out: dry.out });
  expect(made.err).toContain('✓ Select 7 devices of kiosk as ripple-1');
  expect(await commits()).not.toBe(before);
  expect(await offered()).toEqual(idsIn(dry.out));
});

test('S2.7 S2.8 S2.15 three ripples of ten are thirty devices, nobody else is touched, and an approval is for everybody', async () => {
  const { select, tidegate, offered, fleet } = await ripples(100);
  const chosen = new Set<string>();
  for (const [n, stage] of ['ripple-1', 'ripple-2', 'ripple-3'].entries()) {
    const { out, exit } = await select('--stage', stage, '--limit', '10', '--print-ids');
    expect(exit).toBe(0);
    for (const id of idsIn(out)) chosen.add(id);
    expect(chosen.size).toBe(10 * (n + 1));
    expect((await offered()).toSorted()).toEqual([...chosen].sort());
    await fleet.advance(SETTLED);
    expect(fleet.versions().filter((version) => version === '1.0.0')).toHaveLength(10 * (n + 1));
    expect(await fleet.rollout()).toMatchObject({ state: 'waitingForApproval' });
  }
  expect((await tidegate('approve', 'kiosk', '--stage', 'fleet')).exit).toBe(0);
  expect(await offered()).toHaveLength(100);
  await fleet.advance(SETTLED);
  expect(await fleet.rollout()).toMatchObject({ state: 'succeeded' });
  // Complete means everybody, newcomers included.
  await fleet.enrol({ id: 'device-new' as DeviceId, tags: { product: 'kiosk' } });
  await fleet.advance(SETTLED);
  expect(fleet.versions()).toEqual(new Array(101).fill('1.0.0'));
});

test('S2.10 of a list of fifty ten are taken; ids that are unknown, retired or of others are named, and nothing is written', async () => {
  const { select, offered, commits, fleet } = await ripples(80, {
    tagsOf: (n) => ({ product: n <= 70 ? 'kiosk' : 'hub', region: n % 2 === 0 ? 'north' : 'south' }),
  });
  await fleet.commit('Retire', {
    'fleet/devices/all.yaml':
      'apiVersion: tidegate.dev/v1\nkind: DeviceList\nmetadata: {name: all}\nspec: {devices: [{id: device-000003, retired: true}]}\n',
  });
  await fleet.settle();
  const id = (n: number) => `device-${String(n).padStart(6, '0')}`;
  const fifty = Array.from({ length: 50 }, (_, n) => id(n + 11));
  const before = await commits();
  const wrong = [...fifty, 'nobody', 'device-000003', id(71), id(72)].join(',');
  expect(await select('--stage', 'list', '--ids', wrong, '--limit', '10')).toEqual({
    exit: 1,
    out: '',
    err: expect.stringMatching(
      /1 have not enrolled: nobody.*2 do not match the rollout: device-000071, device-000072.*nothing was changed/s,
    ),
  });
  const { err } = await select('--stage', 'list', '--ids', wrong);
  expect(err).toContain('1 are retired: device-000003');
  expect((await select('--stage', 'list', '--ids', id(11), '--group', 'north')).err).toContain(
    '1 do not match the rollout and the group north: device-000011',
  );
  expect(await commits()).toBe(before);

  const { out } = await select('--stage', 'list', '--ids', fifty.join(','), '--limit', '10', '--print-ids');
  expect(idsIn(out)).toHaveLength(10);
  for (const each of idsIn(out)) expect(fifty).toContain(each);
  expect(await offered()).toEqual(idsIn(out));
});

test('S2.11 after a cancel nobody new is offered anything, and who was updated keeps it', async () => {
  const { select, tidegate, offered, fleet } = await ripples(40);
  await select('--stage', 'ripple-1', '--limit', '8');
  await fleet.advance(SETTLED);
  const updated = await offered();
  expect(updated).toHaveLength(8);
  const { out } = await select('--stage', 'ripple-2', '--limit', '8', '--print-ids');
  expect(await offered()).toHaveLength(16);
  expect((await tidegate('cancel', 'kiosk')).exit).toBe(0);
  expect(await offered()).toEqual(updated);
  for (const id of idsIn(out)) expect(updated).not.toContain(id);
  await fleet.advance(SETTLED);
  expect(fleet.versions().filter((version) => version !== undefined)).toHaveLength(8);
});

test('S2.16 each of the selected devices says how it goes, and the others why they wait', async () => {
  const { select, fleet, url } = await ripples(30);
  const { out } = await select('--stage', 'ripple-1', '--limit', '3', '--print-ids');
  const chosen = idsIn(out);
  const why = async (id: string) =>
    (await run(['why', id, '--server', url], { env: PERSON, now: fleet.clock.now() })).out;
  for (const id of chosen) expect(await why(id)).toContain('stage ripple-1 of attempt 1 contains it');
  await fleet.advance(SETTLED);
  for (const id of chosen) expect(await why(id)).toContain('it runs the revision and every gate holds');
  const other = identities(30, () => ({})).find(({ id }) => !chosen.includes(id));
  expect(await why(other?.id ?? '')).toContain('no open stage of attempt 1 contains it yet');
});

test.each([
  { devices: 105, limit: '10%', taken: 11 },
  { devices: 42, limit: '5 %', taken: 3 },
])('S2.17 $limit of $devices are $taken, rounded up, and as many others the next time', async (given) => {
  const { select, fleet } = await ripples(given.devices);
  const first = idsIn((await select('--stage', 'a', '--limit', given.limit, '--print-ids')).out);
  expect(first).toHaveLength(given.taken);
  await fleet.advance(SETTLED);
  const second = idsIn((await select('--stage', 'b', '--limit', given.limit, '--print-ids')).out);
  expect(new Set([...first, ...second]).size).toBe(2 * given.taken);
  expect((await fleet.rollout()).stages[1]).toMatchObject({ name: 'b', devices: given.taken });
});

test('S2.19 one file with commas, semicolons, pipes, white space and line breaks is the same list', async () => {
  const { select, offered } = await ripples(20);
  const folder = await temporaryFolder();
  const file = join(folder, 'ids.txt');
  const id = (n: number) => `device-${String(n).padStart(6, '0')}`;
  await writeFile(
    file,
    `\uFEFF${id(1)},${id(2)};${id(3)}|${id(4)} ${id(5)}\t${id(6)}\r\n${id(7)}\n\n ,; ${id(1)} | ${id(8)};\n`,
  );
  const eight = Array.from({ length: 8 }, (_, n) => id(n + 1));
  const dry = ['--stage', 'list', '--dry-run', '--print-ids', '--ids'];
  expect(idsIn((await select(...dry, eight.join(','))).out)).toEqual(eight);
  expect((await select('--stage', 'list', '--ids', `@${file}`)).exit).toBe(0);
  expect(await offered()).toEqual(eight);
  expect((await select('--stage', 'more', '--ids', `@${folder}/missing`)).err).toContain('cannot be read');
  expect((await select('--stage', 'more', '--ids', 'ä b!')).err).toContain('found "ä", "b!"');
});

test('S2.5 S2.18 of 100,000 devices ten, the same ten from the same commit; and all of them by a list of ids', async () => {
  const { select, fleet } = await ripples(100_000, { tagsOf: () => ({ product: 'kiosk' }) });
  const ten = ['--stage', 'ten', '--limit', '10', '--print-ids'];
  const first = await select(...ten, '--dry-run');
  expect(idsIn(first.out)).toHaveLength(10);
  expect((await select(...ten)).out).toBe(first.out);

  const folder = await temporaryFolder();
  const file = join(folder, 'all.txt');
  const all = identities(100_000, () => ({})).map(({ id }) => id);
  await writeFile(file, all.join('\n'));
  // The first ten have to pass before the next stage opens.
  const revision = fleet
    .service()
    .reconciler.state()
    .wanted?.desired?.rollouts.get('kiosk' as RolloutName)?.revision;
  if (revision === undefined) throw expect.unreachable();
  for (const id of idsIn(first.out)) {
    const client = await createDirectClient(fleet.service(), {
      id: id as DeviceId,
      tags: { product: 'kiosk' },
    });
    await client.report({
      ...{ bootId: 'boot', seq: 1, generation: 0, exposureHours: 0, events: {} },
      running: revision,
      signals: { healthy: true },
    });
  }
  const made = await select('--stage', 'everybody', '--ids', `@${file}`, '--format', 'json');
  expect(made).toMatchObject({ exit: 0, err: '' });
  expect(JSON.parse(made.out).selection).toMatchObject({
    devices: 99_990,
    matching: 100_000,
    before: 'fleet',
  });
  const { stages } = await fleet.rollout();
  expect(stages.map(({ name, devices }) => [name, devices])).toEqual([
    ['ten', 10],
    ['everybody', 99_990],
    ['fleet', undefined],
  ]);
  const last = await createDirectClient(fleet.service(), {
    id: all[99_999] as DeviceId,
    tags: { product: 'kiosk' },
  });
  expect((await last.poll()).kind).toBe('assigned');
  await fleet.pull();
  expect(await fleet.native('grep', '-c', 'device-0', 'outcomes').catch(() => 'none')).toBe('none');
});
