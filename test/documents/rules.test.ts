import { describe, expect, test } from 'vitest';
import { loadDesired, loadOperations } from '../../src/documents/load.ts';
import { rulePage } from '../../src/documents/rule-page.ts';
import { type Example, RULE_IDS, RULES, type RuleId, severityOf } from '../../src/documents/rules.ts';
import { AT, source } from './sources.ts';

/** A right document of each kind that examples change, by the keys of its `spec`. */
const SPECS: Readonly<
  Record<string, { file: string; name: string; spec: Readonly<Record<string, string>> }>
> = {
  Fleet: {
    file: 'fleet/fleet.yaml',
    name: 'kiosks',
    spec: { distributionSetTypes: 'distributionSetTypes: {kiosk: {requiredModules: [app]}}\n' },
  },
  DistributionSet: {
    file: 'fleet/distribution-sets/kiosk-1.0.0.yaml',
    name: 'kiosk@1.0.0',
    spec: { modules: 'modules:\n- {name: app, version: 1.0.0, type: docker}\n' },
  },
  Rollout: {
    file: 'fleet/rollouts/kiosk.yaml',
    name: 'kiosk',
    spec: {
      owner: 'owner: kiosk-oncall\n',
      distributionSet: 'distributionSet: kiosk@1.0.0\n',
      targetCondition: "targetCondition: tags.product = 'kiosk'\n",
      priority: 'priority: 10\n',
      gates: 'gates: {health: screen_on}\n',
      stages: 'stages:\n- {name: canary, size: 1%, soak: 1h}\n- fleet: all\n',
    },
  },
  Flag: {
    file: 'fleet/flags/night-setback.yaml',
    name: 'night-setback',
    spec: { owner: 'owner: hvac-apps\n' },
  },
};

function documentOf(kind: string, changes: Readonly<Record<string, string>> = {}): readonly [string, string] {
  const base = SPECS[kind];
  if (base === undefined) throw new Error(`no example may change a ${kind}: give it a base here`);
  const keys = Object.values({ ...base.spec, ...changes }).join('');
  const spec = keys === '' ? 'spec: {}\n' : `spec:\n${keys.replaceAll(/^(?=.)/gm, '  ')}`;
  return [base.file, `apiVersion: tidegate.dev/v1\nkind: ${kind}\nmetadata: {name: ${base.name}}\n${spec}`];
}

/** The top-level keys of a text; one that is there twice stays twice. */
function keysOf(fragment: string): Readonly<Record<string, string>> {
  const keys: Record<string, string> = {};
  for (const part of fragment.split(/^(?=[A-Za-z]+:)/m)) {
    const [key = ''] = part.split(':', 1);
    keys[key] = (keys[key] ?? '') + part;
  }
  return keys;
}

const BASE = ['Fleet', 'DistributionSet', 'Rollout'].map((kind) => documentOf(kind));

/** The rules that a repository with the example in it breaks. */
function brokenBy(example: Example, which: 'good' | 'bad'): readonly string[] {
  const changed =
    'file' in example
      ? ([example.file, example[which]] as const)
      : documentOf(example.spec, keysOf(example[which]));
  const files = [...new Map([...BASE, changed])].map(([path, text]) => source(path, text));
  const problems = [...loadDesired(files, AT).problems, ...loadOperations(files).problems];
  return [...new Set(problems.map(({ rule }) => rule))];
}

const examples = RULE_IDS.flatMap((id) => {
  const { example } = RULES[id];
  return example === undefined ? [] : [[id, example] as const];
});

describe('the example of a rule', () => {
  test.each(examples)('%s: the bad one breaks exactly it, the good one nothing', (id, example) => {
    expect(brokenBy(example, 'bad')).toEqual([id]);
    expect(brokenBy(example, 'good')).toEqual([]);
  });

  test('is there for every rule that a short text can show', () => {
    const without = RULE_IDS.filter(
      (id) => RULES[id].example === undefined && !['server', 'fleet'].includes(RULES[id].source),
    );
    expect(without).toEqual([
      // Of bytes, sizes and what lies beside a document; test/documents/bad-input.test.ts has them.
      'encoding',
      'too-large',
      'too-deep',
      'aliases',
      'too-many',
      'link',
      'unreadable',
      'document-folder',
      'large-file',
      'blob-too-large',
      'fleet',
      'unused-allowance',
      'trust',
    ] satisfies RuleId[]);
  });
});

describe('a rule', () => {
  test.each(RULE_IDS)('%s says what it is about in sentences, and what to do in the end of one', (id) => {
    const { summary, why, fix } = RULES[id];
    expect(id).toMatch(/^[a-z]+(-[a-z]+)*$/);
    expect(summary).toMatch(/^\p{Lu}.*\.$/u);
    expect(summary.slice(0, -1)).not.toMatch(/\. /);
    expect(why).toMatch(/^\p{Lu}.*\.$/u);
    expect(fix).toMatch(/^[^A-Z].*[^.]$/);
    expect(rulePage(id)).toMatch(new RegExp(`^# ${id}\n\n`));
  });

  test('is as grave as its class, and policies as the fleet takes them', () => {
    const gravity = (id: RuleId) => [severityOf(id, 'warn'), severityOf(id, 'enforce')];
    expect(gravity('schema')).toEqual(['error', 'error']);
    expect(gravity('one-stage')).toEqual(['warning', 'error']);
    expect(gravity('threshold-gap')).toEqual(['warning', 'warning']);
  });
});
