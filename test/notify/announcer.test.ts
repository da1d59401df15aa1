/** What is recorded on `outcomes` is announced, whichever process recorded it and whenever that ended. */
import { expect, onTestFinished, test, vi } from 'vitest';
import type { RolloutName } from '../../src/core/model/ids.ts';
import { sha256Hex } from '../../src/core/model/manifest.ts';
import { DAY, HOUR, MINUTE } from '../../src/core/model/time.ts';
import { OUTCOMES_BRANCH } from '../../src/fleet-repo/outcomes.ts';
import { createMemoryRepository, type MemoryRepository } from '../../src/git/memory.ts';
import { withChanges } from '../../src/git/tree.ts';
import { createAnnouncer } from '../../src/notify/announcer.ts';
import type { PassStep } from '../../src/reconcile/reconciler.ts';
import { createService, type Service } from '../../src/service.ts';
import { createDirectClient } from '../../src/simulate/direct-client.ts';
import { identities } from '../../src/simulate/simulation.ts';
import { createVirtualClock, type VirtualClock } from '../../src/simulate/virtual-clock.ts';
import { createVirtualDevice, type VirtualDevice } from '../../src/simulate/virtual-device.ts';
import { createMemoryStore } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import { generateKeys, type Keys } from '../../src/trust/keys.ts';
import { FLEET, kiosk, rollout, WORLD } from '../simulation/fleet-files.ts';
import { startReceiver } from './receiver.ts';
import { createWatchedOutbox, type WatchedOutbox } from './watched-outbox.ts';

let keys: Keys | undefined;

/** A fleet document with these `notifications`. */
function fleet(notifications?: string): string {
  return notifications === undefined
    ? FLEET
    : FLEET.replace('spec: {', `spec: {notifications: ${notifications}, `);
}

const EVERYTHING =
  '[{url: "https://hooks.example/x", on: [created, approvalNeeded, stageOpened, stagePassed, paused, resumed, succeeded, stopped, superseded, rolledBack, restored, diverged, concern, cohortReturned, deadline]}]';

interface Told {
  readonly git: MemoryRepository;
  readonly outbox: WatchedOutbox;
  readonly clock: VirtualClock;
  readonly troubles: readonly string[];
  readonly service: () => Service;
  commit(files: Readonly<Record<string, string>>): Promise<void>;
  enrol(count: number): Promise<void>;
  settle(): Promise<void>;
  advance(durationMs: number): Promise<void>;
  /** The process ends when a pass reaches the step; the pass that does throws. */
  endAt(step: PassStep | undefined): void;
  /** Another process over the same store, repository and outbox. */
  restart(): void;
  /** Of the events that wait in the outbox: type and CloudEvents' subject, in the order in which they were put. */
  told(): readonly string[];
}

async function fleetToldBy(
  options: { hooks?: ReadonlyMap<string, string>; store?: Store } = {},
): Promise<Told> {
  keys ??= await generateKeys();
  const ours = keys;
  const git = createMemoryRepository();
  const outbox = createWatchedOutbox();
  const clock = createVirtualClock(Date.UTC(2026, 0, 1));
  const store: Store = { ...(options.store ?? createMemoryStore({ epoch: 'epoch' })), outbox };
  const troubles: string[] = [];
  const devices: { device: VirtualDevice; identity: ReturnType<typeof identities>[number] }[] = [];
  const clients = new Map<string, Awaited<ReturnType<typeof createDirectClient>>>();
  let drawn = 0;
  let endsAt: PassStep | undefined;
  const start = () =>
    createService({
      git,
      store,
      keys: ours,
      clock,
      randomHex: () => sha256Hex(`told/${drawn++}`).slice(0, 32),
      onStep: (step) => {
        if (step === endsAt) throw new Error(`the process ended at ${step}`);
      },
      notifications: {
        fetch,
        hooks: options.hooks ?? new Map(),
        random: () => 0,
        onTrouble: (text) => troubles.push(text),
      },
    });
  let service = start();
  onTestFinished(() => service.close());
  const settle = async () => {
    for (let passes = 0; passes < 50; passes++) if (!(await service.reconciler.pass()).again) return;
    throw new Error('the reconciler did not come to rest');
  };
  return {
    git,
    outbox,
    clock,
    troubles,
    service: () => service,
    settle,
    async commit(files) {
      const parent = await git.branch('main');
      const base = parent === undefined ? undefined : (await git.commit(parent)).tree;
      const changes = new Map<string, { mode: string; oid: string }>();
      for (const [path, text] of Object.entries(files)) {
        changes.set(path, { mode: '100644', oid: await git.writeBlob(new TextEncoder().encode(text)) });
      }
      const to = await git.writeCommit({
        tree: await withChanges(git, base, changes),
        parents: parent === undefined ? [] : [parent],
        message: 'Change\n',
        at: clock.now(),
      });
      await git.moveBranch({ branch: 'main', from: parent, to });
    },
    async enrol(count) {
      for (const identity of identities(count, () => ({ product: 'kiosk' }))) {
        clients.set(identity.id, await createDirectClient(service, identity));
        const client = () => clients.get(identity.id) as NonNullable<ReturnType<typeof clients.get>>;
        const wire = {
          poll: () => client().poll(),
          report: (report: Parameters<ReturnType<typeof client>['report']>[0]) => client().report(report),
        };
        devices.push({
          identity,
          device: createVirtualDevice({ identity, client: wire, world: WORLD, clock }),
        });
      }
    },
    async advance(durationMs) {
      await settle();
      for (const until = clock.now() + durationMs; clock.now() < until; ) {
        clock.advance(10 * MINUTE);
        for (const { device } of devices) await device.step();
        await settle();
      }
    },
    endAt: (step) => {
      endsAt = step;
    },
    restart() {
      endsAt = undefined;
      service = start();
    },
    told: () =>
      outbox.waiting().map(({ body }) => {
        const { type, subject } = JSON.parse(body) as { type: string; subject: string };
        return `${type.replace('tidegate.rollout.', '')} ${subject}`;
      }),
  };
}

const GOOD = { ...kiosk('1.0.0'), ...rollout('1.0.0') };
const BAD = { ...kiosk('1.1.0-bad'), ...rollout('1.1.0-bad') };

test('a release, a bad one and the way back are told from the first decision on, each once', async () => {
  const { commit, enrol, advance, settle, told, outbox, service } = await fleetToldBy();
  await commit({ 'fleet/fleet.yaml': fleet(EVERYTHING), ...GOOD });
  await settle();
  await enrol(10);
  await advance(4 * HOUR);
  expect(told()).toEqual([
    'created kiosk/1',
    'stageOpened kiosk/1/canary',
    'stagePassed kiosk/1/canary',
    'stageOpened kiosk/1/batch',
    'stagePassed kiosk/1/batch',
    'stageOpened kiosk/1/fleet',
    'stagePassed kiosk/1/fleet',
    'succeeded kiosk/1',
  ]);
  await commit(BAD);
  await advance(4 * HOUR);
  expect(told().slice(8)).toEqual([
    'created kiosk/2',
    'stageOpened kiosk/2/canary',
    'rolledBack kiosk/2/canary',
    'restored kiosk/2',
    'restored kiosk/2',
  ]);
  const event = JSON.parse(outbox.waiting()[10]?.body ?? '');
  const attempt = service()
    .reconciler.state()
    .outcomes.get('kiosk' as RolloutName)?.[1];
  expect(event).toEqual({
    specversion: '1.0',
    id: expect.stringMatching(/^[0-9a-f]{40}$/),
    source: 'tidegate:fleet:test-fleet',
    type: 'tidegate.rollout.rolledBack',
    subject: 'kiosk/2/canary',
    time: expect.stringMatching(/^2026-01-01T\d\d:\d\d:\d\dZ$/),
    datacontenttype: 'application/json',
    data: {
      fleet: 'test-fleet',
      rollout: 'kiosk',
      attempt: 2,
      stage: 'canary',
      subject: expect.stringMatching(/^kiosk: /),
      because: expect.any(String),
      owner: 'kiosk-oncall',
      severity: 'critical',
      deadlineAt: expect.stringMatching(/^2026-01-01T/),
      commit: event.id,
      snapshot: attempt?.snapshot,
      distributionSet: 'kiosk@1.1.0-bad',
    },
  });
  expect(JSON.stringify(outbox.waiting())).not.toContain('device-0000');
});

test('a pause, what a person says to it, and a main that refuses to be restored are told with their reasons', async () => {
  const { git, commit, enrol, advance, settle, told, outbox } = await fleetToldBy();
  await commit({
    'fleet/fleet.yaml': fleet(EVERYTHING),
    ...kiosk('1.0.0'),
    ...rollout('1.0.0', { onFailure: 'rollback' }),
  });
  await settle();
  await enrol(4);
  await advance(6 * HOUR);
  const before = told().length;
  await commit({ ...kiosk('1.1.0-bad'), ...rollout('1.1.0-bad', { onFailure: 'rollback' }) });
  await settle();
  const operations = `apiVersion: tidegate.dev/v1
kind: Operation
metadata: {name: kiosk}
spec:
  operations:
  - {action: pause, attempt: 2, by: ada, reason: "<calls & mails>"}
`;
  await commit({ 'ops/kiosk.yaml': operations });
  await settle();
  expect(told().slice(before)).toEqual([
    'created kiosk/2',
    'stageOpened kiosk/2/canary',
    'paused kiosk/2/canary',
  ]);
  await commit({ 'ops/kiosk.yaml': `${operations}  - {action: resume, attempt: 2, by: ada}\n` });
  git.refuseMoves('main', 'main is protected; open a pull request');
  await advance(4 * HOUR);
  expect(told().slice(before + 3)).toEqual([
    'resumed kiosk/2',
    'rolledBack kiosk/2/canary',
    'diverged kiosk/2',
    'restored kiosk/2',
  ]);
  const diverged = JSON.parse(outbox.waiting().at(-2)?.body ?? '');
  expect(diverged.data).toMatchObject({
    subject: 'kiosk: main could not be restored',
    because: expect.stringContaining('main is protected'),
    severity: 'critical',
  });
});

test('a breach tells its owner by when to decide, again at half of the time, in the last hour, and what came of it', async () => {
  const { commit, enrol, advance, settle, told, outbox } = await fleetToldBy();
  const gates =
    '{health: healthy, failures: {share: failed, above: 0%, ladder: [{from: 0, severity: moderate, action: monitor, within: 48h}]}}';
  const spec = {
    errorThreshold: '100',
    gates,
    stages: '[{name: canary, size: 2}, {name: fleet, size: all}]',
  };
  await commit({ 'fleet/fleet.yaml': fleet(EVERYTHING), ...kiosk('1.0.0'), ...rollout('1.0.0', spec) });
  await settle();
  await enrol(6);
  await advance(6 * HOUR);
  const before = told().length;
  await commit({ ...kiosk('1.1.0-bad'), ...rollout('1.1.0-bad', spec) });
  await advance(3 * HOUR);
  const since = () => told().slice(before + 2);
  expect(since()).toEqual(['paused kiosk/2/canary']);
  const bodies = () => outbox.waiting().map(({ body }) => JSON.parse(body).data);
  expect(bodies().at(-1)).toMatchObject({
    severity: 'warning',
    owner: 'kiosk-oncall',
    deadlineAt: expect.stringMatching(/^2026-01-03T/),
  });
  await advance(22 * HOUR);
  expect(since()).toHaveLength(2);
  expect(since()[1]).toBe('deadline kiosk/2/canary');
  await advance(22 * HOUR + 30 * MINUTE);
  expect(since()).toHaveLength(3);
  expect(bodies().at(-1)).toMatchObject({
    severity: 'warning',
    because: expect.stringMatching(/rolled back and quarantined/),
  });
  // Nothing was mended: what was seen decides.
  await advance(3 * HOUR);
  expect(since().slice(3)).toContain('rolledBack kiosk/2/canary');
  // Nobody is told twice of the same.
  expect(new Set(outbox.waiting().map(({ id }) => id)).size).toBe(outbox.waiting().length);
});

test('unless an entry says otherwise, what a person has to know and how it ended', async () => {
  const { commit, enrol, advance, settle, told } = await fleetToldBy();
  await commit({ 'fleet/fleet.yaml': fleet('[{url: "https://hooks.example/x"}]'), ...GOOD });
  await settle();
  await enrol(10);
  await advance(4 * HOUR);
  await commit(BAD);
  await advance(4 * HOUR);
  expect(told()).toEqual(['succeeded kiosk/1', 'rolledBack kiosk/2/canary']);
});

test.each(['recorded', 'remembered', 'opened'] as const)(
  'a process that ends when the decision is %s leaves it to the next one, which tells it once',
  async (step) => {
    const { commit, settle, told, endAt, restart, outbox, service } = await fleetToldBy();
    await commit({ 'fleet/fleet.yaml': fleet(EVERYTHING), ...GOOD });
    endAt(step);
    await expect(service().reconciler.pass()).rejects.toThrow('the process ended');
    expect(told()).toEqual([]);
    restart();
    await settle();
    await settle();
    expect(told().filter((text) => text === 'created kiosk/1')).toHaveLength(1);
    expect(outbox.waiting()).toHaveLength(new Set(told()).size);
  },
);

test('a process that ends between putting and noting puts the same again, and it counts once', async () => {
  const store = createMemoryStore({ epoch: 'epoch' });
  let isBroken = false;
  const failing: Store = {
    ...store,
    swapJournal: async (next, expected) => {
      if (isBroken && typeof next['announced'] === 'string') throw new Error('the process ended');
      return await store.swapJournal(next, expected);
    },
  };
  const { commit, settle, told, restart, outbox } = await fleetToldBy({ store: failing });
  await commit({ 'fleet/fleet.yaml': fleet(EVERYTHING), ...GOOD });
  isBroken = true;
  await expect(settle()).rejects.toThrow('the process ended');
  expect(told()).toEqual(['created kiosk/1']);
  isBroken = false;
  restart();
  await settle();
  expect(told().filter((text) => text === 'created kiosk/1')).toHaveLength(1);
  expect(outbox.timesPut()).toBeGreaterThan(1);
});

test('what was decided before anybody was to be told is not told', async () => {
  const { commit, settle, enrol, advance, told } = await fleetToldBy();
  await commit({ 'fleet/fleet.yaml': fleet(), ...GOOD });
  await settle();
  await enrol(4);
  await advance(2 * HOUR);
  await commit({ 'fleet/fleet.yaml': fleet(EVERYTHING) });
  await settle();
  expect(told()).toEqual([]);
  await commit(BAD);
  await settle();
  expect(told()).toEqual(['created kiosk/2', 'stageOpened kiosk/2/canary']);
});

test('a record that was there before this store was is not told', async () => {
  const first = await fleetToldBy();
  await first.commit({ 'fleet/fleet.yaml': fleet(EVERYTHING), ...GOOD });
  await first.settle();
  const told = first.told();
  expect(told.length).toBeGreaterThan(0);
  const second = createService({
    git: first.git,
    store: { ...createMemoryStore({ epoch: 'another' }), outbox: first.outbox },
    keys: keys ?? (await generateKeys()),
    clock: first.clock,
    randomHex: () => '0'.repeat(32),
    notifications: {
      fetch,
      hooks: new Map(),
      random: () => 0,
      onTrouble: () => undefined,
    },
  });
  onTestFinished(() => second.close());
  await second.reconciler.pass();
  expect(first.told()).toEqual(told);
});

test('what another server recorded is told by whoever passes first', async () => {
  const { git, commit, settle, told, clock, outbox } = await fleetToldBy();
  await commit({ 'fleet/fleet.yaml': fleet(EVERYTHING), ...GOOD });
  await settle();
  const before = told().length;
  const tip = (await git.branch(OUTCOMES_BRANCH)) ?? '';
  const { tree, message } = await git.commit(tip);
  const succeeded = message.replace('Decision: create', 'Decision: succeed');
  const to = await git.writeCommit({ tree, parents: [tip], message: succeeded, at: clock.now() });
  await git.moveBranch({ branch: OUTCOMES_BRANCH, from: tip, to });
  await settle();
  expect(told().slice(before)).toEqual(['succeeded kiosk/1']);
  expect(outbox.waiting().at(-1)?.id).toMatch(new RegExp(`^${to}-[0-9a-f]{12}$`));
});

test('a quiet pass reads no commit to announce it and puts nothing', async () => {
  const { git, commit, settle, enrol, advance, outbox, service } = await fleetToldBy();
  await commit({ 'fleet/fleet.yaml': fleet(EVERYTHING), ...GOOD });
  await settle();
  await enrol(4);
  await advance(6 * HOUR);
  const put = outbox.timesPut();
  const commits = vi.spyOn(git, 'commit');
  await service().reconciler.pass();
  expect(outbox.timesPut()).toBe(put);
  expect(commits).not.toHaveBeenCalled();
});

test('a record that was rewound holds everything, and nothing is told of it', async () => {
  const { git, commit, settle, enrol, advance, told, service } = await fleetToldBy();
  await commit({ 'fleet/fleet.yaml': fleet(EVERYTHING), ...GOOD });
  await settle();
  await enrol(4);
  await advance(HOUR);
  const before = told();
  const tip = await git.branch(OUTCOMES_BRANCH);
  const { parents } = await git.commit(tip ?? '');
  await git.moveBranch({ branch: OUTCOMES_BRANCH, from: tip, to: parents[0] ?? '' });
  await settle();
  expect(service().reconciler.state().heldBy).toBe('record');
  expect(told()).toEqual(before);
});

test('decisions that are older than anything is delivered are not put', async () => {
  const { commit, told, endAt, restart, clock, enrol, settle, service } = await fleetToldBy();
  await commit({ 'fleet/fleet.yaml': fleet(EVERYTHING), ...GOOD });
  endAt('opened');
  await expect(service().reconciler.pass()).rejects.toThrow('the process ended');
  clock.advance(4 * DAY);
  restart();
  await enrol(4);
  await settle();
  expect(told()).toEqual(['stageOpened kiosk/1/canary']);
});

test('an outbox that fails holds up no decision, is said once, and is put into when it works again', async () => {
  const { commit, settle, enrol, told, outbox, troubles, service } = await fleetToldBy();
  const put = vi.spyOn(outbox, 'put').mockRejectedValue(new Error('disk full'));
  await commit({ 'fleet/fleet.yaml': fleet(EVERYTHING), ...GOOD });
  await settle();
  await enrol(4);
  await settle();
  expect(
    service()
      .reconciler.state()
      .outcomes.get('kiosk' as RolloutName)?.[0]?.state,
  ).toBe('running');
  expect(troubles).toEqual(['decisions cannot be announced: disk full; it is tried again']);
  put.mockRestore();
  await settle();
  expect(told()).toEqual(['created kiosk/1', 'stageOpened kiosk/1/canary']);
});

test('each receiver is told in its own format what it wants to hear, by a server that reads only its hooks', async () => {
  const [events, chat] = [await startReceiver('/events'), await startReceiver()];
  const { commit, settle, enrol, service } = await fleetToldBy({
    hooks: new Map([['TIDEGATE_HOOK_CHAT', chat.url]]),
  });
  const notifications = `[{url: "${events.url}", on: [created, stageOpened]}, {urlFrom: {env: TIDEGATE_HOOK_CHAT}, format: slack, on: [created]}]`;
  await commit({ 'fleet/fleet.yaml': fleet(notifications), ...GOOD });
  const abort = new AbortController();
  const delivering = service().deliver(abort.signal);
  await settle();
  await enrol(4);
  await settle();
  await vi.waitFor(() => expect([events.received.length, chat.received.length]).toEqual([2, 1]));
  abort.abort();
  await delivering;
  expect(events.received[0]?.headers['content-type']).toBe('application/cloudevents+json; charset=utf-8');
  expect(JSON.parse(chat.received[0]?.body ?? '')).toMatchObject({
    text: 'kiosk: attempt 1 of kiosk@1.0.0 is ready',
  });
});

test('a variable that is not set is a problem of the fleet document, and blocks nothing', async () => {
  const { commit, settle, service } = await fleetToldBy();
  const files = { 'fleet/fleet.yaml': fleet('[{urlFrom: {env: TIDEGATE_HOOK_CHAT}}]'), ...GOOD };
  await commit(files);
  await settle();
  const { wanted } = service().reconciler.state();
  expect(wanted?.problems).toEqual([
    expect.objectContaining({
      file: 'fleet/fleet.yaml',
      rule: 'notifications',
      severity: 'warning',
      message: expect.stringContaining('TIDEGATE_HOOK_CHAT is not set'),
    }),
  ]);
  expect(wanted?.desired?.commit).toBe(wanted?.head);
});

test('a reminder is told once, however often it is planned, and again when the deadline has passed', async () => {
  const { commit, settle, service, git, outbox } = await fleetToldBy();
  await commit({ 'fleet/fleet.yaml': fleet(EVERYTHING), ...GOOD });
  await settle();
  const { wanted, outcomes, tip } = service().reconciler.state();
  const desired = wanted?.desired;
  if (desired === undefined) throw new Error('nothing is wanted');
  const deadlineAt = Date.UTC(2026, 0, 2);
  const reminder = {
    rollout: 'kiosk' as RolloutName,
    attempt: 1,
    stage: 'canary',
    deadlineAt,
    remainingMs: 4 * HOUR,
    consequence: 'the stage is paused',
  };
  const before = outbox.waiting().length;
  const announcerOf = () =>
    createAnnouncer({
      git,
      outbox,
      hooks: new Map(),
      hasForge: false,
      onReceivers: () => undefined,
      onTrouble: (text) => {
        throw new Error(text);
      },
    });
  const first = announcerOf();
  const given = { tip, announced: tip, desired, outcomes, now: deadlineAt - 3 * HOUR };
  const put = outbox.timesPut();
  await first.announce({ ...given, reminders: [reminder] });
  await first.announce({ ...given, reminders: [reminder] });
  expect(outbox.timesPut()).toBe(put + 1);
  await announcerOf().announce({ ...given, reminders: [reminder] });
  const passed = { ...reminder, remainingMs: 0 };
  await first.announce({ ...given, now: deadlineAt, reminders: [passed] });
  const events = outbox.waiting().slice(before);
  expect(events.map(({ body }) => JSON.parse(body))).toEqual([
    expect.objectContaining({
      type: 'tidegate.rollout.deadline',
      subject: 'kiosk/1/canary',
      time: '2026-01-01T20:00:00Z',
      data: {
        fleet: 'test-fleet',
        rollout: 'kiosk',
        attempt: 1,
        stage: 'canary',
        subject: 'kiosk: stage canary has a deadline at 2026-01-02T00:00:00Z',
        because: 'the stage is paused',
        owner: 'kiosk-oncall',
        deadlineAt: '2026-01-02T00:00:00Z',
        severity: 'warning',
        snapshot: desired.snapshot,
        distributionSet: 'kiosk@1.0.0',
      },
    }),
    expect.objectContaining({
      time: '2026-01-02T00:00:00Z',
      data: expect.objectContaining({ severity: 'critical' }),
    }),
  ]);
  // One that has been forgotten by now is not put again.
  await announcerOf().announce({ ...given, now: deadlineAt + 4 * DAY, reminders: [passed] });
  expect(outbox.waiting()).toHaveLength(before + 2);
});
