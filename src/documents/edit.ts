/** Changes one value in a text that people wrote, and nothing else: comments, layout and line ends stay as they are. */
import { isScalar, parseDocument } from 'yaml';
import { parseYaml } from './parse.ts';

/**
 * The Rollout file with another `spec.distributionSet`; undefined where that value is not one that can be replaced
 * alone (no Rollout, no such key, an alias or an anchor that others use, a block scalar).
 */
export function setDistributionSet(text: string, name: string): string | undefined {
  const before = dataOf(text);
  if (before?.kind !== 'Rollout' || before.spec?.distributionSet === undefined) return undefined;
  const node = parseDocument(text).getIn(['spec', 'distributionSet'], true);
  const quote = isScalar(node) ? QUOTES[node.type ?? ''] : undefined;
  if (!isScalar(node) || node.range == null || quote === undefined) return undefined;
  const [start, end] = node.range;
  const edited = text.slice(0, start) + quote + name + quote + text.slice(end);

  // Reading it back proves that the name fits its quotes and that no alias carried the change elsewhere.
  before.spec.distributionSet = name;
  return JSON.stringify(dataOf(edited)) === JSON.stringify(before) ? edited : undefined;
}

const QUOTES: Readonly<Record<string, string>> = { PLAIN: '', QUOTE_SINGLE: "'", QUOTE_DOUBLE: '"' };

function dataOf(text: string): { kind?: unknown; spec?: { distributionSet?: unknown } | null } | undefined {
  const parsed = parseYaml(new TextEncoder().encode(text));
  if (!parsed.ok || typeof parsed.yaml.value !== 'object') return undefined;
  return parsed.yaml.value ?? undefined;
}
