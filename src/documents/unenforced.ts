/**
 * What the schemas accept and the reconciler does not act on yet. Whoever writes one of these relies on it, so none
 * is ignored in silence.
 */
import { isKind, nameOf, type Report, type SourceDocument } from './document.ts';
import type { Kind } from './kinds.ts';
import type { Path } from './parse.ts';

const NOT_YET_ENFORCED: readonly {
  readonly kind: Kind;
  readonly path: Path;
}[] = [{ kind: 'Rollout', path: ['spec', 'retries'] }];

export function reportUnenforced(document: SourceDocument, report: Report): void {
  for (const { kind, path } of NOT_YET_ENFORCED) {
    if (!isKind(document, kind)) continue;
    if (valueAt(document.data, path) === undefined) continue;
    const message = `${nameOf(path)} of a ${kind} is not enforced yet and would have no effect; remove it`;
    report({ document, path, key: true }, 'not-yet-enforced', message);
  }
}

function valueAt(data: unknown, path: Path): unknown {
  let value = data;
  for (const step of path) value = (value as Record<string | number, unknown> | undefined)?.[step];
  return value;
}
