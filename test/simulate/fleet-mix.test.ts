/** Which devices a virtual fleet has. */
import { describe, expect, test } from 'vitest';
import type { DeviceId } from '../../src/core/model/ids.ts';
import { compileCondition } from '../../src/core/target/condition.ts';
import { populate } from '../../src/simulate/fleet-mix.ts';
import { experiment, thermostats } from './documents.ts';

function fleetFor(
  condition: string,
  more: { readonly faults?: readonly string[]; readonly stages?: string } = {},
) {
  const { stages, faults = [] } = more;
  const files = thermostats({
    condition,
    gates: '{health: healthy}',
    ...(stages === undefined ? {} : { stages }),
  });
  return experiment(files, { devices: 200, faults }).fleet;
}

const countsOf = (fleet: ReturnType<typeof fleetFor>, tag: string) =>
  Object.fromEntries(
    [...Map.groupBy(fleet, ({ tags }) => tags[tag])].map(([value, all]) => [value, all.length]),
  );

describe('guessed from a condition', () => {
  const conditions = [
    "tags.product = 'thermostat'",
    "tags.product = 'thermostat' AND tags.environment = 'prod'",
    "tags.product IN ['thermostat', 'valve'] AND NOT tags.region = 'north'",
    "tags.a = 'x' OR tags.b = 'y'",
    "STARTSWITH(tags.model, 'th-') AND tags.ring <> 'lab'",
    "NOT tags.retired = 'yes'",
    "tags.owner = 'it''s'",
    '*',
  ];
  test.each(conditions)('every device matches %s', (condition) => {
    const { matches } = compileCondition(condition);
    const fleet = fleetFor(JSON.stringify(condition));
    expect(fleet.length).toBe(200);
    expect(fleet.every(matches)).toBe(true);
    expect(new Set(fleet.map(({ id }) => id)).size).toBe(200);
  });

  test('a list of values is all of them, evenly', () => {
    const fleet = fleetFor("tags.region IN ['north', 'south']");
    expect(countsOf(fleet, 'region')).toEqual({ north: 100, south: 100 });
  });
});

test('strata have three values, and what a fault names is the rarest', () => {
  const stages = '[{name: canary, size: 10%, stratifyBy: [hardware]}, {name: fleet, size: all}]';
  const plain = fleetFor("tags.product = 'thermostat'", { stages });
  expect(countsOf(plain, 'hardware')).toEqual({ a: 120, b: 60, c: 20 });
  const faults = ["install=5% where tags.hardware = 'rev-9'"];
  const faulty = fleetFor("tags.product = 'thermostat'", { stages, faults });
  expect(countsOf(faulty, 'hardware')).toEqual({ a: 120, b: 60, 'rev-9': 20 });
});

test('stages of sites have sites of ten devices', () => {
  const fleet = fleetFor("tags.product = 'thermostat'", { stages: '[{canary: 1 site}, {fleet: all}]' });
  const sites = Object.values(countsOf(fleet, 'site'));
  expect(sites).toEqual(Array(20).fill(10));
});

test('a census is scaled to the number of devices, by the largest remainder', () => {
  const cells = [
    { tags: { product: 'a' }, devices: 1 },
    { tags: { product: 'b' }, devices: 1 },
    { tags: { product: 'c' }, devices: 1 },
  ];
  const fleet = populate(cells, { devices: 100, units: [] });
  expect(countsOf(fleet, 'product')).toEqual({ a: 34, b: 33, c: 33 });
  expect(populate(cells, { devices: 2, units: [] }).length).toBe(2);
});

test('devices that documents declare come first', () => {
  const declared = [{ id: 'boiler-room' as DeviceId, tags: { product: 'a' } }];
  const fleet = populate([{ tags: { product: 'a' }, devices: 1 }], { devices: 3, units: ['site'], declared });
  expect(fleet.map(({ id }) => id)).toEqual(['boiler-room', 'device-000001', 'device-000002']);
});
