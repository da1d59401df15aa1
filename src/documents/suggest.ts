/** "Did you mean": the known word that a mistyped one is closest to. */

/** The closest of `words` by edit distance, or undefined where none is close enough to be what was meant. */
export function closest(typed: string, words: Iterable<string>): string | undefined {
  // A third of the letters wrong is a typo; more is another word.
  let nearest = Math.floor(Math.max(3, typed.length) / 3) + 1;
  let found: string | undefined;
  for (const word of words) {
    if (Math.abs(word.length - typed.length) >= nearest) continue;
    const distance = editDistance(typed.toLowerCase(), word.toLowerCase());
    if (distance < nearest) {
      nearest = distance;
      found = word;
    }
  }
  return found;
}

/** The end of a sentence about a name that is not there: `did you mean kiosk?`, or what there is. */
export function didYouMean(typed: string, words: readonly string[]): string {
  const meant = closest(typed, words);
  return meant === undefined ? `there are: ${words.join(', ') || 'none'}` : `did you mean ${meant}?`;
}

/** Levenshtein's distance, with two neighbouring letters swapped counted as one edit. */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min(at(row, j - 1) + 1, at(last, j) + 1, at(last, j - 1) + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        cost = Math.min(cost, at(beforeLast, j - 2) + 1);
      }
      row.push(cost);
    }
    beforeLast = last;
    last = row;
  }
  return at(last, b.length);
}

function at(row: readonly number[], index: number): number {
  return row[index] ?? Number.POSITIVE_INFINITY;
}
