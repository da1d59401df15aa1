/** How many units a size or a threshold means. Shares are exact fractions: 7 % of 100 is 7, never 8. */
import type { Fraction, Size, Threshold } from '../model/desired.ts';

/** ⌈share · total⌉. */
export function shareCeil(share: Fraction, total: number): number {
  return Number(
    (BigInt(share.numerator) * BigInt(total) + BigInt(share.denominator) - 1n) / BigInt(share.denominator),
  );
}

/** ⌊share · total⌋. */
export function shareFloor(share: Fraction, total: number): number {
  return Number((BigInt(share.numerator) * BigInt(total)) / BigInt(share.denominator));
}

/** Units that `size` means when `total` match: at least one of any share, at most `total`. */
export function unitsOf(size: Size, total: number): number {
  switch (size.kind) {
    case 'count':
      return Math.min(size.count, total);
    case 'share':
      return Math.min(Math.max(1, shareCeil(size.share, total)), total);
    case 'all':
      return total;
  }
}

/** Devices that must have succeeded in a stage of `devices`. A stage of none needs none. */
export function successesNeeded(threshold: Threshold, devices: number): number {
  if (threshold.kind === 'count') return Math.min(threshold.count, devices);
  return shareCeil(threshold.share, devices);
}

/** The number of failures that halts a stage of `devices`: at least one, also where the share rounds to none. */
export function failuresThatHalt(threshold: Threshold, devices: number): number {
  if (threshold.kind === 'count') return Math.max(1, threshold.count);
  return Math.max(1, shareCeil(threshold.share, devices));
}

/** `5%`, `0.5%` or `12`; a share that is no round percentage as `1/3`. */
export function formatThreshold(threshold: Threshold): string {
  if (threshold.kind === 'count') return String(threshold.count);
  return formatShare(threshold.share);
}

export function formatShare(share: Fraction): string {
  const percent = (share.numerator / share.denominator) * 100;
  const rounded = Math.round(percent * 1e6) / 1e6;
  return Math.abs(rounded - percent) < 1e-9 ? `${rounded}%` : `${share.numerator}/${share.denominator}`;
}

/** `all`, `5%` or `10`. A share of everything is `all`. */
export function formatSize(size: Size): string {
  if (size.kind === 'count') return String(size.count);
  return size.kind === 'all' || size.share.numerator === size.share.denominator
    ? 'all'
    : formatShare(size.share);
}
