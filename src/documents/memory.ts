/**
 * What was made of documents, kept for as long as they are: most documents of a snapshot are those of the one before, and
 * only what a change concerns is made anew.
 *
 * Only what was made without a problem is kept. A problem may speak of more than the thing was made of (which other names
 * there are), and whoever has one waits for a person anyway.
 */
import type { Report, SourceDocument } from './document.ts';

/**
 * What was made of the document, or makes it. `inputs` is everything else that it depends on, compared by identity:
 * other documents, or values without parts.
 */
type Memory<T> = (
  document: SourceDocument,
  inputs: readonly unknown[],
  report: Report,
  make: (report: Report) => T,
) => T;

export function createMemory<T>(): Memory<T> {
  const kept = new WeakMap<SourceDocument, { readonly inputs: readonly unknown[]; readonly made: T }>();
  return (document, inputs, report, make) => {
    const known = kept.get(document);
    if (known !== undefined && isSame(known.inputs, inputs)) return known.made;
    let isFine = true;
    const made = make((...problem) => {
      isFine = false;
      report(...problem);
    });
    if (isFine) kept.set(document, { inputs, made });
    else kept.delete(document);
    return made;
  };
}

function isSame(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a.length === b.length && a.every((input, at) => input === b[at]);
}
