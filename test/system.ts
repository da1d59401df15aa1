/**
 * System packages that a few tests want. A machine without them runs the others; where TIDEGATE_TEST_SYSTEM is `required`, as in
 * CI, a missing one fails the file that wants it instead of skipping its tests.
 */
import { spawnSync } from 'node:child_process';

/** `isThere`, unless it must be. `what` is what to install. */
export function wanted(isThere: boolean, what: string): boolean {
  if (!isThere && process.env['TIDEGATE_TEST_SYSTEM'] === 'required') {
    throw new Error(`${what} is not on this machine, and TIDEGATE_TEST_SYSTEM says that it must be`);
  }
  if (!isThere) console.warn(`skipped: the tests that want ${what}, which is not on this machine`);
  return isThere;
}

/** Whether all these programs can be started. */
export function hasPrograms(...programs: readonly string[]): boolean {
  const isThere = programs.every((program) => spawnSync(program, ['--version']).error === undefined);
  return wanted(isThere, programs.join(', '));
}
