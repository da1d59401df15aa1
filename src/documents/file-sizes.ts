/** Files that do not belong into a repository, by their size alone. Documents have a bound of their own. */
import type { SourceFile } from './load.ts';
import type { Problem } from './problem.ts';
import type { RuleId } from './rules.ts';

const MIB = 2 ** 20;

/** From above these on; the largest that is passed counts. */
const LIMITS: readonly { readonly sizeBytes: number; readonly rule: RuleId; readonly what: string }[] = [
  {
    sizeBytes: 100 * MIB,
    rule: 'blob-too-large',
    what: 'and GitHub refuses a push with more than 100 MiB in one file',
  },
  { sizeBytes: 50 * MIB, rule: 'blob-too-large', what: 'and GitHub warns of more than 50 MiB in one file' },
  { sizeBytes: MIB, rule: 'large-file', what: 'which everybody who clones the repository gets, for ever' },
];

export function largeFiles(files: readonly Pick<SourceFile, 'path' | 'sizeBytes'>[]): readonly Problem[] {
  return files.flatMap(({ path, sizeBytes = 0 }): readonly Problem[] => {
    const limit = LIMITS.find((each) => sizeBytes > each.sizeBytes);
    if (limit === undefined || /\.ya?ml$/.test(path)) return [];
    const { rule, what } = limit;
    const message = `the file has ${Math.round(sizeBytes / MIB)} MiB, ${what}; keep it where devices download it: tidegate artifact add prints what a distribution set says of it`;
    return [{ file: path, line: 1, column: 1, rule, severity: 'warning', message }];
  });
}
