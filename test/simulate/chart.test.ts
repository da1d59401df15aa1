/** A run as a picture. */
import { expect, test } from 'vitest';
import { HOUR } from '../../src/core/model/time.ts';
import { runChart } from '../../src/simulate/chart.ts';
import type { Run } from '../../src/simulate/run.ts';
import { experiment, thermostats } from './documents.ts';

const SAMPLED = { share: 1, devices: 0 };

const RUN: Run = {
  seed: '<1>',
  startAt: 0,
  lastedMs: 10 * HOUR,
  state: 'rolledBack',
  reason: '',
  stages: [
    { name: 'canary', state: 'passed', devices: 10, openedMs: 0, closedMs: 2 * HOUR },
    { name: 'fleet & all', state: 'failed', devices: 990, openedMs: 2 * HOUR, closedMs: 5 * HOUR },
  ],
  found: {
    afterMs: 5 * HOUR,
    stage: 'fleet & all',
    intoStageMs: 3 * HOUR,
    by: { kind: 'gate', gate: 'crashes' },
    action: 'pause',
    because: '',
    reached: 500,
    hit: 500,
  },
  moments: [
    { afterMs: 5 * HOUR, kind: 'pause', text: '' },
    { afterMs: 9 * HOUR, kind: 'rollBack', text: '' },
  ],
  reached: 500,
  hit: 500,
  timeline: [
    { afterMs: 0, running: [] },
    { afterMs: HOUR, running: [10] },
    { afterMs: 3 * HOUR, running: [10, 490] },
    { afterMs: 9.5 * HOUR, running: [0, 0] },
  ],
  sampled: { treated: SAMPLED, control: SAMPLED },
  isInterrupted: false,
};

const chart = (run: Run = RUN) => runChart(experiment(thermostats(), { faults: ['crash=4x'] }), run);

test('it has a lane per stage, and one of all devices', () => {
  const svg = chart();
  expect([...svg.matchAll(/class="name"[^>]*>([^<]*)</g)].map(([, name]) => name)).toEqual([
    'canary',
    'fleet &amp; all',
    'all devices',
  ]);
  // Ten hours are as wide as the lanes: steps at one, three and nine and a half.
  const [first = ''] = [...svg.matchAll(/class="area" d="([^"]*)"/g)].map(([, path]) => path);
  expect(first).toBe('M188 148H188V148H258V96H398V96H853V148H888V148Z');
});

test('it says where the fault was found, when nothing was offered, and when devices were given back what they had', () => {
  const svg = chart();
  expect(svg).toContain('>found after 5h by gate crashes</text>');
  expect(svg).toContain('>rolled back after 9h</text>');
  expect(svg).toMatch(/<rect class="held" x="538" y="90" width="280"/);
});

test('it says in words what it shows', () => {
  expect(chart()).toContain(
    '<desc id="desc">A run with crash=4x. Stage canary with 10 devices opened after 0s and passed after 2h. ' +
      'Stage fleet &amp; all with 990 devices opened after 2h and failed after 5h. ' +
      'Found after 5h in stage fleet &amp; all by gate crashes, when 500 devices had been reached.</desc>',
  );
});

test('it is well-formed, whatever people call things', () => {
  const svg = chart({ ...RUN, seed: '"]]>&\u0000<script>' });
  expect(svg).not.toContain('<script>');
  expect(svg).not.toContain('\u0000');
  const tags = [...svg.matchAll(/<(\/?)([a-z]+)[^>]*?(\/?)>/g)];
  const open: string[] = [];
  for (const [, end, name = '', alone] of tags) {
    if (end === '/') expect(open.pop()).toBe(name);
    else if (alone === '') open.push(name);
  }
  expect(open).toEqual([]);
});

test('a run in which nothing opened is drawn, too', () => {
  const { found: _found, ...rest } = RUN;
  const svg = chart({
    ...rest,
    stages: [],
    moments: [],
    timeline: [{ afterMs: 0, running: [] }],
    lastedMs: 0,
  });
  expect(svg).toContain('Nothing was found; 500 devices were reached');
  expect(svg).not.toContain('NaN');
});
