/** Random numbers that are the same on every run. */
export interface SeededRandom {
  /** From 0 to below 1. */
  uniform(): number;
  /** A Poisson count; `mean` may be 0. */
  poisson(mean: number): number;
}

export function seededRandom(seed: string): SeededRandom {
  let state = 0x9e3779b9;
  for (const character of seed) state = Math.imul(state ^ character.charCodeAt(0), 0x85ebca6b) >>> 0;
  // mulberry32
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    uniform,
    poisson(mean) {
      // Knuth's product, in parts small enough that exp(−mean) is a number.
      let count = 0;
      for (let left = mean; left > 0; left -= 30) {
        const limit = Math.exp(-Math.min(left, 30));
        for (let product = uniform(); product > limit; product *= uniform()) count += 1;
      }
      return count;
    },
  };
}
