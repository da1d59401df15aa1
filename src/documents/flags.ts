/** Flag documents → flags: follows groups, makes percentages exact, and checks what a schema cannot. */
import { WHOLE_PPM } from '../core/flags/evaluate.ts';
import type * as Model from '../core/model/flag.ts';
import type { Place, Report, SourceDocument } from './document.ts';
import { createMemory } from './memory.ts';
import { checkCondition, valid } from './normalise.ts';
import { show } from './problem.ts';
import { parseShare } from './quantity.ts';
import { type Index, resolveCondition } from './references.ts';
import { closest } from './suggest.ts';
import type { FlagRule } from './types.generated.ts';

type FlagDocument = SourceDocument<'Flag'>;

/** Always a flag, also where something was reported: a snapshot with an error is not taken at all. */
export function normaliseFlag(document: FlagDocument, index: Index, report: Report): Model.Flag {
  const groups = (document.data.spec.rules ?? []).map(({ targetCondition: of }) =>
    typeof of === 'object' ? index.find('Group', of.group) : undefined,
  );
  return rememberFlag(document, groups, report, (told) => makeFlag(document, index, told));
}

const rememberFlag = createMemory<Model.Flag>();

function makeFlag(document: FlagDocument, index: Index, report: Report): Model.Flag {
  const { metadata, spec } = document.data;
  checkValues(document, report);
  checkVariant(spec.default, { document, path: ['spec', 'default'] }, report);
  const rules = (spec.rules ?? []).map((rule, at) => {
    const path = ['spec', 'rules', at];
    const condition = conditionOf(rule, { document, path: [...path, 'targetCondition'] }, index, report);
    return {
      ...(condition === undefined ? {} : { condition }),
      ppm: rule.percentage === undefined ? WHOLE_PPM : ppmOf(rule.percentage),
      split: splitOf(rule, { document, path }, report),
    };
  });
  reportUnreachable(document, rules, report);
  return {
    name: metadata.name,
    enabled: spec.enabled ?? true,
    values: { ...spec.values },
    default: spec.default,
    rules,
    seed: spec.seed ?? metadata.name,
  };
}

/** Whoever asks for a flag asks for one type, and must get the number that was written. */
function checkValues(document: FlagDocument, report: Report): void {
  const entries = Object.entries(document.data.spec.values);
  for (const [variant, value] of entries) {
    const [first, typical] = entries[0] ?? [variant, value];
    const place = { document, path: ['spec', 'values', variant] };
    if (typeof value !== typeof typical) {
      const message = `the values of a flag are of one type: ${show(first)} is ${show(typical)}, found ${show(value)}; write them alike`;
      report(place, 'flag-value', message);
    } else if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
      const message = `a number of this size is rounded to ${show(value)}; put the values in quotes`;
      report(place, 'flag-value', message);
    }
  }
}

function checkVariant(variant: string, place: Place, report: Report): void {
  const known = Object.keys((place.document as FlagDocument).data.spec.values);
  if (known.includes(variant)) return;
  const meant = closest(variant, known);
  const next =
    meant === undefined ? `add it there, or use one of ${known.join(', ')}` : `did you mean ${show(meant)}?`;
  report(place, 'flag-variant', `spec.values has no variant ${show(variant)}; ${next}`);
}

function conditionOf(rule: FlagRule, place: Place, index: Index, report: Report): string | undefined {
  if (rule.targetCondition === undefined) return undefined;
  const { document } = place;
  const written = resolveCondition(rule.targetCondition, place, (path, kind, name) =>
    index.follow({ document, path }, kind, name),
  );
  // A group's own condition is checked where it is written.
  if (written?.place.document === document) checkCondition(written, report);
  return written?.text.trim() ?? NOBODY;
}

/** For a group that is not there, which was reported: the rules below are not judged by it. */
const NOBODY = 'NOT *';

function splitOf(rule: FlagRule, { document, path }: Place, report: Report): Model.FlagRule['split'] {
  if ('variant' in rule) {
    checkVariant(rule.variant, { document, path: [...path, 'variant'] }, report);
    return [{ variant: rule.variant, upToPpm: WHOLE_PPM }];
  }
  let upToPpm = 0;
  const split = Object.entries(rule.split).map(([variant, share]) => {
    checkVariant(variant, { document, path: [...path, 'split', variant], key: true }, report);
    upToPpm += ppmOf(share);
    return { variant, upToPpm };
  });
  if (upToPpm > WHOLE_PPM) {
    const message = `the shares of a split are at most 100% together, found ${upToPpm / 10_000}%; lower one of them`;
    report({ document, path: [...path, 'split'], key: true }, 'flag-split', message);
  }
  return split;
}

/**
 * Rules for which an earlier one leaves no device: one for the same devices, or for every device, with a share that is
 * no smaller. Whoever wrote them expects them to do something.
 */
function reportUnreachable(document: FlagDocument, rules: readonly Model.FlagRule[], report: Report): void {
  for (const [at, rule] of rules.entries()) {
    const taker = rules.findIndex((earlier, before) => before < at && leavesNothingTo(rule, earlier));
    if (taker === -1) continue;
    const { line } = document.yaml.at(['spec', 'rules', taker]);
    const message = `no device comes to this rule: the one on line ${line} takes all that it is for; put it before that one, or remove it`;
    report({ document, path: ['spec', 'rules', at] }, 'flag-unreachable', message);
  }
}

function leavesNothingTo(rule: Model.FlagRule, earlier: Model.FlagRule): boolean {
  const isForAll = earlier.condition === undefined || earlier.condition === rule.condition;
  return isForAll && earlier.split.at(-1)?.upToPpm === WHOLE_PPM && earlier.ppm >= rule.ppm && rule.ppm > 0;
}

/** Exact: a percentage has at most four decimals. */
function ppmOf(text: string): number {
  const { numerator, denominator } = valid(parseShare(text), text);
  return numerator * (WHOLE_PPM / denominator);
}
