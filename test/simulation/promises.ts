/**
 * The promises that hold whatever happens, checked from outside: on the commits of `outcomes`, on what devices are
 * told, and on the operators' API. Each check throws with the promise that was broken.
 */
import { strict as assert } from 'node:assert';
import { isInstalling } from '../../src/core/model/device.ts';
import type { RolloutName } from '../../src/core/model/ids.ts';
import type { Attempt, StageOutcome } from '../../src/core/model/outcome.ts';
import type { Instant } from '../../src/core/model/time.ts';
import { scoreBetween, scoreOf } from '../../src/core/select/score.ts';
import { failuresThatHalt, successesNeeded } from '../../src/core/select/size.ts';
import { compileCondition } from '../../src/core/target/condition.ts';
import { loadDesired } from '../../src/documents/load.ts';
import { decodeOutcome } from '../../src/documents/outcome.ts';
import { readSnapshot } from '../../src/fleet-repo/snapshot.ts';
import type { Git, Oid } from '../../src/git/git.ts';
import { readFiles } from '../../src/git/tree.ts';
import type { Chaos, ChaosDevice, Polled } from './chaos.ts';

type Recorded = ReadonlyMap<string, Attempt>;

export interface Promises {
  /** Never beyond an open stage; nobody is sent back unless something was rolled back; generations never fall. */
  onPoll(device: ChaosDevice, polled: Polled, at: Instant): Promise<void>;
  /** Every new commit of `outcomes`, every restoring commit of main, and what the API says of each device. */
  afterwards(): Promise<void>;
}

export function createPromises(chaos: () => Chaos): Promises {
  const generations = new Map<string, number>();
  let tip: Oid | undefined;
  let record: Recorded = new Map();
  let eventsSeen = 0;

  /** Follows `outcomes`: linear, decodable, and every step one that may be taken. */
  async function follow(): Promise<void> {
    const { git } = chaos();
    const head = await git.branch('outcomes');
    const commits: Oid[] = [];
    for (let at = head; at !== tip; ) {
      assert(at !== undefined, 'outcomes lost a commit that was read');
      commits.unshift(at);
      const { parents } = await git.commit(at);
      assert(parents.length <= 1, `outcomes is not linear at ${at}`);
      at = parents[0];
    }
    for (const commit of commits) {
      const next = await readRecord(git, commit);
      checkStep(record, next);
      record = next;
    }
    tip = head;
  }

  return {
    async onPoll(device, polled, at) {
      if (polled.kind !== 'assigned' && polled.kind !== 'nothing') return;
      await follow();
      const { generation } = polled.assignment;
      assert(
        generation >= (generations.get(device.id) ?? 0),
        `the generation of ${device.id} fell to ${generation}`,
      );
      generations.set(device.id, generation);
      const { assigned } = polled.assignment;
      if (assigned === undefined) return;
      const attempts = [...record.values()].filter(({ rollout }) => rollout === assigned.rollout);
      const attempt = attempts.find((each) => each.attempt === assigned.attempt);
      assert(
        attempt !== undefined,
        `${device.id} is offered attempt ${assigned.attempt} of ${assigned.rollout}, which outcomes does not have`,
      );
      assert.equal(attempt.revision, assigned.revision);
      const seen = await chaos().store().device(device.id);
      const subject = { id: device.id, tags: await tagsOf(chaos(), device) };
      const isIn = (each: Attempt) => each.stages.some((stage) => takesIn(each, stage, subject, at));
      const own = attempts.findLast((each) => each.revision === seen?.report?.running && isIn(each));
      assert(
        own === undefined ||
          own.attempt <= attempt.attempt ||
          own.revision === attempt.revision ||
          attempts.some((each) => each.attempt >= own.attempt && each.state === 'rolledBack'),
        `${device.id} runs attempt ${own?.attempt} of ${attempt.rollout}, which is ${own?.state}, and is sent back to attempt ${attempt.attempt}`,
      );
      if (attempt.state === 'succeeded') return;
      assert.notEqual(attempt.state, 'rolledBack', `${device.id} is offered what was rolled back`);
      const has = seen?.report?.running === attempt.revision || isInstalling(seen?.report, attempt.revision);
      if (has) return;
      assert(
        attempt.state === 'running' || attempt.state === 'waitingForApproval',
        `${device.id} is offered attempt ${attempt.attempt} of ${attempt.rollout}, which is ${attempt.state}`,
      );
      assert(
        isIn(attempt),
        `${device.id} is offered attempt ${attempt.attempt} of ${attempt.rollout} and no recorded stage contains it`,
      );
    },

    async afterwards() {
      await follow();
      const { events, git } = chaos();
      for (const event of events.slice(eventsSeen)) {
        if (event.kind === 'restored') await checkRestored(git, event.commit, event.attempt);
      }
      eventsSeen = events.length;
      await checkReasons(chaos());
    },
  };
}

// ---- The record -------------------------------------------------------------------------------------------------

async function readRecord(git: Git, commit: Oid): Promise<Recorded> {
  const record = new Map<string, Attempt>();
  const { tree, message } = await git.commit(commit);
  assert.match(message, /^Snapshot: [0-9a-f]{40}$/m);
  for (const { path, oid } of await readFiles(git, tree, 'rollouts')) {
    const decoded = decodeOutcome(new TextDecoder().decode(await git.blob(oid)));
    assert(decoded.ok, `outcomes:${path} at ${commit} does not decode`);
    record.set(`${decoded.attempt.rollout}/${decoded.attempt.attempt}`, decoded.attempt);
  }
  return record;
}

/** One commit changes one attempt, keeps what was recorded, and opens nothing past a gate that has not passed. */
function checkStep(before: Recorded, after: Recorded): void {
  for (const key of before.keys()) assert(after.has(key), `${key} vanished from outcomes`);
  const changed = [...after].filter(
    ([key, attempt]) => JSON.stringify(before.get(key)) !== JSON.stringify(attempt),
  );
  assert(changed.length <= 1, `one commit changed ${changed.map(([key]) => key)}`);
  for (const [key, now] of changed) {
    const old = before.get(key);
    if (old === undefined) {
      checkCreated(before, now);
      continue;
    }
    assert.deepEqual(now.history.slice(0, old.history.length), old.history, `${key} forgot its history`);
    for (const [index, stage] of old.stages.entries()) {
      const kept = now.stages[index];
      assert(kept !== undefined, `${key} lost stage ${stage.name}`);
      assert.deepEqual(frozenPart(kept), frozenPart(stage), `${key} changed its open stage ${stage.name}`);
      if (kept.state === 'passed' && stage.state === 'running') checkPassed(key, kept);
    }
    if (now.stages.length > old.stages.length) checkOpened(key, old, now);
    if (now.state === 'succeeded' && old.state !== 'succeeded') {
      assert(
        now.stages.every(({ state }) => state === 'passed'),
        `${key} succeeded past a stage that did not pass`,
      );
      assert.equal(now.stages.at(-1)?.size, 'all', `${key} succeeded without a stage of all`);
    }
  }
}

function checkCreated(before: Recorded, created: Attempt): void {
  const attempts = [...before.values()].filter(({ rollout }) => rollout === created.rollout);
  assert.equal(created.attempt, attempts.length + 1);
  assert.equal(created.stages.length, 0);
  const last = attempts.findLast(
    (each) => each.revision === created.revision && each.excluding === created.excluding,
  );
  const failed = last?.stages.some(({ state }) => state === 'failed') ?? false;
  assert(
    !failed || created.appliedOperations.length > 0,
    `${created.rollout}: attempt ${created.attempt} starts the revision that failed in attempt ${last?.attempt}, unasked`,
  );
}

function checkOpened(key: string, old: Attempt, now: Attempt): void {
  assert.equal(now.stages.length, old.stages.length + 1, `${key} opened several stages at once`);
  assert(
    ['ready', 'running', 'waitingForApproval'].includes(old.state),
    `${key} opened a stage while ${old.state}`,
  );
  assert(
    now.stages.slice(0, -1).every(({ state }) => state === 'passed'),
    `${key} opened stage ${now.stages.at(-1)?.name} past one that is ${now.stages.at(-2)?.state}`,
  );
}

function checkPassed(key: string, stage: StageOutcome): void {
  const { verdict } = stage;
  assert.equal(verdict?.verdict, 'pass', `${key}: stage ${stage.name} passed without a verdict`);
  assert(verdict.counts.succeeded >= successesNeeded(stage.successThreshold, stage.devices));
  assert(
    verdict.counts.failed - (stage.tolerated ?? 0) < failuresThatHalt(stage.errorThreshold, stage.devices),
  );
}

function frozenPart({
  state: _state,
  verdict: _verdict,
  closedAt: _closedAt,
  tolerated: _tolerated,
  ...frozen
}: StageOutcome) {
  return frozen;
}

/** Membership, written down a second time from §3 of the design; a ramp that stood still is behind this, never before. */
function takesIn(
  attempt: Attempt,
  stage: StageOutcome,
  device: { readonly id: ChaosDevice['id']; readonly tags: Readonly<Record<string, string>> },
  at: Instant,
): boolean {
  if (!compileCondition(stage.condition).matches(device)) return false;
  if (attempt.excluding !== undefined && compileCondition(attempt.excluding).matches(device)) return false;
  const unit = stage.unit === 'device' ? device.id : device.tags[stage.unit];
  if (unit === undefined) return false;
  const score = scoreOf(attempt.seed, unit);
  const { admits } = stage;
  const done = admits.rampMs === undefined ? 1 : Math.min(1, (at - stage.openedAt) / admits.rampMs);
  if (admits.kind === 'list')
    return admits.scores.slice(0, Math.ceil(done * admits.scores.length)).includes(score);
  if (admits.also?.includes(score)) return true;
  return (
    score <= (done === 1 ? admits.score : scoreBetween(admits.rampFrom ?? admits.score, admits.score, done))
  );
}

/** As operators see them. */
async function tagsOf(chaos: Chaos, { id }: ChaosDevice): Promise<Readonly<Record<string, string>>> {
  const answer = await chaos.service().app.request(`/api/devices/${id}`);
  return ((await answer.json()) as { tags: Record<string, string> }).tags;
}

// ---- Restoration ------------------------------------------------------------------------------------------------

/** A restoring commit gives this rollout its known-good revision, changes no other, and undoes only what it failed with. */
async function checkRestored(git: Git, oid: Oid, attempt: Attempt): Promise<void> {
  const commit = await git.commit(oid);
  const [parent, ...others] = commit.parents;
  assert(parent !== undefined && others.length === 0, 'a restoring commit has one parent');
  const [before, after] = [await desiredAt(git, parent), await desiredAt(git, oid)];
  assert(before !== undefined && after !== undefined, 'main is valid before and after a restoration');
  const knownGood = attempt.restored?.knownGood;
  const name = attempt.rollout;
  assert.equal(
    before.rollouts.get(name)?.revision,
    attempt.revision,
    'it undoes a revision that did not fail',
  );
  assert.equal(
    after.rollouts.get(name)?.revision,
    knownGood?.revision,
    'the known-good revision is wanted again',
  );
  for (const [other, rollout] of before.rollouts) {
    if (other !== name) assert.deepEqual(after.rollouts.get(other), rollout, `${other} changed with ${name}`);
  }
  assert.equal(
    /fleet\/ is the known-good snapshot [0-9a-f]{40} again/.test(commit.message),
    after.snapshot === knownGood?.snapshot,
    'the message tells whether the whole snapshot is known-good',
  );
}

async function desiredAt(git: Git, oid: Oid) {
  const snapshot = await readSnapshot(git, await git.commit(oid));
  return snapshot === undefined ? undefined : loadDesired(snapshot.files, snapshot).desired;
}

/** The version of its product that main wants for a rollout. */
export async function desiredVersion({ git }: Chaos, name: string): Promise<string> {
  const desired = await desiredAt(git, (await git.branch('main')) ?? '');
  return desired?.rollouts.get(name as RolloutName)?.manifest.version ?? 'none';
}

// ---- Reasons ----------------------------------------------------------------------------------------------------

interface DeviceAnswer {
  readonly assignment: { readonly rollout: RolloutName; readonly attempt: number } | null;
  readonly explanation: {
    readonly summary: string;
    readonly rollouts: readonly { rollout: string; reason: string }[];
  };
}

interface RolloutAnswer {
  readonly name: string;
  readonly reason: string;
  readonly devices: Record<'target' | 'actual' | 'healthy' | 'unhealthy' | 'unknown', number>;
}

/** Every device and every rollout has a reason, and the counts are those of the devices. */
async function checkReasons(chaos: Chaos): Promise<void> {
  const { app } = chaos.service();
  const status = (await (await app.request('/api/status')).json()) as {
    rollouts: RolloutAnswer[];
    devices: { total: number; status: Record<string, number> };
  };
  const targeted = new Map<string, number>();
  for (const { id } of chaos.devices) {
    const answer = await app.request(`/api/devices/${id}`);
    if (answer.status === 503) return;
    const { assignment, explanation } = (await answer.json()) as DeviceAnswer;
    assert.notEqual(explanation.summary, '', `${id} has no reason`);
    for (const { rollout, reason } of explanation.rollouts) {
      assert(reason.length > 0, `${id} has no reason in ${rollout}`);
      targeted.set(rollout, (targeted.get(rollout) ?? 0) + 1);
    }
    if (assignment === null) assert.match(explanation.summary, /^gets nothing and keeps what it runs: /);
    else {
      assert.match(
        explanation.summary,
        new RegExp(` from ${assignment.rollout}, attempt ${assignment.attempt}$`),
      );
      assert(explanation.rollouts.some(({ rollout }) => rollout === assignment.rollout));
    }
  }
  assert.equal(status.devices.total, chaos.devices.length);
  assert.equal(sum(Object.values(status.devices.status)), chaos.devices.length);
  for (const { name, reason, devices } of status.rollouts) {
    assert(reason.length > 0 && reason !== 'not planned yet', `${name} has no reason`);
    assert.equal(devices.target, targeted.get(name) ?? 0, `${name} counts other devices than it targets`);
    assert.equal(devices.actual, devices.healthy + devices.unhealthy + devices.unknown);
    assert(Object.values(devices).every((count) => count >= 0));
  }
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0);
}
