/** Follows the branches of a repository on this machine. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { watch as watchFiles } from 'chokidar';
import type { Clock } from '../clock.ts';
import type { DurationMs } from '../core/model/time.ts';
import type { Watcher } from './git.ts';
import { readBranches } from './ref-lock.ts';

/** Native git moves a ref in several steps (lock, log, rename); they are one change. */
const DEBOUNCE_MS = 20;

/**
 * Calls `onChange` when a branch or HEAD differs from last time (HEAD, because a branch that was checked out may be
 * moved once it no longer is). File events only say when to look, so a lost or a superfluous one does no harm.
 */
export async function watchBranches(
  { commonDir, clock, pollMs }: { commonDir: string; clock: Clock; pollMs: DurationMs },
  onChange: () => void,
): Promise<Watcher> {
  const closing = new AbortController();
  let look = new AbortController();
  let seen = await fingerprint(commonDir);

  const files = watchFiles(
    ['refs/heads', 'packed-refs', 'HEAD'].map((name) => join(commonDir, name)),
    { ignoreInitial: true, atomic: false, ignored: (path) => path.endsWith('.lock') },
  );
  files.on('all', () => look.abort());
  // Too many watches, or a network file system: the slow poll goes on.
  files.on('error', () => look.abort());
  await new Promise<void>((resolve) => files.once('ready', resolve));

  async function follow(): Promise<void> {
    while (!closing.signal.aborted) {
      look = new AbortController();
      const now = await fingerprint(commonDir);
      if (now !== seen && !closing.signal.aborted) onChange();
      seen = now;
      await clock.sleep(pollMs, AbortSignal.any([look.signal, closing.signal]));
      if (look.signal.aborted) await clock.sleep(DEBOUNCE_MS, closing.signal);
    }
  }
  const following = follow();

  return {
    look: () => look.abort(),
    async close() {
      closing.abort();
      await files.close();
      await following;
    },
  };
}

/** Equal as long as no branch has moved. A repository that cannot be read is a state too: reading it will say why. */
async function fingerprint(commonDir: string): Promise<string> {
  try {
    const head = await readFile(join(commonDir, 'HEAD'), 'utf8');
    return JSON.stringify([head, Array.from(await readBranches(commonDir)).sort()]);
  } catch (error) {
    return String(error);
  }
}
