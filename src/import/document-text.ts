/** An imported document as a file of the repository, written as a person would leave it. */
import { posix } from 'node:path';
import { isMap, isSeq, YAMLMap, Document as YamlDocument } from 'yaml';
import { kebabCase } from '../documents/kinds.ts';
import type { ImportedDocument } from './imported.ts';

/** `schemas` is the repository's folder of schemas, if it has one: editors are told of it in the first line. */
export function documentText(document: ImportedDocument, schemas: string | undefined): string {
  const { kind, path, from, metadata, spec } = document;
  const yaml = new YamlDocument({ apiVersion: 'tidegate.dev/v1', kind, metadata, spec });
  const stages = yaml.getIn(['spec', 'stages']);
  // A stage fits in a line, and is compared with the next one more easily there.
  if (isSeq(stages)) for (const stage of stages.items) if (isMap(stage)) stage.flow = true;
  const gates = yaml.getIn(['spec', 'gates']);
  if (gates instanceof YAMLMap) for (const { value } of gates.items) if (isMap(value)) value.flow = true;
  return `${modeline(path, kebabCase(kind), schemas)}# ${oneLine(from)}\n${yaml.toString({ lineWidth: 0, flowCollectionPadding: false, indentSeq: false })}`;
}

function modeline(path: string, kind: string, schemas: string | undefined): string {
  if (schemas === undefined) return '';
  const folder = posix.relative(posix.dirname(path), schemas);
  return `# yaml-language-server: $schema=${folder}/${kind}.schema.json\n`;
}

/** What comes from elsewhere and stands in a comment must not end it. */
function oneLine(text: string): string {
  return text.replaceAll(/[^\x20-\x7e\u00a0-\ud7ff\ue000-\ufdcf]+/g, ' ').slice(0, 200);
}
