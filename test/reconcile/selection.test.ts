/** Whom a selection takes, over many seeds: the code that answers `tidegate select` and opens stages, on a store with devices. */
import { expect, test } from 'vitest';
import type { DeviceRecord } from '../../src/core/model/device.ts';
import type { CommitId, DeviceId, RolloutName, SnapshotId } from '../../src/core/model/ids.ts';
import { revisionOf } from '../../src/core/model/manifest.ts';
import type { Program } from '../../src/core/model/program.ts';
import { DAY, HOUR } from '../../src/core/model/time.ts';
import { type SelectionRequest, selectFrom } from '../../src/reconcile/selection.ts';

const NOW = Date.UTC(2026, 10, 21, 8);
const SEEDS = 1000;
const DEVICES = 200;
const CHOSEN = 10;
const manifest = { distributionSet: 'kiosk@1.0.0', product: 'kiosk', version: '1.0.0', modules: [] };
const PROGRAM: Program = {
  fleet: 'test-fleet',
  rollouts: [{ name: 'kiosk' as RolloutName, priority: 10, condition: '*', gates: [], kept: [] }],
  devices: {},
  pollIntervalMs: HOUR,
  timezone: 'UTC',
  sites: {},
  flags: [],
  knownRevisions: [],
  knownProducts: [],
};

/** Each was last heard of at another time: the first a moment ago, the last half a year ago. */
const FLEET: readonly DeviceRecord[] = Array.from({ length: DEVICES }, (_, n) => ({
  id: `device-${String(n).padStart(4, '0')}` as DeviceId,
  tags: { product: 'kiosk' },
  publicKey: '',
  serial: 1,
  enrolledAt: NOW - DAY * 365,
  version: 1,
  report: {
    receivedAt: NOW - n * 22 * HOUR,
    generation: 1,
    signals: {},
    boots: [],
    exposureHours: 0,
  },
}));

async function chosenBy(seed: string): Promise<readonly DeviceId[]> {
  const revision = revisionOf(manifest);
  const [snapshot, commit] = ['1'.repeat(40) as SnapshotId, '1'.repeat(40) as CommitId];
  const request: SelectionRequest = {
    rollout: 'kiosk' as RolloutName,
    condition: '*',
    candidate: { attempt: 1, revision, manifest, snapshot, commit, offers: true, seed, stages: [] },
    coming: [],
    takes: {
      size: { kind: 'count', count: CHOSEN },
      unit: 'device',
      mode: 'incremental',
      stratifyBy: [],
      rampMs: 0,
      holdback: { numerator: 0, denominator: 1 },
    },
    tags: [],
    lists: true,
  };
  const pages = async function* () {
    yield FLEET;
  };
  const { ids = [] } = await selectFrom({ pages }, request, PROGRAM, NOW);
  return ids;
}

async function overManySeeds(salt: string): Promise<readonly (readonly DeviceId[])[]> {
  const all: (readonly DeviceId[])[] = [];
  for (let seed = 0; seed < SEEDS; seed++) all.push(await chosenBy(`${salt}-${seed}`));
  return all;
}

test.each(['a', 'b'])(
  'S2.4 over a thousand seeds (%s) every device is chosen about as often as every other',
  async (salt) => {
    const times = new Map<DeviceId, number>();
    for (const ids of await overManySeeds(salt)) {
      expect(new Set(ids).size).toBe(CHOSEN);
      for (const id of ids) times.set(id, (times.get(id) ?? 0) + 1);
    }
    const expected = (SEEDS * CHOSEN) / DEVICES;
    // Ten are drawn without putting back, so that counts vary by that much less than independent ones.
    const variance = expected * (1 - CHOSEN / DEVICES);
    const chiSquare = FLEET.reduce(
      (sum, { id }) => sum + ((times.get(id) ?? 0) - expected) ** 2 / variance,
      0,
    );
    // With 199 degrees of freedom 1 % lies below 155.5, and 1 % above 248.3 (Wilson-Hilferty).
    expect(chiSquare).toBeGreaterThan(155.5);
    expect(chiSquare).toBeLessThan(248.3);
  },
);

test.each(['c', 'd'])(
  'S2.22 over a thousand seeds (%s) who is chosen was heard of as lately as who is not',
  async (salt) => {
    const agesOf = (ids: ReadonlySet<DeviceId>, isIn: boolean) =>
      FLEET.filter(({ id }) => ids.has(id) === isIn).map(({ report }) => NOW - (report?.receivedAt ?? 0));
    const sets = (await overManySeeds(salt)).map((ids) => new Set(ids));
    const chosen = sets.flatMap((ids) => agesOf(ids, true));
    const others = sets.flatMap((ids) => agesOf(ids, false));
    // Kolmogorov-Smirnov for two samples: beyond 1.63 √((n + m) / (n · m)) p is below 0.01.
    const limit = 1.63 * Math.sqrt((chosen.length + others.length) / (chosen.length * others.length));
    expect(distance(chosen, others)).toBeLessThan(limit);
    // The test would see it: of those who are preferred for being seen lately.
    const preferred = chosen.filter((age) => age < DAY * 150);
    expect(distance(preferred, others)).toBeGreaterThan(limit);
  },
);

/** The largest difference between the two distribution functions. */
function distance(a: readonly number[], b: readonly number[]): number {
  const [first, second] = [a.toSorted((x, y) => x - y), b.toSorted((x, y) => x - y)];
  let [i, j, largest] = [0, 0, 0];
  while (i < first.length && j < second.length) {
    const value = Math.min(first[i] ?? 0, second[j] ?? 0);
    while (i < first.length && (first[i] ?? 0) <= value) i += 1;
    while (j < second.length && (second[j] ?? 0) <= value) j += 1;
    largest = Math.max(largest, Math.abs(i / first.length - j / second.length));
  }
  return largest;
}
