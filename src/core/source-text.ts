/**
 * What the languages that people write inside documents have in common: a text compiles, or it has a mistake at some
 * character; and the same few texts are met again at every load and every poll.
 */

/** Leaves a compiler at the first mistake; whoever calls the compiler returns it as a result. */
export class Mistake extends Error {
  override readonly name = 'Mistake';
  /** Characters from the start of the text, from 0. */
  readonly offset: number;
  constructor(offset: number, message: string) {
    super(message);
    this.offset = offset;
  }
}

/** A text with a mistake. The message says the column, which counts from 1. */
export interface Mistaken {
  readonly ok: false;
  readonly message: string;
  readonly offset: number;
}

/** Compiles, and returns a mistake instead of throwing it. Any other error is a bug and passes through. */
export function catchMistake<Compiled>(compile: () => Compiled): Compiled | Mistaken {
  try {
    return compile();
  } catch (error) {
    if (!(error instanceof Mistake)) throw error;
    return { ok: false, message: `column ${error.offset + 1}: ${error.message}`, offset: error.offset };
  }
}

/** More than the rollouts and gates of a large fleet: all of them are asked for again and again. */
const REMEMBERED = 10_000;

/**
 * The function, with the results of the last 10,000 texts at hand (or `kept`, where texts are large), and of up to as many from
 * before them. Two maps, because it is asked many times for every device that is counted, where keeping order at every question is
 * too much.
 */
export function remember<Result extends object>(
  compile: (text: string) => Result,
  kept = REMEMBERED,
): (text: string) => Result {
  let recent = new Map<string, Result>();
  let older = new Map<string, Result>();
  /** A fleet is asked about one condition after another, and most of its devices about the same one. */
  let last: { readonly text: string; readonly result: Result } | undefined;
  return (text) => {
    if (last?.text === text) return last.result;
    const known = recent.get(text);
    if (known !== undefined) {
      last = { text, result: known };
      return known;
    }
    const result = older.get(text) ?? compile(text);
    if (recent.size === kept) {
      older = recent;
      recent = new Map();
    }
    recent.set(text, result);
    return result;
  };
}
