/** What is known of a rule apart from how it is looked for: what people read when they have broken it. */
import type { Kind } from '../kinds.ts';

export type Severity = 'error' | 'warning';

/**
 * What a broken rule does. `error`: a document cannot be used as it is. `policy`: it can, and goes wrong in practice.
 * `advice`: worth a look.
 */
export type RuleClass = 'error' | 'policy' | 'advice';

/**
 * What must be at hand to look: the documents; a working folder with its history; the fleet, or what became of earlier
 * rollouts; a server that reconciles.
 */
export type RuleSource = 'documents' | 'folder' | 'fleet' | 'server';

export interface Rule {
  readonly class: RuleClass;
  readonly source: RuleSource;
  /** About going slowly: `spec.emergency: true` of the rollout says that there is no time for that. */
  readonly isAboutPace?: true;
  /** One sentence: what breaks it. */
  readonly summary: string;
  readonly why: string;
  /** What to do about it, in words that can follow a semicolon: `put the value in quotes`. */
  readonly fix: string;
  /** Absent where the words say it all, or a text cannot show it. */
  readonly example?: Example;
}

export type Example = {
  readonly bad: string;
  readonly good: string;
} & (
  | {
      /** Both are whole files, here. */
      readonly file: string;
    }
  | {
      /** Both are keys of the `spec` of a document of this kind, whose other keys are right. */
      readonly spec: Kind;
    }
);

/** Keeps the rules' own ids as the type of what is given. */
export function defineRules<Id extends string>(
  rules: Readonly<Record<Id, Rule>>,
): Readonly<Record<Id, Rule>> {
  return rules;
}
