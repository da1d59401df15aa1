/**
 * YAML → document: checks a value against the schema of its kind and says what is wrong at the exact place, in one
 * message per place. What documents say of each other is not looked at here.
 */
import { Ajv2020, type ErrorObject, type ValidateFunction } from 'ajv/dist/2020.js';
import { stringify } from 'yaml';
import definitions from '../../schemas/definitions.schema.json' with { type: 'json' };
import deviceList from '../../schemas/device-list.schema.json' with { type: 'json' };
import distributionSet from '../../schemas/distribution-set.schema.json' with { type: 'json' };
import flag from '../../schemas/flag.schema.json' with { type: 'json' };
import fleet from '../../schemas/fleet.schema.json' with { type: 'json' };
import gate from '../../schemas/gate.schema.json' with { type: 'json' };
import group from '../../schemas/group.schema.json' with { type: 'json' };
import operation from '../../schemas/operation.schema.json' with { type: 'json' };
import rollout from '../../schemas/rollout.schema.json' with { type: 'json' };
import site from '../../schemas/site.schema.json' with { type: 'json' };
import stagePlan from '../../schemas/stage-plan.schema.json' with { type: 'json' };
import { nameOf, type ParsedDocument } from './document.ts';
import { KINDS, type Kind } from './kinds.ts';
import type { ParsedYaml, Path } from './parse.ts';
import { type Finding, type Position, show } from './problem.ts';
import type { RuleId } from './rules.ts';
import { closest } from './suggest.ts';

export interface Validation {
  /** What the document says it is, even where it is not valid: others may refer to it. */
  readonly kind?: Kind;
  readonly name?: string;
  /** Absent where there are findings; but operations come without the entries that are wrong. */
  readonly document?: ParsedDocument;
  readonly findings: readonly Finding[];
}

const SCHEMAS: Readonly<Record<Kind, object>> = {
  Fleet: fleet,
  DistributionSet: distributionSet,
  Rollout: rollout,
  StagePlan: stagePlan,
  Gate: gate,
  Flag: flag,
  Group: group,
  Site: site,
  DeviceList: deviceList,
  Operation: operation,
};

// Verbose errors carry the schema that failed: messages are made of its title and examples.
const ajv = new Ajv2020({ allErrors: true, verbose: true, allowUnionTypes: true });
ajv.addSchema(definitions);
const validators = new Map<Kind, ValidateFunction>();

export function validate(yaml: ParsedYaml): Validation {
  const { value } = yaml;
  if (!isMapping(value)) {
    const message = `a document must be a mapping with apiVersion, kind, metadata and spec, found ${show(value)}; ${ELSEWHERE}`;
    return { findings: [finding(yaml.at([]), 'schema', message)] };
  }
  const kind = KINDS.find((candidate) => candidate === value['kind']);
  if (kind === undefined) return { findings: [unknownKind(yaml, value['kind'])] };

  const metadata = value['metadata'];
  const name = isMapping(metadata) && typeof metadata['name'] === 'string' ? metadata['name'] : undefined;
  const claims = { kind, ...(name === undefined ? {} : { name }) };
  const validator = validatorOf(kind);
  // The schema of the kind says that the data has the generated type and that there is a name.
  const documentOf = (data: ParsedDocument['data']) => ({ kind, name: data.metadata.name, data, yaml });
  if (validator(value)) {
    return { ...claims, document: documentOf(value as unknown as ParsedDocument['data']), findings: [] };
  }
  const errors = validator.errors ?? [];
  const findings = explain(errors, yaml);
  const rest = kind === 'Operation' ? withoutWrongEntries(value, errors) : undefined;
  if (rest === undefined || !validator(rest)) return { ...claims, findings };
  return { ...claims, document: documentOf(rest as unknown as ParsedDocument['data']), findings };
}

const OPERATION_ENTRY = /^\/spec\/(operations|learnings)\/([0-9]+)(?:\/|$)/;

/**
 * Operations without the entries that are wrong; undefined where something else is. A mistake in one entry must not keep
 * the pause below it from being obeyed.
 */
function withoutWrongEntries(
  value: Readonly<Record<string, unknown>>,
  errors: readonly ErrorObject[],
): Readonly<Record<string, unknown>> | undefined {
  const spec = value['spec'];
  if (!isMapping(spec)) return undefined;
  const wrong = new Set<unknown>();
  for (const { instancePath } of errors) {
    const [, list, index] = OPERATION_ENTRY.exec(instancePath) ?? [];
    const entries = list === undefined ? undefined : spec[list];
    if (!Array.isArray(entries)) return undefined;
    wrong.add(entries[Number(index)]);
  }
  const kept = Object.entries(spec).map(([key, entries]) => [
    key,
    Array.isArray(entries) ? entries.filter((entry) => !wrong.has(entry)) : entries,
  ]);
  return { ...value, spec: Object.fromEntries(kept) };
}

function validatorOf(kind: Kind): ValidateFunction {
  const known = validators.get(kind);
  if (known !== undefined) return known;
  const validator = ajv.compile(SCHEMAS[kind]);
  validators.set(kind, validator);
  return validator;
}

function unknownKind(yaml: ParsedYaml, found: unknown): Finding {
  const meant = typeof found === 'string' ? closest(found, KINDS) : undefined;
  const next = meant === undefined ? ELSEWHERE : `did you mean ${meant}?`;
  return finding(
    yaml.at(['kind']),
    'schema',
    `kind must be one of ${KINDS.join(', ')}, found ${show(found)}; ${next}`,
  );
}

const ELSEWHERE = 'a file that is no document of a fleet belongs outside of fleet/ and ops/';

/** One finding per place: of several errors about one value, the most telling. */
function explain(errors: readonly ErrorObject[], yaml: ParsedYaml): readonly Finding[] {
  const findings = new Map<string, Finding>();
  const telling = [...errors].sort((a, b) => rank(a) - rank(b));
  for (const error of telling) {
    if (error.keyword === 'if' || error.keyword === 'propertyNames') continue; // what is wrong inside is said by others
    const { about, finding } = explainOne(error, yaml);
    if (!findings.has(about)) findings.set(about, finding);
  }
  return [...findings.values()];
}

function rank(error: ErrorObject): number {
  return error.keyword === 'type' ? 0 : 1;
}

function explainOne(error: ErrorObject, yaml: ParsedYaml): { about: string; finding: Finding } {
  const path = pathOf(error.instancePath, yaml.value);
  const schema = (error.parentSchema ?? {}) as LeafSchema;
  const about = (...more: (string | number)[]) => JSON.stringify([...path, ...more]);

  if (error.keyword === 'additionalProperties') {
    const key = String(error.params['additionalProperty']);
    const known = Object.keys(schema.properties ?? {});
    const meant = closest(key, known);
    const next = meant === undefined ? `it takes ${known.join(', ')}` : `did you mean "${meant}"?`;
    const message = `${nameOf(path)} has no key ${show(key)}; ${next}`;
    return { about: about(key), finding: finding(yaml.keyAt([...path, key]), 'unknown-key', message) };
  }
  if (error.keyword === 'required') {
    const key = String(error.params['missingProperty']);
    const missing = resolve(schema.properties?.[key]);
    const [what] = missing.description?.split(/\.( |$)/) ?? [];
    const message = `${nameOf(path)} needs the key "${key}"${what === undefined ? '' : ` (${lowerFirst(what)})`}${example(key, missing)}`;
    const rule = isOwner([...path, key], yaml) ? 'no-owner' : 'missing-key';
    return { about: about(key), finding: finding(yaml.keyAt(path), rule, message) };
  }
  if (error.propertyName !== undefined) {
    const key = error.propertyName;
    const message = `a key of ${nameOf(path)} must be ${schema.title ?? error.message}, found ${show(key)}`;
    return { about: about(key), finding: finding(yaml.keyAt([...path, key]), 'schema', message) };
  }
  if (error.keyword === 'uniqueItems') {
    const { i, j } = error.params as { i: number; j: number };
    const again = Math.max(i, j);
    const message = `${nameOf([...path, again])} repeats ${nameOf([...path, Math.min(i, j)])}; remove it`;
    return { about: about(again), finding: finding(yaml.at([...path, again]), 'schema', message) };
  }
  const expected = schema.title ?? error.message ?? 'valid';
  const message = `${nameOf(path)} must be ${expected}, found ${show(error.data)}${nextStep(error, schema, path, yaml)}`;
  const isNobody = (error.data === null || error.data === '') && isOwner(path, yaml);
  return { about: about(), finding: finding(yaml.at(path), isNobody ? 'no-owner' : 'schema', message) };
}

/** That nobody answers for a rollout is a rule of its own: people look for it by name. */
function isOwner(path: Path, { value }: ParsedYaml): boolean {
  return isMapping(value) && value['kind'] === 'Rollout' && path.join('.') === 'spec.owner';
}

/** As much of a schema as messages are made of. */
interface LeafSchema {
  readonly $ref?: string;
  readonly title?: string;
  readonly description?: string;
  readonly type?: string | readonly string[];
  readonly pattern?: string;
  readonly enum?: readonly string[];
  readonly const?: string;
  readonly examples?: readonly unknown[];
  readonly properties?: Readonly<Record<string, LeafSchema>>;
}

function nextStep(error: ErrorObject, schema: LeafSchema, path: Path, yaml: ParsedYaml): string {
  const key = path.at(-1);
  if (schema.const !== undefined) return `; write ${key}: ${schema.const}`;
  if (schema.enum !== undefined) {
    const meant = typeof error.data === 'string' ? closest(error.data, schema.enum) : undefined;
    return meant === undefined ? '' : `; did you mean "${meant}"?`;
  }
  // YAML read a number or a truth value where a text was meant: 2.10 would become 2.1.
  const source = yaml.sourceAt(path);
  const readAsText = [schema.type].flat().includes('string') && ![schema.type].flat().includes('integer');
  if (
    readAsText &&
    source &&
    typeof error.data !== 'string' &&
    new RegExp(schema.pattern ?? '').test(source)
  ) {
    return `; put it in quotes: "${source}"`;
  }
  return example(key, schema);
}

function example(key: string | number | undefined, schema: LeafSchema): string {
  const [first] = schema.examples ?? [];
  if (first === undefined) return '';
  const text = stringify(first, {
    collectionStyle: 'flow',
    flowCollectionPadding: false,
    lineWidth: 0,
  }).trim();
  return typeof key === 'string' ? `; for example ${key}: ${text}` : `; for example ${text}`;
}

/** The schema with what its shared definition says, its own words first. */
function resolve(schema: LeafSchema = {}): LeafSchema {
  const name = schema.$ref?.split('/').at(-1);
  const shared: Readonly<Record<string, unknown>> = definitions.$defs;
  return name === undefined ? schema : { ...(shared[name] as LeafSchema), ...schema };
}

/** A JSON pointer as keys and indexes: which of them an index is, the value says. */
function pathOf(pointer: string, root: unknown): Path {
  const path: (string | number)[] = [];
  let value = root;
  for (const part of pointer.split('/').slice(1)) {
    const key = part.replaceAll('~1', '/').replaceAll('~0', '~');
    const step = Array.isArray(value) ? Number(key) : key;
    path.push(step);
    value = (value as Record<string | number, unknown>)[step];
  }
  return path;
}

function finding(position: Position, rule: RuleId, message: string): Finding {
  return { ...position, rule, severity: 'error', message };
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
