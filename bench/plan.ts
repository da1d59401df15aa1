/**
 * `plan` for 250,000 devices of a file, over reading that file: what the forecast of a rollout costs. In turn, several times; the devices
 * have a serial number, one of 31,250 sites, five hardware revisions and twelve regions.
 */
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { realNow } from '../src/clock.ts';
import { parseDevices } from '../src/proposal/device-list.ts';
import { examine } from '../src/proposal/examination.ts';
import { fleetFiles } from './fleet-files.ts';
import { median, spread } from './measure.ts';

const DEVICES = 250_000;
const ROUNDS = 5;

export async function* plan(): AsyncGenerator<string> {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-bench-'));
  try {
    execFileSync('git', ['init', '--quiet', '--initial-branch=main', folder]);
    await writeFleet(folder);
    const inventory = join(folder, 'inventory.csv');
    await writeFile(inventory, csv());
    const [more, reading]: [number[], number[]] = [[], []];
    for (let round = 0; round <= ROUNDS; round++) {
      const at = realNow();
      const parsed = parseDevices(await readFile(inventory, 'utf8'));
      if (!parsed.ok) throw new Error(parsed.message);
      const readAt = realNow();
      const fleet = { kind: 'devices', devices: parsed.devices, from: inventory } as const;
      const examined = await examine({ path: folder, branch: 'main', fleet, now: 0, env: {} });
      if (!examined.ok || examined.plan.proposal?.devices !== DEVICES) throw new Error('there is no plan');
      // The first round is for the compiler.
      if (round === 0) continue;
      reading.push((readAt - at) / 1000);
      more.push((realNow() - readAt) / 1000);
    }
    const ratios = more.map((seconds, round) => seconds / (reading[round] ?? Number.NaN));
    yield `${DEVICES} devices: ${median(more).toFixed(2)} s more than the ${median(reading).toFixed(2)} s of reading them, ${spread(ratios)} of it`;
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function writeFleet(folder: string): Promise<void> {
  for (const [path, text] of fleetFiles(40)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), text);
  }
}

/** As an inventory exports it: most of the devices of the first product, some of the second. */
function csv(): string {
  const lines = ['id,serial,product,environment,site,hardwareRevision,region'];
  for (let n = 0; n < DEVICES; n++) {
    const product = n % 10 === 0 ? 'app-2' : 'app-1';
    lines.push(`device-${n},s${n * 7},${product},prod,site-${n >> 3},r${n % 5},region-${n % 12}`);
  }
  return `${lines.join('\n')}\n`;
}
