/** action.yml against the pages and workflows that use it. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parse } from 'yaml';

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
const action = parse(read('action.yml'));
const page = read('docs/action.md');

/** The names in the first cells of the tables below a heading. */
function named(heading: string): readonly string[] {
  const section = page.split(/^## /m).find((each) => each.startsWith(`${heading}\n`)) ?? '';
  const rows = [...section.matchAll(/^\| (`[^|]*`) \|/gm)];
  return rows
    .flatMap(([, cell = '']) => [...cell.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name))
    .sort();
}

interface Step {
  readonly uses?: string;
  readonly with?: Record<string, unknown>;
}

test('the page has every input with its default, and every output', () => {
  expect(named('Inputs')).toEqual(Object.keys(action.inputs).sort());
  expect(named('Outputs')).toEqual(Object.keys(action.outputs).sort());
  for (const [name, { default: value }] of Object.entries<{ default: string }>(action.inputs))
    if (value !== '') expect(page).toContain(`| \`${name}\` | \`${value}\` |`);
});

test('workflows use inputs that exist', () => {
  const workflows = [
    read('fleet-repo-example/.github/workflows/tidegate.yml'),
    ...[...page.matchAll(/^```yaml\n([\s\S]*?)^```/gm)].map(([, text = '']) => text),
  ];
  const uses = workflows.flatMap(stepsIn).filter((step) => step.uses?.startsWith('tidegate/tidegate@'));
  expect(uses).toHaveLength(3);
  for (const step of uses)
    expect(Object.keys(step.with ?? {}).filter((name) => !Object.hasOwn(action.inputs, name))).toEqual([]);
});

function stepsIn(text: string): readonly Step[] {
  const read = parse(text) as
    | readonly Step[]
    | { readonly jobs: Record<string, { readonly steps: readonly Step[] }> };
  return 'jobs' in read ? Object.values(read.jobs).flatMap(({ steps }) => steps) : (read as readonly Step[]);
}

test('a runner finds what it is to run', () => {
  expect(action.runs).toEqual({ using: 'node24', main: 'dist/action/index.js' });
  expect(read(action.runs.main)).toMatch(/^\/\/ Made by scripts\/bundle-action\.ts /);
});
