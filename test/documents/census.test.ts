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

  test.each([
    ['', 'a census is JSON, as tidegate writes census.json on the branch outcomes'],
    ['[]', 'it is no census of Tidegate: it must be object'],
    ['{"at": "today"}', "it is no census of Tidegate: it must have required property 'devices'"],
    [
      '{"at":"2026-02-30T00:00:00Z","devices":0,"omitted":{},"rates":{},"cells":[]}',
      'there is no such day as 2026-02-30T00:00:00Z',
    ],
    [
      '{"at":"2026-02-03T00:00:00Z","devices":0,"omitted":{},"rates":{},"cells":[{"devices":-1,"tags":{}}]}',
      'it is no census of Tidegate: /cells/0/devices must be >= 0',
    ],
  ])('%s is refused in a sentence', (text, message) => {
    expect(decodeCensus(text)).toEqual({ ok: false, message });
  });
});
