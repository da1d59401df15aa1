/**
 * Whether two values would be written as the same JSON, but for the order of keys. Parts that are one object are not looked
 * into: what is published is large, and mostly made of what was published before.
 */
export function isSameValue(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) || Array.isArray(b)) {
    if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false;
    return a.every((item, at) => isSameValue(item, b[at]));
  }
  return hasAllOf(a, b) && countOf(a) === countOf(b);
}

function hasAllOf(a: object, b: object): boolean {
  for (const key of Object.keys(a)) {
    if (!isSameValue(ownValue(a, key), ownValue(b, key))) return false;
  }
  return true;
}

/** Keys without a value are not written. */
function countOf(value: object): number {
  let count = 0;
  for (const key of Object.keys(value)) if (ownValue(value, key) !== undefined) count += 1;
  return count;
}

function ownValue(value: object, key: string): unknown {
  return Object.hasOwn(value, key) ? (value as Record<string, unknown>)[key] : undefined;
}
