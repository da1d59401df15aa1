/**
 * The rules that problems name: what each one is about, how grave it is, and what to do. How it is looked for stands where
 * it is looked for; a problem whose rule has no entry here does not compile.
 */
import { DOCUMENT_RULES } from './rules/of-documents.ts';
import { FILE_RULES } from './rules/of-files.ts';
import { ROLLOUT_RULES } from './rules/of-rollouts.ts';
import { FLEET_RULES } from './rules/of-the-fleet.ts';
import { SERVER_RULES } from './rules/of-the-server.ts';
import type { Rule, Severity } from './rules/rule.ts';

export type { Example, Rule, RuleClass, RuleSource, Severity } from './rules/rule.ts';

const ALL = { ...FILE_RULES, ...DOCUMENT_RULES, ...ROLLOUT_RULES, ...FLEET_RULES, ...SERVER_RULES };

export type RuleId = keyof typeof ALL;

export const RULES: Readonly<Record<RuleId, Rule>> = ALL;

export const RULE_IDS = Object.keys(RULES) as readonly RuleId[];

export function isRule(text: string): text is RuleId {
  return Object.hasOwn(RULES, text);
}

/** What a fleet does about problems of the class `policy`. */
export type Policy = 'warn' | 'enforce';

export function severityOf(rule: RuleId, policy: Policy): Severity {
  switch (RULES[rule].class) {
    case 'error':
      return 'error';
    case 'policy':
      return policy === 'enforce' ? 'error' : 'warning';
    case 'advice':
      return 'warning';
  }
}
