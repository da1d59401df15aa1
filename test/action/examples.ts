/** The example repository as pull requests change it, and a census of the fleet that it is for. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Census } from '../../src/core/model/census.ts';
import { encodeCensus } from '../../src/documents/census.ts';
import { git } from '../cli/fixture.ts';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
export const ROLLOUT = 'fleet/rollouts/thermostat-firmware.yaml';
const FOLDER = 'fleet-repo-example/';

export const example = Object.fromEntries(
  await Promise.all(
    (await git(ROOT, 'ls-files', `${FOLDER}fleet`))
      .split('\n')
      .map(async (path) => [path.slice(FOLDER.length), await readFile(join(ROOT, path), 'utf8')] as const),
  ),
);
const rollout = example[ROLLOUT] ?? '';

/** Another distribution set. */
export const released = rollout.replace('thermostat@2.5.0', 'thermostat@2.4.1');
/** With a gate that counts something. */
export const counted = released.replace('restarts: {use: restart-rate}', 'crashes: {events: crash}');

export const thermostats = [
  {
    tags: { product: 'thermostat', environment: 'prod', hardwareRevision: 'b', region: 'de' },
    devices: 3000,
  },
  {
    tags: { product: 'thermostat', environment: 'prod', hardwareRevision: 'c', region: 'fr' },
    devices: 2000,
  },
];
const gateways = [
  { tags: { product: 'gateway', environment: 'prod', hardwareRevision: 'a', region: 'de' }, devices: 200 },
];

export function censusOf(cells: Census['cells']): string {
  return encodeCensus({
    at: Date.UTC(2026, 10, 20),
    devices: cells.reduce((sum, { devices }) => sum + devices, 0),
    omitted: {},
    rates: { crash: { incidents: 60_000, deviceHours: 1_200_000 } },
    cells,
  });
}

export const census = censusOf([...thermostats, ...gateways]);
