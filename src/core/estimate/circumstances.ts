/** Why stages may be shorter than the figures say, or should be longer. Which way, not by how much: that is for people. */

export type Pace = 'shorter' | 'longer';

export const CIRCUMSTANCES = {
  emergency: { pace: 'shorter', words: 'the release mends an emergency' },
  cosmetic: { pace: 'shorter', words: 'the change is cosmetic' },
  extensiveTests: { pace: 'shorter', words: 'it has been tested extensively' },
  strongRollback: { pace: 'shorter', words: 'rollback is strong (quick, automatic, proven)' },
  safetyCritical: { pace: 'longer', words: 'the devices are safety-critical' },
  firstMajor: { pace: 'longer', words: 'it is the first major release' },
  incidentHistory: { pace: 'longer', words: 'earlier releases had incidents' },
  weakRollback: { pace: 'longer', words: 'rollback is weak (slow, manual, untried)' },
} as const satisfies Record<string, { readonly pace: Pace; readonly words: string }>;

export type Circumstance = keyof typeof CIRCUMSTANCES;

/** Every circumstance, in order of the table. */
export const ALL_CIRCUMSTANCES = Object.keys(CIRCUMSTANCES) as readonly Circumstance[];

/** Those that change the pace in one way. */
export function thatMakeIt(pace: Pace, circumstances: readonly Circumstance[]): readonly Circumstance[] {
  return circumstances.filter((each) => CIRCUMSTANCES[each].pace === pace);
}

/** Which way they point together: undefined where there are none, or where they disagree. */
export function paceOf(given: readonly Circumstance[]): Pace | undefined {
  const paces = new Set(given.map((each): Pace => CIRCUMSTANCES[each].pace));
  const [pace] = paces;
  return paces.size === 1 ? pace : undefined;
}
