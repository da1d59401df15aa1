/** What an imported rollout has that its source does not say. Each of these is told to whoever imports. */

/** Where nobody says who answers for it. */
export const OWNER_UNKNOWN = 'owner-to-be-named';

/** Nothing starts because a description of it was merged: devices may well run it already. */
export const START = 'manual';

/** Gates that need no signal of their own, so that they hold for devices which nobody has taught to report any. */
export const GATES = { unresponsive: { use: 'unresponsive' }, rollbacks: { use: 'rollback-rate' } } as const;

/** For systems that give everything to everyone at once. */
export const STAGES: readonly Readonly<Record<string, string | number>>[] = [
  { name: 'canary', size: '1%', soak: '6h', errorThreshold: 1 },
  { name: 'batch', size: '10%', soak: '1d' },
  { name: 'fleet', size: 'all', soak: '1d' },
];
