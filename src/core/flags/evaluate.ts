/**
 * What a device's flags are: a pure function of the flags and of the device's id and tags, so that every replica gives
 * the same answer and nothing is kept per device. Reasons have OpenFeature's names.
 *
 * A device has two places in a flag, both from its id and the flag's seed. The first says whether a rule's share
 * contains it: shares of one flag contain the smaller ones, and whoever is in stays in while the share grows. The second
 * says which variant of a split it gets, so that widening an experiment changes nobody's variant.
 */
import type { Flag, FlagRule, FlagValue } from '../model/flag.ts';
import { bucketPpm, scoreOf } from '../select/score.ts';
import { compileCondition, type Targeted } from '../target/condition.ts';

export interface FlagEvaluation {
  readonly variant: string;
  readonly value: FlagValue;
  readonly reason: FlagReason;
}

/**
 * `DISABLED`: the kill switch is thrown. `STATIC`: every device gets this. `TARGETING_MATCH`: by what the device is.
 * `SPLIT`: by its place in a share. `DEFAULT`: no rule is for it.
 *
 * https://openfeature.dev/specification/types#resolution-reason
 */
export type FlagReason = 'DISABLED' | 'STATIC' | 'TARGETING_MATCH' | 'SPLIT' | 'DEFAULT';

/** All parts of a million: a share that leaves nobody out. */
export const WHOLE_PPM = 1_000_000;

/** By flag, in the order of `flags`. The device's tags are those that operators' overrides leave it. */
export function evaluateFlags(flags: readonly Flag[], device: Targeted): ReadonlyMap<string, FlagEvaluation> {
  return new Map(flags.map((flag) => [flag.name, evaluateFlag(flag, device)]));
}

export function evaluateFlag(flag: Flag, device: Targeted): FlagEvaluation {
  if (!flag.enabled) return resolved(flag, flag.default, 'DISABLED');
  for (const [at, rule] of flag.rules.entries()) {
    const variant = variantBy(rule, flag.seed, device);
    if (variant !== undefined) return resolved(flag, variant, reasonOf(rule, at));
  }
  return resolved(flag, flag.default, flag.rules.length === 0 ? 'STATIC' : 'DEFAULT');
}

/** The variant that the rule has for the device; undefined where it is not for it. */
function variantBy(rule: FlagRule, seed: string, device: Targeted): string | undefined {
  const { condition, ppm, split } = rule;
  if (condition !== undefined && !compileCondition(condition).matches(device)) return undefined;
  if (ppm < WHOLE_PPM && bucketPpm(scoreOf(seed, device.id)) >= ppm) return undefined;
  const [first] = split;
  if (first?.upToPpm === WHOLE_PPM) return first.variant;
  // No flag's own seed has a space in it, so this place is nobody else's first one.
  const place = bucketPpm(scoreOf(`${seed} split`, device.id));
  return split.find(({ upToPpm }) => place < upToPpm)?.variant;
}

function reasonOf({ condition, ppm, split }: FlagRule, at: number): FlagReason {
  if (ppm < WHOLE_PPM || split[0]?.upToPpm !== WHOLE_PPM) return 'SPLIT';
  return condition === undefined && at === 0 ? 'STATIC' : 'TARGETING_MATCH';
}

function resolved({ name, values }: Flag, variant: string, reason: FlagReason): FlagEvaluation {
  const value = values[variant];
  if (value === undefined) throw new Error(`flag ${name} should have been validated: no value of ${variant}`);
  return { variant, value, reason };
}
