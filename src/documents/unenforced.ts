/**
 * What the schemas accept and the reconciler does not act on yet. Whoever writes one of these relies on it, so none
 * is ignored in silence: an error where relying on it is unsafe, else a warning.
 */
import { isKind, nameOf, type Report, type SourceDocument } from './document.ts';
import type { Kind } from './kinds.ts';
import type { Path } from './parse.ts';
import type { Severity } from './problem.ts';

const NOT_YET_ENFORCED: readonly {
  readonly kind: Kind;
  readonly path: Path;
  /** Only this value has no effect; absent: every value. */
  readonly value?: unknown;
  readonly severity: Severity;
}[] = [
  { kind: 'Rollout', path: ['spec', 'retries'], severity: 'warning' },
  { kind: 'Fleet', path: ['spec', 'policy'], value: 'enforce', severity: 'warning' },
];

export function reportUnenforced(document: SourceDocument, report: Report): void {
  for (const { kind, path, value, severity } of NOT_YET_ENFORCED) {
    if (!isKind(document, kind)) continue;
    const found = valueAt(document.data, path);
    if (found === undefined || (value !== undefined && found !== value)) continue;
    const what = value === undefined ? nameOf(path) : `${nameOf(path)}: ${value}`;
    const message = `${what} of a ${kind} is not enforced yet and would have no effect; remove it`;
    report({ document, path, key: true }, 'not-yet-enforced', message, severity);
  }
}

function valueAt(data: unknown, path: Path): unknown {
  let value = data;
  for (const step of path) value = (value as Record<string | number, unknown> | undefined)?.[step];
  return value;
}
