/** `tidegate select` in a clone: what it writes, what it says, and what it refuses. Whom it takes is proved in features/ripples. */
import { describe, expect, onTestFinished, test } from 'vitest';
import { listen } from '../../src/http/listen.ts';
import { identities } from '../../src/simulate/simulation.ts';
import { FLEET, kiosk, rollout } from '../simulation/fleet-files.ts';
import { createRepositoryFleet } from '../simulation/repository-fleet.ts';
import { run } from './fixture.ts';
import { PERSON } from './people.ts';

const FILE = 'fleet/rollouts/kiosk.yaml';
const STAGES = '[{name: batch, size: 5, soak: 30m}, {name: fleet, size: all, approvals: 1}]';

/** Twenty kiosks, and a rollout whose first stage waits for `start`. */
async function served(spec: Record<string, string> = {}, files: Record<string, string> = {}) {
  const fleet = await createRepositoryFleet();
  await fleet.commit('Begin', {
    'fleet/fleet.yaml': FLEET,
    ...kiosk('1.0.0'),
    ...rollout('1.0.0', { stages: STAGES, start: 'manual', ...spec }),
    ...files,
  });
  await fleet.enrol(...identities(20, (n) => ({ product: 'kiosk', region: n <= 15 ? 'north' : 'south' })));
  await fleet.settle();
  const { url, close } = await listen(fleet.service().app, { host: '127.0.0.1', port: 0 });
  onTestFinished(close);
  const select = async (args: readonly string[], given: { input?: string; columns?: number } = {}) => {
    const all = ['select', 'kiosk', '--server', url, '--repo', fleet.folder, '--by', 'ada', ...args];
    const ran = await run(all, { env: PERSON, ...given });
    await fleet.settle();
    return ran;
  };
  const onMain = async (path: string) => {
    await fleet.native('fetch', '--quiet', 'origin', 'main');
    return await fleet.native('show', `FETCH_HEAD:${path}`);
  };
  return { fleet, select, onMain, url };
}

const ten = ['--stage', 'ripple-1', '--limit', '10'];

describe('what it writes', () => {
  test('a stage before the first that would take in more, and nothing else', async () => {
    const { select, onMain, fleet } = await served();
    const before = await onMain(FILE);
    const { exit, out, err } = await select([...ten, '--reason', 'Ask the shops.']);
    expect({ exit, err }).toEqual({ exit: 0, err: '' });
    expect(await onMain(FILE)).toBe(
      before.replace('{name: fleet', '{name: ripple-1, size: 10}, {name: fleet'),
    );
    expect(out).toMatch(
      /^Stage ripple-1 takes in 10 of the 20 devices that match, before stage fleet\.\n\n {2}region {2}north \d+, south \d+\n\n✓ Select 10 devices of kiosk as ripple-1\n/,
    );
    expect(out).toContain('It opens after batch.');
    await fleet.native('fetch', '--quiet', 'origin', 'main');
    expect(await fleet.native('log', '-1', '--format=%an%n%B', 'FETCH_HEAD')).toBe(
      'ada\nSelect 10 devices of kiosk as ripple-1\n\nAsk the shops.\n\n' +
        'Stage ripple-1 takes in 10 of the 20 devices that match, before stage fleet.\n\n' +
        'Rollout: kiosk\nAttempt: 1\nStage: ripple-1',
    );
    expect((await fleet.rollout()).stages.map(({ name }) => name)).toEqual(['batch', 'ripple-1', 'fleet']);
    // A smaller one goes first; one of the same name takes the place of what it was.
    expect((await select(['--stage', 'ripple-0', '--limit', '2'])).exit).toBe(0);
    expect((await select(['--stage', 'ripple-1', '--limit', '3'])).exit).toBe(0);
    expect((await fleet.rollout()).stages.map(({ name, size }) => `${name} ${size}`)).toEqual([
      'ripple-0 2 devices',
      'ripple-1 3 devices',
      'batch 5 devices',
      'fleet all',
    ]);
  });

  test('with --format json, what was committed and whom it takes', async () => {
    const { select } = await served();
    const { out } = await select([...ten, '--format', 'json', '--dry-run', '--print-ids']);
    const { selection, ...rest } = JSON.parse(out);
    expect(rest).toMatchObject({ dryRun: true, commit: null, files: [FILE], stage: 'ripple-1' });
    expect(selection).toMatchObject({
      devices: 10,
      matching: 20,
      before: 'fleet',
      opened: [],
      seed: 'known',
    });
    expect(selection.ids).toHaveLength(10);
  });

  test('a list that is piped in, in short where it is long', async () => {
    const { select, onMain } = await served();
    const ids = identities(18, () => ({})).map(({ id }) => id);
    const args = ['--stage', 'list', '--ids', '@-'];
    const dry = await select([...args, '--dry-run'], { input: ids.join('\n') });
    expect(dry.out).toContain('Would commit to main');
    expect(Math.max(...dry.out.split('\n').map(({ length }) => length))).toBeLessThan(420);
    await select(args, { input: ids.join('; ') });
    expect(await onMain(FILE)).toContain(
      `{name: list, size: all, where: "deviceId IN [${ids.map((id) => `'${id}'`).join(', ')}]"}`,
    );
  });

  test('for the next attempt, where none is under way', async () => {
    const { select, fleet, url } = await served({ start: 'onMerge' });
    const cancel = ['cancel', 'kiosk', '--repo', fleet.folder, '--by', 'ada'];
    expect((await run(cancel, { env: PERSON })).exit).toBe(0);
    await fleet.settle();
    const { out } = await select([...ten, '--dry-run', '--print-ids']);
    expect((await select(ten)).out).toContain('It opens in attempt 2, which begins when');
    const retry = ['retry', 'kiosk', '--repo', fleet.folder, '--by', 'ada'];
    expect((await run(retry, { env: PERSON })).exit).toBe(0);
    await fleet.advance(4 * 3_600_000);
    const answer = await fetch(`${url}/api/devices?limit=1000`);
    const { devices } = (await answer.json()) as { devices: { id: string; assignment: unknown }[] };
    const offered = devices.filter(({ assignment }) => assignment !== null).map(({ id }) => id);
    // Those of the stage before it, too.
    for (const id of out.trimEnd().split('\n')) expect(offered).toContain(id);
    expect(offered).toHaveLength(15);
  });
});

describe('what it refuses, with the next step', () => {
  test('stages that are no list', async () => {
    const plan =
      'apiVersion: tidegate.dev/v1\nkind: StagePlan\nmetadata: {name: careful}\nspec: {stages: [{fleet: all}]}\n';
    const files = { 'fleet/stages/careful.yaml': plan };
    const { select } = await served({ stages: 'careful' }, files);
    expect((await select(ten)).err).toMatch(
      /the stages of kiosk are the StagePlan careful, .* write them into fleet\/rollouts\/kiosk\.yaml as spec\.stages/,
    );
    const split = await served({ stages: '{split: 3}' });
    expect((await split.select(ten)).err).toContain('the stages of kiosk are a split into groups');
  });

  test('a stage that has opened, or that is for everybody', async () => {
    const { select } = await served({ start: 'onMerge' });
    expect(await select(['--stage', 'batch', '--limit', '2'])).toMatchObject({
      exit: 1,
      err: expect.stringContaining('stage batch has opened and stays as it was; --stage batch-1 is free'),
    });
    expect((await select(['--stage', 'fleet', '--limit', '2'])).err).toMatch(
      /stage fleet takes in everybody.*--stage ripple-1 is free/,
    );
  });

  test('what cannot be meant', async () => {
    const { select, fleet } = await served();
    const errorOf = async (...args: readonly string[]) => {
      const { exit, err } = await select(args);
      return `${exit} ${err}`;
    };
    expect(await errorOf('--stage', 'a')).toMatch(/^2 .*say which devices: --limit 10/);
    expect(await errorOf('--stage', 'a', '--limit', '3 sites')).toMatch(
      /^2 .*--limit is a number of devices/,
    );
    expect(await errorOf('--stage', 'a', '--group', 'nroth')).toMatch(/^1 .*no group "nroth"; groups: none/);
    expect(await errorOf('--stage', 'A B', '--limit', '1')).toMatch(
      /^2 .*\/stage: expected the name of a stage/,
    );
    expect(await errorOf('--stage', 'emergency', '--limit', '1')).toMatch(/^1 .*emergency/);
    const many = Array.from({ length: 70_000 }, (_, n) => `${'x'.repeat(120)}${n}`);
    expect((await select(['--stage', 'a', '--ids', '@-'], { input: many.join('\n') })).err).toMatch(
      /70,000 ids take more than the 8 MiB .* choose them by a group/,
    );
    const none = ['--ids', ' , '];
    expect(await errorOf('--stage', 'a', ...none)).toMatch(/^2 .*names no device/);
    expect((await run(['select', 'kisok', '--repo', fleet.folder, ...ten], { env: PERSON })).err).toMatch(
      /kisok/,
    );
  });

  test('somebody else’s server: it has another commit', async () => {
    const [{ fleet }, other] = [await served(), await served()];
    await other.fleet.commit('Another', { 'fleet/fleet.yaml': `${FLEET}# another\n` });
    await other.fleet.settle();
    const args = ['select', 'kiosk', '--server', other.url, '--repo', fleet.folder, ...ten];
    const { exit, err } = await run(args, { env: PERSON });
    expect(exit).toBe(2);
    expect(err).toMatch(
      /has commit [0-9a-f]+, and the newest that is valid here is [0-9a-f]+; see tidegate status/,
    );
  });
});
