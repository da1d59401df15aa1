/** A process that reports for its devices until it is killed, and prints each report that was acknowledged. */
import assert from 'node:assert/strict';
import { writeSync } from 'node:fs';
import { applyReport } from '../../src/core/model/device.ts';
import type { DeviceId } from '../../src/core/model/ids.ts';
import { createIntake } from '../../src/store/intake.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';

const [, , path] = process.argv;
assert(path !== undefined, 'usage: report-forever.ts DATABASE');
const store = await openSqliteStore(path, { epoch: () => 'killed' });
const intake = createIntake(store, { maxBatch: 16 });

async function reportForever(name: string): Promise<void> {
  const id = name as DeviceId;
  const enrolled = { id, tags: {}, publicKey: '', serial: 1, enrolledAt: 0, version: 1 };
  for (let seq = 1; ; seq += 1) {
    const report = { bootId: 'boot', seq, generation: 1, signals: {}, exposureHours: 1, events: {} };
    await intake.submit(id, (before) => ({
      after: applyReport(before ?? enrolled, report, seq).record,
      result: undefined,
    }));
    writeSync(1, `${name} ${seq}.\n`);
  }
}

await Promise.all(Array.from({ length: 40 }, (_, n) => reportForever(`device-${n}`)));
