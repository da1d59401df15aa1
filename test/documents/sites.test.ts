import { expect, test } from 'vitest';
import { HOUR } from '../../src/core/model/time.ts';
import { load, problemsOf } from './sources.ts';

const site = (overrides: string, name = 'berlin-7') => `apiVersion: tidegate.dev/v1
kind: Site
metadata: {name: berlin}
spec:
  site: ${name}
  overrides: ${overrides}
`;
const loadSite = (overrides: string) => load({ 'fleet/sites/berlin.yaml': site(overrides) });

test('a site changes its poll interval, its install window, both or neither', () => {
  const window = { cron: '0 22 * * *', durationMs: 8 * HOUR, timezone: { zone: 'Europe/Berlin' } };
  const written = 'installWindow: {cron: "0 22 * * *", duration: 8h, timezone: Europe/Berlin}';
  const overrideOf = (overrides: string) => loadSite(overrides).desired?.sites.get('berlin-7');
  expect(overrideOf('{pollInterval: 1h}')).toEqual({ pollIntervalMs: HOUR });
  expect(overrideOf(`{${written}}`)).toEqual({ installWindow: window });
  expect(overrideOf(`{pollInterval: 1h, ${written}}`)).toEqual({
    pollIntervalMs: HOUR,
    installWindow: window,
  });
  expect(overrideOf('{}')).toEqual({});
});

test('the window of a site is checked as a rollout’s is', () => {
  expect(problemsOf(loadSite('{installWindow: {cron: "0 2 * * 9", duration: 4h}}'))).toEqual([
    'fleet/sites/berlin.yaml:6:46: the day of the week must be 0 to 7 or sun to sat, found "9"',
  ]);
});

test('a window that is shorter than the poll interval of its site is a warning', () => {
  const window = 'installWindow: {cron: "0 2 * * *", duration: 30m}';
  expect(problemsOf(loadSite(`{${window}}`))).toEqual([]);
  expect(problemsOf(loadSite(`{pollInterval: 1h, ${window}}`))).toEqual([
    'fleet/sites/berlin.yaml:6:78: devices ask every 1h and may miss an install window of 30m; make the window longer or pollInterval shorter',
  ]);
});

test('a site that two documents are about is an error at the second', () => {
  const second = site('{pollInterval: 2h}').replace('name: berlin}', 'name: berlin-again}');
  const loaded = load({
    'fleet/sites/a.yaml': site('{pollInterval: 1h}'),
    'fleet/sites/b.yaml': second,
  });
  expect(problemsOf(loaded)).toEqual([
    'fleet/sites/b.yaml:5:9: the site "berlin-7" is in fleet/sites/a.yaml:5:9 already; say everything about it in one place',
  ]);
});
