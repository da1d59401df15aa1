/**
 * What people allow in a document, with a reason: `metadata.annotations: {tidegate.dev/allow.<rule>: <why>}` for rules of the
 * classes `policy` and `advice`, and `spec.emergency: true` of a rollout for those about going slowly. What is allowed is
 * taken out of the problems and listed; an allowance that allows nothing is a problem of its own.
 */
import { isKind, type Place, type Report, type SourceDocument } from './document.ts';
import { type Problem, show } from './problem.ts';
import { isRule, RULE_IDS, RULES, type RuleId } from './rules.ts';
import { closest } from './suggest.ts';

const PREFIX = 'tidegate.dev/allow.';

export interface Allowance {
  readonly rule: RuleId;
  readonly reason: string;
  /** The annotation. */
  readonly place: Place;
}

/** What the documents of a snapshot allow. */
export interface Allowances {
  readonly annotations: readonly Allowance[];
  /** The files of rollouts that are an emergency. */
  readonly emergencies: ReadonlySet<string>;
}

export interface AllowedProblem extends Problem {
  /** What the document says why. */
  readonly reason: string;
}

/** The annotations of a document that allow something; what can never be allowed is reported. */
export function allowancesOf(document: SourceDocument, report: Report): readonly Allowance[] {
  const { annotations } = document.data.metadata;
  if (annotations === undefined) return [];
  return Object.entries(annotations).flatMap(([key, reason]): readonly Allowance[] => {
    if (!key.startsWith(PREFIX)) return [];
    const place = { document, path: ['metadata', 'annotations', key], key: true };
    const rule = key.slice(PREFIX.length);
    const refused = whyNotAllowed(rule, reason);
    if (refused !== undefined) report(place, 'unused-allowance', refused);
    return refused === undefined && isRule(rule) ? [{ rule, reason, place }] : [];
  });
}

function whyNotAllowed(rule: string, reason: string): string | undefined {
  if (!isRule(rule)) {
    const meant = closest(rule, RULE_IDS.filter(isAllowable));
    const next = meant === undefined ? 'docs/rules lists all of them' : `did you mean ${PREFIX}${meant}?`;
    return `there is no rule ${show(rule)} to allow; ${next}`;
  }
  if (!isAllowable(rule)) {
    return `${rule} cannot be allowed, only problems of the classes policy and advice can; take the annotation away`;
  }
  if (reason.trim() === '')
    return `allowing ${rule} needs a reason, found an empty text; say why it is right here`;
  return undefined;
}

/** What a server says of the record it says whatever a document may allow. */
function isAllowable(rule: RuleId): boolean {
  return RULES[rule].class !== 'error' && RULES[rule].source !== 'server' && rule !== 'unused-allowance';
}

export interface Sifted {
  readonly problems: readonly Problem[];
  readonly allowed: readonly AllowedProblem[];
  /** The allowances that none of the problems met. */
  readonly unused: readonly Allowance[];
}

/** Takes out what is allowed: an allowance is about the problems of its rule in its own file. */
export function sift(problems: readonly Problem[], { annotations, emergencies }: Allowances): Sifted {
  if (annotations.length === 0 && emergencies.size === 0) return { problems, allowed: [], unused: [] };
  const byKey = new Map(annotations.map((each) => [keyOf(each.place.document, each), each]));
  const used = new Set<Allowance>();
  const kept: Problem[] = [];
  const allowed: AllowedProblem[] = [];
  for (const problem of problems) {
    const allowance = byKey.get(keyOf(problem, problem));
    const isHasty = RULES[problem.rule].isAboutPace === true && emergencies.has(problem.file);
    if (allowance !== undefined) used.add(allowance);
    const reason = allowance?.reason ?? (isHasty ? 'emergency: true' : undefined);
    if (reason === undefined) kept.push(problem);
    else allowed.push({ ...problem, reason });
  }
  return { problems: kept, allowed, unused: annotations.filter((allowance) => !used.has(allowance)) };
}

function keyOf({ file }: { readonly file: string }, { rule }: { readonly rule: RuleId }): string {
  return `${rule} ${file}`;
}

/** What there is to say of an allowance that allows nothing. */
export function reportUnused({ rule, place }: Allowance, report: Report): void {
  const message = `this document breaks no rule ${rule}, so there is nothing to allow; take the annotation away, or it hides the next mistake`;
  report(place, 'unused-allowance', message);
}

export function isEmergency(document: SourceDocument): boolean {
  return isKind(document, 'Rollout') && document.data.spec.emergency === true;
}
