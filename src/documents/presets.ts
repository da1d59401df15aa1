/**
 * Stage plans and gates that a rollout can name without having them. They are documents like those of a fleet, read and checked in the
 * same way; a fleet's own document of the same kind and name comes first. Their only text is in this folder: what `tidegate preset show`
 * prints is what holds.
 */
import assert from 'node:assert/strict';
import { isKind, type SourceDocument } from './document.ts';
import type { Kind } from './kinds.ts';
import { parseYaml } from './parse.ts';
import { GATE_PRESETS } from './preset-gates.ts';
import { STAGE_PRESETS } from './preset-stages.ts';
import { validate } from './validate.ts';

/** The kinds that have presets, by kind the `spec` of each, by name. */
const SPECS = { StagePlan: STAGE_PRESETS, Gate: GATE_PRESETS } as const;

export type PresetKind = keyof typeof SPECS;

export interface Preset {
  readonly kind: PresetKind;
  readonly name: string;
  /** The whole document. */
  readonly text: string;
}

/** All of them, plans first. No two have one name, of whatever kind. */
export const PRESETS: readonly Preset[] = (Object.keys(SPECS) as PresetKind[]).flatMap((kind) =>
  Object.entries(SPECS[kind]).map(([name, spec]) => ({
    kind,
    name,
    text: `apiVersion: tidegate.dev/v1\nkind: ${kind}\nmetadata:\n  name: ${name}\nspec:${spec}`,
  })),
);

/** The document of a preset, the same object each time; undefined where none has the name. */
export function presetDocument<K extends Kind>(kind: K, name: string): SourceDocument<K> | undefined {
  const preset = PRESETS.find((each) => each.kind === kind && each.name === name);
  if (preset === undefined) return undefined;
  const document = documents.get(preset) ?? read(preset);
  documents.set(preset, document);
  return isKind(document, kind) ? document : undefined;
}

const documents = new Map<Preset, SourceDocument>();

export function isPreset(document: SourceDocument): boolean {
  return document.file.startsWith(FILE);
}

/** What stands for a file: it lies in no repository, so no commit changes it. */
const FILE = 'preset ';

function read({ name, text }: Preset): SourceDocument {
  const parsed = parseYaml(new TextEncoder().encode(text));
  assert(parsed.ok, `the preset ${name} is YAML`);
  const { document, findings } = validate(parsed.yaml);
  assert(document !== undefined, `the preset ${name} is valid: ${JSON.stringify(findings)}`);
  return { ...document, file: FILE + name };
}
