/** What translators make of a value, and whether it is a repository. */
import type { CommitId, SnapshotId } from '../../src/core/model/ids.ts';
import { loadDesired } from '../../src/documents/load.ts';
import { azureDeployments, importAzure } from '../../src/import/azure.ts';
import { documentText } from '../../src/import/document-text.ts';
import { hawkbitObjects, importHawkbit } from '../../src/import/hawkbit.ts';
import type { Imported } from '../../src/import/imported.ts';
import { JsonPlace } from '../../src/import/json-place.ts';

export const NOW = Date.UTC(2026, 0, 1);

export function fromAzure(value: unknown, options: { readonly owner?: string } = { owner: 'us' }): Imported {
  return importAzure(azureDeployments([new JsonPlace(value, 'export.json')]), options);
}

export function fromHawkbit(
  value: unknown,
  options: { readonly owner?: string; readonly mirror?: string } = { mirror: 'https://cdn.example/files' },
): Imported {
  return importHawkbit(hawkbitObjects([new JsonPlace(value, 'export.json')]), { now: NOW, ...options });
}

/** What `tidegate validate` says of a repository with nothing but these documents. */
export function problemsOf({ documents }: Imported): readonly string[] {
  const fleet = {
    kind: 'Fleet',
    name: 'fleet',
    path: 'fleet/fleet.yaml',
    from: '',
    metadata: { name: 'fleet' },
    spec: {},
  } as const;
  const files = [fleet, ...documents].map((document) => ({
    path: document.path,
    content: new TextEncoder().encode(documentText(document, undefined)),
    mode: '100644',
  }));
  const { problems } = loadDesired(files, { snapshot: '' as SnapshotId, commit: '' as CommitId });
  // What goes wrong in practice may be just what was exported; that is for people to see.
  return problems
    .filter(({ severity }) => severity === 'error')
    .map(({ file, line, message }) => `${file}:${line}: ${message}`);
}

// biome-ignore lint/suspicious/noExplicitAny: specs are looked at as a reader of the file would, without our types.
export function specOf(imported: Imported, kind: string, name?: string): any {
  const found = imported.documents.find(
    (each) => each.kind === kind && (name === undefined || each.name === name),
  );
  return found?.spec;
}

/** `<weight> <pointer>`, in order. */
export function saidOf({ notCarried }: Imported): readonly string[] {
  return notCarried.map(({ weight, pointer }) => `${weight} ${pointer}`);
}
