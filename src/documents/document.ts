/** A document that its schema accepts, and the way to speak about its places. */
import type { Kind } from './kinds.ts';
import type { ParsedYaml, Path } from './parse.ts';
import type { Problem } from './problem.ts';
import { type RuleId, severityOf } from './rules.ts';
import type { Document } from './types.generated.ts';

type DocumentOf = { [D in Document as D['kind']]: D };

export interface ParsedDocument<K extends Kind = Kind> {
  readonly kind: K;
  readonly name: string;
  readonly data: DocumentOf[K];
  readonly yaml: ParsedYaml;
}

export interface SourceDocument<K extends Kind = Kind> extends ParsedDocument<K> {
  readonly file: string;
}

/** A value in a document: what problems point at. */
export interface Place {
  readonly document: SourceDocument;
  readonly path: Path;
  /** Points at the key instead of the value. */
  readonly key?: boolean;
  /** Points at this character of a text, counted from 0. */
  readonly offset?: number;
}

/** Files a problem. How grave it is follows from the rule. */
export type Report = (place: Place, rule: RuleId, message: string) => void;

/** Collects what is reported, as grave as a fleet takes it that only warns of policy. */
export function reportInto(problems: Problem[]): Report {
  return ({ document, path, key, offset }, rule, message) => {
    const { yaml, file } = document;
    const position = key === true ? yaml.keyAt(path) : yaml.at(path, offset);
    problems.push({ file, ...position, rule, severity: severityOf(rule, 'warn'), message });
  };
}

export function isKind<K extends Kind>(document: SourceDocument, kind: K): document is SourceDocument<K> {
  return document.kind === kind;
}

/** `spec.stages[0].size`; the root is called the document. */
export function nameOf(path: Path): string {
  if (path.length === 0) return 'the document';
  return path
    .map((step, at) => (typeof step === 'number' ? `[${step}]` : at === 0 ? step : `.${step}`))
    .join('');
}

/** `fleet/rollouts/kiosk.yaml:14:11`, which editors and terminals make a link of. */
export function whereIs({ document, path }: Place): string {
  const { line, column } = document.yaml.at(path);
  return `${document.file}:${line}:${column}`;
}
