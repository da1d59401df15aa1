/** What there is to read about a rule, in Markdown: in docs/rules/, in the terminal, and where GitHub shows an alert. */

import type { Example, Rule } from './rules/rule.ts';
import { RULES, type RuleId } from './rules.ts';

/** The whole page, with its heading. */
export function rulePage(id: RuleId): string {
  return `# ${id}\n\n${ruleText(id)}`;
}

/** The page without its heading. */
export function ruleText(id: RuleId): string {
  const rule = RULES[id];
  return `${[
    rule.summary,
    `**${gravityOf(rule)}** ${FOUND_BY[rule.source]}`,
    `## Why\n\n${rule.why}`,
    `## What to do\n\n${upperFirst(rule.fix)}.`,
    ...(rule.example === undefined ? [] : [exampleText(rule.example)]),
    ...allowing(id, rule),
  ].join('\n\n')}\n`;
}

const GRAVITY: Readonly<Record<Rule['class'], string>> = {
  error: 'An error.',
  policy:
    'A policy: `tidegate validate` fails; a server warns, and refuses the commit where the fleet has `policy: enforce`.',
  advice: 'Advice: a warning, unless `tidegate validate --strict` is asked.',
};

/** A server does not look at the fleet for it: a commit that was valid yesterday would not be once devices came. */
function gravityOf({ class: weight, source }: Rule): string {
  return weight === 'policy' && source === 'fleet'
    ? 'A policy: `tidegate validate` fails. A server does not look for it.'
    : GRAVITY[weight];
}

const FOUND_BY: Readonly<Record<Rule['source'], string>> = {
  documents: 'The documents alone show it.',
  folder: '`tidegate validate` finds it in the working folder.',
  fleet: 'It takes knowing the fleet, or what became of earlier rollouts: see [planning](../planning.md).',
  server: 'A server finds it, with the record at hand; `tidegate status` shows it.',
};

function exampleText(example: Example): string {
  const where = 'file' in example ? `In \`${example.file}\`` : `In the \`spec\` of a ${example.spec}`;
  return `## Example\n\n${where}, not so:\n\n${fenced(example.bad)}\n\nbut so:\n\n${fenced(example.good)}`;
}

function fenced(text: string): string {
  return `\`\`\`yaml\n${text}\`\`\``;
}

function allowing(id: RuleId, rule: Rule): readonly string[] {
  if (rule.class === 'error' || rule.source === 'server' || id === 'unused-allowance') return [];
  const emergency = rule.isAboutPace
    ? ' Where there is no time, `emergency: true` in the `spec` of the rollout allows it, too.'
    : '';
  return [
    `## Allowing it\n\nWhere it is right in one document, say why in its annotations, and it is listed as allowed.${emergency}\n\n${fenced(
      `metadata:\n  annotations: {tidegate.dev/allow.${id}: "the reason"}\n`,
    )}`,
  ];
}

function upperFirst(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
