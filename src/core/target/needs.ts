/**
 * What a device must have, whatever else it has, for a condition to match it: most conditions begin with a product or a
 * ring that only some devices are of. Rollouts are found by it instead of being asked one after another.
 */

/** One of `values` in the tag; in the device's id, where `tag` is undefined. */
export interface Need {
  readonly tag: string | undefined;
  readonly values: readonly string[];
}

/** The shape of a condition, as far as needs are concerned. */
type Shape =
  | {
      readonly kind: 'equals';
      readonly operand: { readonly tag: string | undefined };
      readonly value: string;
    }
  | {
      readonly kind: 'in';
      readonly operand: { readonly tag: string | undefined };
      readonly values: readonly string[];
    }
  | { readonly kind: 'and' | 'or'; readonly parts: readonly Shape[] }
  | { readonly kind: 'every' | 'differs' | 'startsWith' | 'not' };

/** All of them are needed, each for itself; none where the condition may match a device of any tags. */
export function needsOf(condition: Shape): readonly Need[] {
  switch (condition.kind) {
    case 'equals':
      return [{ tag: condition.operand.tag, values: [condition.value] }];
    case 'in':
      return [{ tag: condition.operand.tag, values: [...new Set(condition.values)] }];
    case 'and':
      return condition.parts.flatMap(needsOf);
    case 'or':
      return either(condition.parts.map(needsOf));
    default:
      return [];
  }
}

/** Where every side needs the same tag, one of all their values is needed. */
function either([first = [], ...others]: readonly (readonly Need[])[]): readonly Need[] {
  return first.flatMap(({ tag, values }) => {
    const same = others.map((needs) => needs.find((need) => need.tag === tag));
    if (same.includes(undefined)) return [];
    return [{ tag, values: [...new Set([...values, ...same.flatMap((need) => need?.values ?? [])])] }];
  });
}
