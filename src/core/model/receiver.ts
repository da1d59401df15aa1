/** Who is told of decisions and deadlines, and of which: the `notifications` of the Fleet document. */

/**
 * What is announced. `concern`: something goes on and is to be looked at. `cohortReturned`: some of the devices went back.
 * `deadline`: one comes near, or has passed.
 */
export const OCCASIONS = [
  'created',
  'approvalNeeded',
  'stageOpened',
  'stagePassed',
  'paused',
  'resumed',
  'succeeded',
  'stopped',
  'superseded',
  'rolledBack',
  'restored',
  'diverged',
  'concern',
  'cohortReturned',
  'deadline',
] as const;
export type Occasion = (typeof OCCASIONS)[number];

/** Unless a receiver chooses: what waits for a person, and how attempts end. */
export const DEFAULT_OCCASIONS: readonly Occasion[] = [
  'approvalNeeded',
  'paused',
  'succeeded',
  'stopped',
  'superseded',
  'rolledBack',
  'diverged',
  'concern',
  'cohortReturned',
  'deadline',
];

export interface Receiver {
  /** `env`: the variable of the server's environment that holds the URL, which is a secret then. */
  readonly address: { readonly url: string } | { readonly env: string };
  readonly format: 'cloudevents' | 'slack';
  readonly on: readonly Occasion[];
}

/** A commit may name these variables of the server's environment and no others. */
export const HOOK_PREFIX = 'TIDEGATE_HOOK_';
