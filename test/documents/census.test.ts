import { describe, expect, test } from 'vitest';
import type { Census } from '../../src/core/model/census.ts';
import { decodeCensus, encodeCensus } from '../../src/documents/census.ts';

const CENSUS: Census = {
  at: Date.UTC(2026, 10, 21, 8),
  devices: 5,
  omitted: { serial: 5001 },
  rates: { crash: { incidents: 3, deviceHours: 240.5 } },
  cells: [
    { tags: { product: 'kiosk', region: 'north' }, devices: 3 },
    { tags: {}, devices: 2 },
  ],
};

describe('census.json', () => {
  test('has a line for each kind of device', () => {
    expect(encodeCensus(CENSUS)).toBe(`{
  "at": "2026-11-21T08:00:00Z",
  "devices": 5,
  "omitted": {
    "serial": 5001
  },
  "rates": {
    "crash": {
      "incidents": 3,
      "deviceHours": 240.5
    }
  },
  "cells": [
    {"devices":3,"tags":{"product":"kiosk","region":"north"}},
    {"devices":2,"tags":{}}
  ]
}
`);
  });

  test('is read as it was written, with devices and without', () => {
    expect(decodeCensus(encodeCensus(CENSUS))).toEqual({ ok: true, census: CENSUS });
    const none: Census = { ...CENSUS, devices: 0, omitted: {}, rates: {}, cells: [] };
    expect(decodeCensus(encodeCensus(none))).toEqual({ ok: true, census: none });
  });

  test('may be written by hand, with cells alone', () => {
    const text = 'cells:\n- {tags: {product: kiosk}, devices: 3}\n- {tags: {}, devices: 2}\n';
    const cells = [
      { tags: { product: 'kiosk' }, devices: 3 },
      { tags: {}, devices: 2 },
    ];
    expect(decodeCensus(text)).toEqual({
      ok: true,
      census: { at: 0, devices: 5, omitted: {}, rates: {}, cells },
    });
  });

  const UNREADABLE =
    'a census is JSON or YAML with cells, as {tags: {product: thermostat}, devices: 1200}; the branch outcomes has one in census.json';
  test.each([
    ['', UNREADABLE],
    ['{"cells": [', UNREADABLE],
    ['[]', 'it is no census of Tidegate: it must be object'],
    ['{"at": "today"}', "it is no census of Tidegate: it must have required property 'cells'"],
    ['{"at":"2026-02-30T00:00:00Z","cells":[]}', 'there is no such day as 2026-02-30T00:00:00Z'],
    ['{"cells":[{"devices":-1,"tags":{}}]}', 'it is no census of Tidegate: /cells/0/devices must be >= 0'],
  ])('%s is refused in a sentence', (text, message) => {
    expect(decodeCensus(text)).toEqual({ ok: false, message });
  });
});
