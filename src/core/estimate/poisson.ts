/** How likely a number of independent incidents is where their mean is known (Poisson). */

/** Above it n! is no double any more, and Stirling's series is as exact as one. */
const FACTORIAL_MAX = 170;

/**
 * P(X ≥ count) for a Poisson X with the mean `mean`; 0 to 1. A `count` between two whole numbers is reached at the next one.
 * `mean` must be finite and not negative. Small chances keep their digits: the smaller tail is the one that is summed.
 */
export function chanceOfAtLeast(count: number, mean: number): number {
  if (!(mean >= 0 && mean < Number.POSITIVE_INFINITY))
    throw new RangeError(`the mean of a Poisson count must be finite and not negative, found ${mean}`);
  const least = Math.ceil(count);
  if (least <= 0) return 1;
  if (mean === 0) return 0;
  // At or below the mean the lower tail is the small one, and what is left of 1 has all the digits.
  return least > mean ? sumFrom(least, mean, 1) : 1 - sumFrom(least - 1, mean, -1);
}

/** Σ P(X = k) from `start` away from the mean, until a term no longer changes the sum. */
function sumFrom(start: number, mean: number, direction: 1 | -1): number {
  let term = Math.exp(start * Math.log(mean) - mean - lnFactorial(start));
  let sum = 0;
  for (let k = start; k >= 0 && sum + term !== sum; k += direction) {
    sum += term;
    term *= direction === 1 ? mean / (k + 1) : k / mean;
  }
  return sum;
}

/** ln n! for a whole n ≥ 0. */
export function lnFactorial(n: number): number {
  if (n > FACTORIAL_MAX)
    return n * Math.log(n) - n + Math.log(2 * Math.PI * n) / 2 + 1 / (12 * n) - 1 / (360 * n ** 3);
  let product = 1;
  for (let factor = 2; factor <= n; factor += 1) product *= factor;
  return Math.log(product);
}
