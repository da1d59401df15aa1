/**
 * Whether deltas pay: what full images and deltas move in a year, and what that costs. Every figure is worked out from figures that are
 * shown, rounded as they are shown, so that whoever reads the table can work it out again.
 */

export interface DeltaInput {
  /** At least 1. */
  readonly devices: number;
  readonly updatesPerYear: number;
  /** Of a full image. A kilobyte is 1024 bytes here, and a megabyte 1024 of them. */
  readonly sizeKb: number;
  /** The share of the image that differs from one release to the next, 0 to 1. */
  readonly changedRatio: number;
  /** What a delta has on top of that, as a share of it: its instructions and padding. */
  readonly overheadRatio: number;
  /** The share of downloads that is begun again. */
  readonly retryRatio: number;
  /** Amounts are in one currency. */
  readonly costPerMb: number;
  /** What making deltas costs in a year. */
  readonly toolingPerYear: number;
  /** From this share of a full image on a delta is not worth making, 0 to 1. */
  readonly worthBelowRatio: number;
}

export interface Traffic {
  readonly mbPerDevice: number;
  /** With the downloads that are begun again. */
  readonly mbWithRetries: number;
  readonly mbPerUpdate: number;
  readonly mbPerYear: number;
  readonly costPerYear: number;
}

export interface DeltaSavings {
  readonly full: Traffic;
  readonly delta: Traffic;
  readonly changedKb: number;
  readonly overheadKb: number;
  readonly deltaKb: number;
  /** delta ÷ full, of one download. */
  readonly sizeRatio: number;
  /** 1 − sizeRatio. */
  readonly savedRatio: number;
  /** Of a year, with tooling. */
  readonly deltaCost: number;
  readonly saved: number;
  /** saved ÷ what full images cost. */
  readonly savedCostRatio: number;
  /** saved ÷ what deltas cost: what a year of them returns. */
  readonly returnRatio: number;
  /** With fewer devices tooling costs more than deltas save; undefined where a download saves nothing. */
  readonly breakEvenDevices: number | undefined;
  readonly recommended: 'delta' | 'full';
  readonly because: 'size' | 'cost' | 'saves';
}

const KB_PER_MB = 1024;

export function deltaSavings(input: DeltaInput): DeltaSavings {
  const { sizeKb, changedRatio, overheadRatio, retryRatio } = input;
  const { devices, updatesPerYear, costPerMb, toolingPerYear, worthBelowRatio } = input;
  const changedKb = decimals(sizeKb * changedRatio, 2);
  const overheadKb = decimals(changedKb * overheadRatio, 2);
  const deltaKb = decimals(changedKb + overheadKb, 2);
  const full = trafficFor(decimals(sizeKb / KB_PER_MB, 3), input);
  // A device downloads whole kilobytes.
  const delta = trafficFor(decimals(Math.ceil(deltaKb) / KB_PER_MB, 3), input);
  const sizeRatio = deltaKb / sizeKb;
  const deltaCost = delta.costPerYear + toolingPerYear;
  const saved = full.costPerYear - deltaCost;
  const savedPerDevice = (full.mbWithRetries - delta.mbWithRetries) * updatesPerYear * costPerMb;
  // Where nothing costs anything, only the size is left to go by.
  const isLoss = saved < 0 || (saved === 0 && toolingPerYear > 0);
  const verdict = sizeRatio >= worthBelowRatio ? 'size' : isLoss ? 'cost' : 'saves';
  return {
    full,
    delta,
    changedKb,
    overheadKb,
    deltaKb,
    sizeRatio,
    savedRatio: 1 - sizeRatio,
    deltaCost,
    saved,
    savedCostRatio: saved / full.costPerYear,
    returnRatio: saved / deltaCost,
    breakEvenDevices: savedPerDevice > 0 ? Math.ceil(toolingPerYear / savedPerDevice) : undefined,
    recommended: verdict === 'saves' ? 'delta' : 'full',
    because: verdict,
  };

  function trafficFor(mbPerDevice: number, { costPerMb: cost }: DeltaInput): Traffic {
    const mbWithRetries = decimals(mbPerDevice * (1 + retryRatio), 3);
    const mbPerUpdate = decimals(mbWithRetries * devices, 3);
    const mbPerYear = decimals(mbPerUpdate * updatesPerYear, 3);
    return { mbPerDevice, mbWithRetries, mbPerUpdate, mbPerYear, costPerYear: decimals(mbPerYear * cost, 2) };
  }
}

/** Half up, as people round; a value that is a hair below a half only because of its binary form counts as the half. */
function decimals(value: number, places: number): number {
  const factor = 10 ** places;
  return Math.round(value * factor * (1 + Number.EPSILON)) / factor;
}
