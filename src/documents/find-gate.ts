/** A gate by the name that people give it on the command line: a Gate document, a preset, or `ROLLOUT.GATE`. */

import { alphaOf } from '../core/gates/replay.ts';
import type { Gate } from '../core/model/gate.ts';
import type { CommitId, SnapshotId } from '../core/model/ids.ts';
import { isKind, reportInto, type SourceDocument } from './document.ts';
import { normaliseGate } from './gates.ts';
import { loadDesired, type SourceFile } from './load.ts';
import { PRESETS, presetDocument } from './presets.ts';
import { formatProblem, type Problem } from './problem.ts';
import { readDocument } from './read.ts';
import { didYouMean } from './suggest.ts';

/** What a rollout has that says nothing else, and so a gate of no rollout. */
const ALPHA_DEFAULT = 0.05;

/** `alpha`: the gate's own. */
export type FoundGate =
  | { readonly ok: true; readonly gate: Gate; readonly alpha: number }
  | { readonly ok: false; readonly message: string };

/** `place`: where the files are from, for messages. Where a document and a rollout's gate have one name, it is the document. */
export function findGate(files: readonly SourceFile[], name: string, place: string): FoundGate {
  const documents = gateDocuments(files);
  const document = documents.get(name);
  if (document !== undefined) return fromDocument(document);
  const preset = presetDocument('Gate', name);
  if (preset !== undefined) return normalised(preset, []);
  const { desired, problems } = loadDesired(files, { snapshot: '' as SnapshotId, commit: '' as CommitId });
  const gates = new Map<string, FoundGate>();
  for (const rollout of desired?.rollouts.values() ?? []) {
    const alpha = alphaOf(rollout);
    for (const gate of rollout.gates) gates.set(`${rollout.name}.${gate.name}`, { ok: true, gate, alpha });
  }
  const found = gates.get(name);
  if (found !== undefined) return found;
  if (desired === undefined && name.includes('.')) {
    const [first] = problems.filter(({ severity }) => severity === 'error');
    return refuse(
      `the rollouts of ${place} cannot be read${first === undefined ? '' : `: ${formatProblem(first)}`}; tidegate validate shows all that is wrong`,
    );
  }
  const presets = PRESETS.filter(({ kind }) => kind === 'Gate').map((preset) => preset.name);
  const names = [...new Set([...documents.keys(), ...presets, ...gates.keys()])].sort();
  return refuse(
    `${place} has no Gate document "${name}", and no gate of a rollout (ROLLOUT.GATE) of that name; ${didYouMean(name, names)}`,
  );
}

function refuse(message: string): FoundGate {
  return { ok: false, message };
}

/** Every Gate document by its name, valid or not: the first of several, as elsewhere. */
function gateDocuments(files: readonly SourceFile[]): ReadonlyMap<string, SourceFile> {
  const documents = new Map<string, SourceFile>();
  for (const file of files) {
    if (!/^fleet\/.*\.ya?ml$/.test(file.path)) continue;
    const { kind, name } = readDocument(file);
    if (kind === 'Gate' && name !== undefined && !documents.has(name)) documents.set(name, file);
  }
  return documents;
}

function fromDocument(file: SourceFile): FoundGate {
  const { document, findings } = readDocument(file);
  const problems = findings.map((finding) => ({ ...finding, file: file.path }));
  const source = document && { ...document, file: file.path };
  if (source !== undefined && isKind(source, 'Gate')) return normalised(source, problems);
  const [first] = problems;
  return refuse(first === undefined ? `${file.path} is no Gate document; correct it` : formatProblem(first));
}

function normalised(document: SourceDocument<'Gate'>, before: readonly Problem[]): FoundGate {
  const problems = [...before];
  const { file } = document;
  const place = { document, path: ['spec'] };
  const gate = normaliseGate(document.name, document.data.spec, place, reportInto(problems));
  const first = problems.find(({ severity }) => severity === 'error');
  if (gate !== undefined && first === undefined) return { ok: true, gate, alpha: ALPHA_DEFAULT };
  return refuse(first === undefined ? `${file} is no Gate document; correct it` : formatProblem(first));
}
