/** What one snapshot says differently of flags, in words. A description that changed is no change: devices do not get it. */
import { WHOLE_PPM } from '../core/flags/evaluate.ts';
import type { DesiredState } from '../core/model/desired.ts';
import type { Flag, FlagRule } from '../core/model/flag.ts';
import { formatShare } from '../core/select/size.ts';
import { differences, type Fields, type RolloutChange } from './rollout-changes.ts';

export interface FlagChange {
  readonly flag: string;
  readonly change: RolloutChange['change'];
  /** One per thing that differs; a changed flag has at least one. */
  readonly words: readonly string[];
}

/** In order of name; flags that are the same are not mentioned. */
export function flagChanges(before: DesiredState, after: DesiredState): readonly FlagChange[] {
  const names = new Set([...before.flags.keys(), ...after.flags.keys()]);
  return [...names].sort().flatMap((flag): FlagChange[] => {
    const [old, now] = [before.flags.get(flag), after.flags.get(flag)];
    if (now === undefined) return [{ flag, change: 'removed', words: ['devices are no longer told of it'] }];
    if (old === undefined) return [{ flag, change: 'added', words: [rulesText(now)] }];
    const words = differences(FIELDS, old, now);
    return words.length === 0 ? [] : [{ flag, change: 'changed', words }];
  });
}

const FIELDS: Fields<Flag> = {
  name: undefined,
  default: undefined, // The rules end with it.
  rules: ['gives', rulesText],
  enabled: ['enabled', ({ enabled }) => String(enabled)],
  values: ['values', ({ values }) => JSON.stringify(values)],
  seed: ['seed', ({ seed }) => seed],
};

/** `on to 10% where tags.site = 'berlin'; otherwise off` */
function rulesText({ enabled, rules, default: fallback }: Flag): string {
  if (!enabled) return `${fallback} to every device`;
  if (rules.length === 0) return fallback;
  return `${rules.map(ruleText).join('; ')}; otherwise ${fallback}`;
}

function ruleText({ condition, ppm, split }: FlagRule): string {
  const variants = split.map(({ variant, upToPpm }, at) => {
    const share = upToPpm - (split[at - 1]?.upToPpm ?? 0);
    return share === WHOLE_PPM ? variant : `${variant} ${percent(share)}`;
  });
  const share = ppm === WHOLE_PPM ? '' : ` to ${percent(ppm)}`;
  return `${variants.join(' and ')}${share}${condition === undefined ? '' : ` where ${condition}`}`;
}

function percent(ppm: number): string {
  return formatShare({ numerator: ppm, denominator: WHOLE_PPM });
}
