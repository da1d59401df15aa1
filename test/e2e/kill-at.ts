/**
 * Loaded into the server's process before it: ends it with SIGKILL, from inside, as soon as a pass that decides something
 * reaches the step TIDEGATE_KILL_AT (`<step>`, or `<step>+<n>`: the n-th time after the first).
 */
import { subscribe } from 'node:diagnostics_channel';

const [step, skip = '0'] = (process.env['TIDEGATE_KILL_AT'] ?? '').split('+');
let left = Number(skip);

/** These come with every pass or with none of the decisions; the others count where something was decided. */
const WITHOUT_DECISIONS = new Set(['read', 'restored']);

subscribe('tidegate.pass', (message) => {
  const reached = message as { readonly step: string; readonly decisions: readonly unknown[] };
  if (reached.step !== step) return;
  if (reached.decisions.length === 0 && !WITHOUT_DECISIONS.has(step)) return;
  if (left === 0) process.kill(process.pid, 'SIGKILL');
  left -= 1;
});
