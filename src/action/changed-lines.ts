/** The lines that a pull request changes, as native git tells them: a problem there is the author's to mend. */
import { personGit } from '../fleet-repo/person-git.ts';
import type { LineRange } from '../proposal/workflow-commands.ts';

const GIT_MS_MAX = 60_000;

/** By file below `root`, in the numbers of the newer side; undefined where git cannot tell. */
export async function changedLines(
  root: string,
  base: string,
  env: Readonly<Record<string, string | undefined>>,
): Promise<ReadonlyMap<string, readonly LineRange[]> | undefined> {
  const git = await personGit(root, { env, mayAsk: false, signal: AbortSignal.timeout(GIT_MS_MAX) });
  const quiet = ['--no-color', '--no-ext-diff', '--no-textconv', '--no-renames', '--relative'];
  const prefixes = ['--src-prefix=a/', '--dst-prefix=b/'];
  const between = [base, 'HEAD', '--', 'fleet', 'ops', 'trust'];
  const args = ['-c', 'core.quotePath=false', 'diff', '--unified=0', ...quiet, ...prefixes, ...between];
  const told = await git?.(args);
  return told?.isFine === true ? rangesIn(told.out) : undefined;
}

function rangesIn(diff: string): ReadonlyMap<string, readonly LineRange[]> {
  const ranges = new Map<string, LineRange[]>();
  let current: LineRange[] = [];
  for (const line of diff.split('\n')) {
    const [, file] = /^\+\+\+ b\/(.*?)\t?$/.exec(line) ?? [];
    if (file !== undefined) {
      current = [];
      ranges.set(file, current);
    }
    const [, from, count = '1'] = /^@@ -\S+ \+([0-9]+)(?:,([0-9]+))? @@/.exec(line) ?? [];
    const [first, lines] = [Number(from), Number(count)];
    if (from !== undefined && lines > 0) current.push([first, first + lines - 1]);
  }
  return ranges;
}
