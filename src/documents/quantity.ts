/** Sizes, thresholds, shares and instants as people write them. The schemas accept exactly what these understand. */
import type { Fraction, Size, Threshold } from '../core/model/desired.ts';
import type { Instant } from '../core/model/time.ts';

const PERCENTAGE = /^(100|[0-9]{1,2})(?:\.([0-9]{1,4}))? ?%$/;
const SIZE =
  /^(?:([1-9][0-9]{0,8})(?: ([A-Za-z][A-Za-z0-9_-]{0,62}))?|(.+%)(?: of ([A-Za-z][A-Za-z0-9_-]{0,62}))?)$/;

/** `5%`, `0.5 % of sites`, `250`, `10 sites` or `all`, and whose number it is: of devices, or of a tag's values. */
export function parseSize(text: string | number): { readonly size: Size; readonly unit: string } | undefined {
  if (text === 'all') return { size: { kind: 'all' }, unit: 'device' };
  const [, count, counted, percentage, shared] = SIZE.exec(String(text)) ?? [];
  const unit = singular(counted ?? shared ?? 'device');
  if (count !== undefined) return { size: { kind: 'count', count: Number(count) }, unit };
  const share = percentage === undefined ? undefined : parseShare(percentage);
  return share === undefined || share.numerator === 0 ? undefined : { size: { kind: 'share', share }, unit };
}

/** `95%` or a positive count. */
export function parseThreshold(text: string | number): Threshold | undefined {
  if (typeof text === 'number')
    return Number.isInteger(text) && text > 0 ? { kind: 'count', count: text } : undefined;
  const share = parseShare(text);
  return share === undefined || share.numerator === 0 ? undefined : { kind: 'share', share };
}

/** A percentage from 0% to 100% as an exact fraction: `0.5%` is 5/1000. */
export function parseShare(text: string): Fraction | undefined {
  const [, whole, decimals = ''] = PERCENTAGE.exec(text) ?? [];
  if (whole === undefined) return undefined;
  const numerator = Number(whole + decimals);
  const denominator = 100 * 10 ** decimals.length;
  return numerator <= denominator ? { numerator, denominator } : undefined;
}

/** RFC 3339; undefined where the calendar has no such day. */
export function parseInstant(text: string): Instant | undefined {
  // The engine reads 30 February as 2 March. Day and month are compared before the time zone moves them.
  const day = text.slice(0, 10);
  const parsed = Date.parse(`${day}T00:00:00Z`);
  if (Number.isNaN(parsed) || new Date(parsed).toISOString().slice(0, 10) !== day) return undefined;
  const instant = Date.parse(text);
  return Number.isNaN(instant) ? undefined : instant;
}

/** `sites` → `site`: the tag whose values are counted. A word that ends in ss is left alone. */
function singular(word: string): string {
  return word.endsWith('s') && !word.endsWith('ss') ? word.slice(0, -1) : word;
}
