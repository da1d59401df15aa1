/** Faults as people write them. */
import { describe, expect, test } from 'vitest';
import { type Fault, faultText, parseFault } from '../../src/simulate/fault.ts';

describe('a fault is read, and written as it was', () => {
  const cases: readonly (readonly [string, Fault])[] = [
    ['crash=4x', { kind: 'rate', name: 'crash', times: 4, share: 1 }],
    ['crash=1.5x@10%', { kind: 'rate', name: 'crash', times: 1.5, share: 0.1 }],
    ['install=5%', { kind: 'install', share: 0.05 }],
    ['silence=20%', { kind: 'silence', share: 0.2 }],
    ['season=1.5x', { kind: 'season', times: 1.5 }],
    ['signal:drops=17', { kind: 'signal', signal: 'drops', value: 17, share: 1 }],
    ['signal:healthy=false@2.5%', { kind: 'signal', signal: 'healthy', value: false, share: 0.025 }],
    ['signal:gap=42s', { kind: 'signal', signal: 'gap', value: '42s', share: 1 }],
    ['prometheus:errors=0.5', { kind: 'prometheus', gate: 'errors', value: 0.5 }],
    ['webhook:lab=halt', { kind: 'webhook', gate: 'lab', verdict: 'halt' }],
    ['observations:tickets=40', { kind: 'observations', metric: 'tickets', value: 40 }],
    [
      "crash=10x where tags.hardwareRevision = 'c'",
      { kind: 'rate', name: 'crash', times: 10, share: 1, where: "tags.hardwareRevision = 'c'" },
    ],
  ];
  test.each(cases)('%s', (text, fault) => {
    expect(parseFault(text)).toEqual({ ok: true, fault });
    expect(faultText(fault)).toBe(text);
  });
});

describe('what is no fault is refused with what would be one', () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ['crash', /^expected a fault such as crash=4x/],
    ['crash=4', /^crash takes how many times as often it happens, up to 1000x, as crash=4x/],
    ['crash=4x@10', /as crash=4x or crash=4x@10%; found "4x@10"$/],
    ['install=120%', /^install takes a share of the devices, as install=5%; found "120%"$/],
    ['season=2x@10%', /^season is for every device/],
    ["season=2x where tags.a = 'b'", /^season is not on single devices; leave out where/],
    ['install=5% where tags.a = "b"', /^where tags.a = "b": column/],
    ['signal:drops=', /^drops: expected a value, as signal:drops=17/],
    ['webhook:lab=maybe', /^webhook:lab says halt or wait; found "maybe"$/],
    ['prometheus:errors=many', /^prometheus:errors gives a number; found "many"$/],
  ];
  test.each(cases)('%s', (text, message) => {
    const parsed = parseFault(text);
    expect(parsed.ok).toBe(false);
    if (!parsed.ok) expect(parsed.message).toMatch(message);
  });
});
