/**
 * Documents → desired state: expands shorthands, fills in defaults, and checks what a schema cannot: that conditions
 * and gate expressions can be read, and that names inside one document fit together.
 */
import { BUG_CLASSES } from '../core/estimate/duration.ts';
import type * as Desired from '../core/model/desired.ts';
import type { DeviceId, Revision, RolloutName } from '../core/model/ids.ts';
import { type Manifest, type Module, revisionOf } from '../core/model/manifest.ts';
import { parseDuration } from '../core/model/time.ts';
import { EMERGENCY_STAGE } from '../core/plan/emergency.ts';
import { parseCondition, parseSelection } from '../core/target/condition.ts';
import type { Stepwise } from '../turns.ts';
import { type Place, type Report, type SourceDocument, whereIs } from './document.ts';
import { normaliseGate } from './gates.ts';
import { checkTimeZone, normaliseWindow, reportSleepers } from './install-window.ts';
import { createMemory } from './memory.ts';
import { receiversOf } from './notifications.ts';
import { planningOf } from './planning.ts';
import { show, withoutColumn } from './problem.ts';
import { parseInstant, parseShare, parseSize, parseThreshold } from './quantity.ts';
import {
  type Index,
  type ResolvedRollout,
  resolveGates,
  resolveWheres,
  type Written,
  whereIn,
} from './references.ts';
import { isSecretName } from './secret-names.ts';
import type { BugClass, DistributionSet, Rollout, Soak, Stage, StageEntry } from './types.generated.ts';

/** What holds where a document does not say. */
export const DEFAULTS = {
  pollInterval: '15m',
  timezone: 'UTC',
  start: 'onMerge',
  onFailure: 'ladder',
  policy: 'warn',
  alpha: '5%',
  moduleStatus: 'running',
  restartPolicy: 'always',
} as const;

/** What holds for a stage that neither says otherwise nor has a rollout that does. */
export const STAGE_DEFAULTS = {
  soak: '0s',
  successThreshold: '95%',
  errorThreshold: '5%',
  minExposure: 0,
  approvals: 0,
  stuckAfter: '3d',
  stratifyBy: [] as readonly string[],
  ramp: '0s',
  holdback: '0%',
} as const;

export function normaliseFleet(
  document: SourceDocument<'Fleet'>,
  index: Index,
  report: Report,
): Desired.Fleet {
  const { metadata, spec } = document.data;
  const notifications = receiversOf(document, report);
  const fleet = {
    name: metadata.name,
    pollIntervalMs: durationOf(spec.pollInterval ?? DEFAULTS.pollInterval),
    timezone: spec.timezone ?? DEFAULTS.timezone,
    require: spec.require ?? [],
    ...(notifications.length === 0 ? {} : { notifications }),
    ...(spec.planning === undefined ? {} : { planning: planningOf(spec.planning) }),
  };
  checkTimeZone(fleet.timezone, { document, path: ['spec', 'timezone'] }, report);
  if (spec.freeze === undefined) return fleet;
  const except = spec.freeze.except ?? [];
  for (const [at, name] of except.entries()) {
    index.follow({ document, path: ['spec', 'freeze', 'except', at] }, 'Rollout', name);
  }
  const until = instantAt({ document, path: ['spec', 'freeze', 'until'] }, spec.freeze.until, report);
  return { ...fleet, freeze: { until, except: except as RolloutName[] } };
}

/** Undefined where a reference leads nowhere, which was reported. */
export function normaliseRollout(resolved: ResolvedRollout, report: Report): Desired.Rollout | undefined {
  const { document, distributionSet, condition, gates, stages } = resolved;
  const inputs = [
    distributionSet,
    condition?.place.document,
    ...gates.map(({ place }) => place.document),
    ...(stages !== undefined && 'list' in stages
      ? [stages.place.document, ...stages.wheres.map((where) => where?.place.document)]
      : [stages?.split]),
  ];
  return rememberRollout(document, inputs, report, (told) => makeRollout(resolved, told));
}

const rememberRollout = createMemory<Desired.Rollout | undefined>();

function makeRollout(resolved: ResolvedRollout, report: Report): Desired.Rollout | undefined {
  const { document, distributionSet, condition } = resolved;
  const { metadata, spec } = document.data;
  if (condition?.place.document === document) checkCondition(condition, report);
  const excluded = spec.exclude;
  if (excluded !== undefined)
    checkCondition({ text: excluded, place: { document, path: ['spec', 'exclude'] } }, report);
  // What is wrong in a document that is shared is said there, once.
  const told = (place: Place): Report => (place.document === document ? report : reportNothing);
  const gates = resolved.gates.flatMap(
    ({ name, rule, place }) => normaliseGate(name, rule, place, told(place)) ?? [],
  );
  const stages = stagesOf(resolved, report);
  const start = startOf(document, report);
  const onFailure = onFailureOf(document, report);
  const installWindow =
    spec.installWindow && normaliseWindow(spec.installWindow, { document, path: WINDOW }, report);
  if (distributionSet === undefined || condition === undefined || stages === undefined) return undefined;

  const { manifest, revision } = releaseOf(distributionSet);
  return {
    name: metadata.name as RolloutName,
    labels: { ...metadata.labels },
    owner: spec.owner,
    ...(spec.runbook === undefined ? {} : { runbook: spec.runbook }),
    manifest,
    revision,
    evidence: { ...distributionSet.data.spec.evidence },
    condition: condition.text.trim(),
    ...(excluded === undefined ? {} : { exclude: excluded.trim() }),
    priority: spec.priority,
    start,
    suspend: spec.suspend ?? false,
    gates,
    alpha: alphaOf(document, report),
    stages,
    onFailure,
    ...(installWindow === undefined ? {} : { installWindow }),
    ...(spec.seed === undefined ? {} : { seed: spec.seed }),
  };
}

const WINDOW = ['spec', 'installWindow'];

/** Warns of a window that devices may miss; a site that polls at its own pace says so in its own document. */
export function checkWindow(
  document: SourceDocument<'Rollout'>,
  { installWindow }: Pick<Desired.Rollout, 'installWindow'>,
  { pollIntervalMs }: Pick<Desired.Fleet, 'pollIntervalMs'>,
  report: Report,
): void {
  const place = { document, path: [...WINDOW, 'duration'] };
  if (installWindow !== undefined) reportSleepers(installWindow, pollIntervalMs, place, report);
}

/** What a distribution set releases, under the name that its content gives it. */
interface Release {
  readonly manifest: Manifest;
  readonly revision: Revision;
}

export function releaseOf(set: SourceDocument<'DistributionSet'>): Release {
  return rememberRelease(set, [], reportNothing, () => {
    const manifest = manifestOf(set.data);
    return { manifest, revision: revisionOf(manifest) };
  });
}

const rememberRelease = createMemory<Release>();
const reportNothing: Report = () => undefined;

/** What devices get of a set: everything that changes what they run, and nothing else. */
function manifestOf({ metadata, spec }: DistributionSet): Manifest {
  const at = metadata.name.lastIndexOf('@');
  return {
    distributionSet: metadata.name,
    product: metadata.name.slice(0, at),
    version: metadata.name.slice(at + 1),
    modules: spec.modules.map(moduleOf),
    ...(spec.routes === undefined ? {} : { routes: { ...spec.routes } }),
  };
}

function moduleOf(module: DistributionSet['spec']['modules'][number]): Module {
  return {
    name: module.name,
    version: module.version,
    type: module.type,
    status: module.status ?? DEFAULTS.moduleStatus,
    restartPolicy: module.restartPolicy ?? DEFAULTS.restartPolicy,
    ...(module.image === undefined ? {} : { image: module.image }),
    ...(module.registryCredential === undefined ? {} : { registryCredential: module.registryCredential }),
    ...(module.env === undefined ? {} : { env: { ...module.env } }),
    ...(module.artifacts === undefined
      ? {}
      : { artifacts: module.artifacts.map((artifact) => ({ ...artifact })) }),
  };
}

/** Names that occur twice in a set, variables that look like secrets, and modules that its type requires and it lacks. */
export function checkDistributionSet(
  document: SourceDocument<'DistributionSet'>,
  fleet: SourceDocument<'Fleet'> | undefined,
  report: Report,
): void {
  const { metadata, spec } = document.data;
  reportRepeated(document, ['spec', 'modules'], spec.modules, report);
  for (const [at, module] of spec.modules.entries()) {
    reportRepeated(document, ['spec', 'modules', at, 'artifacts'], module.artifacts ?? [], report);
    for (const [name, value] of Object.entries(module.env ?? {})) {
      if (!isSecretName(name) || value === '') continue;
      const message = `${name} looks like a secret, and whoever can read the repository, or has a device, can read it; keep it on the devices, and name it here`;
      report({ document, path: ['spec', 'modules', at, 'env', name] }, 'secret-variable', message);
    }
  }
  if (spec.type === undefined || fleet === undefined) return;
  const types = fleet.data.spec.distributionSetTypes ?? {};
  const type = types[spec.type];
  if (type === undefined) {
    const known = Object.keys(types).join(', ') || 'none';
    const message = `spec.type must be one of the distributionSetTypes in ${fleet.file} (${known}), found ${show(spec.type)}; add it there or change it`;
    report({ document, path: ['spec', 'type'] }, 'reference', message);
    return;
  }
  const names = new Set(spec.modules.map(({ name }) => name));
  for (const required of type.requiredModules.filter((name) => !names.has(name))) {
    const message = `the set ${metadata.name} of type ${spec.type} needs the module ${show(required)}, which is missing; add it`;
    report({ document, path: ['spec', 'modules'], key: true }, 'required-module', message);
  }
}

/** Operators' say-so by device. A device in two places would depend on the order of files: that is a problem. */
export function* normaliseDevices(
  documents: readonly SourceDocument<'DeviceList'>[],
  report: Report,
): Stepwise<ReadonlyMap<DeviceId, Desired.DeviceOverride>> {
  const devices = new Map<DeviceId, Desired.DeviceOverride>();
  const places = new Map<string, Place>();
  for (const document of documents) {
    for (const [at, device] of document.data.spec.devices.entries()) {
      const path = ['spec', 'devices', at, 'id'];
      const first = places.get(device.id);
      if (first !== undefined) {
        const message = `the device ${show(device.id)} is in ${whereIs(first)} already; say everything about it in one place`;
        report({ document, path }, 'duplicate-name', message);
        continue;
      }
      places.set(device.id, { document, path });
      const { tags = {}, retired = false, revoked = false } = device;
      devices.set(device.id as DeviceId, { tags: { ...tags }, retired, revoked });
    }
    yield;
  }
  return devices;
}

export function checkCondition({ text, place }: Written, report: Report): void {
  const parsed = parseCondition(text);
  if (!parsed.ok) report({ ...place, offset: parsed.offset }, 'condition', withoutColumn(parsed.message));
}

/** Stages of one name would be one to the outcomes. */
export function checkStageNames(list: readonly StageEntry[], place: Place, report: Report): void {
  const names = list.map((entry) => ({ name: expand(entry).name }));
  reportRepeated(place.document, place.path, names, report);
  const reserved = names.findIndex(({ name }) => name === EMERGENCY_STAGE);
  if (reserved === -1) return;
  const message = `${EMERGENCY_STAGE} is the name of the stage that an emergency opens; give this one another name`;
  report({ ...place, path: [...place.path, reserved] }, 'reserved-name', message);
}

/** The conditions of stages that are written there; those of groups are judged as groups. */
function checkWheres(
  list: readonly StageEntry[],
  { wheres, place }: { readonly wheres: readonly (Written | undefined)[]; readonly place: Place },
  report: Report,
): void {
  for (const [at, where] of wheres.entries()) {
    const entry = list[at];
    if (where === undefined || entry === undefined) continue;
    const parsed = parseSelection(where.text);
    const isHere = where.place.document === place.document;
    if (!parsed.ok) {
      if (isHere)
        report({ ...where.place, offset: parsed.offset }, 'condition', withoutColumn(parsed.message));
      continue;
    }
    const { unit } = expand(entry).size;
    if (unit === 'device' || !parsed.condition.namesDevices) continue;
    const message = `the stage takes in ${unit}s, which enter whole, and its where names devices; choose by tags, or give the size in devices`;
    report({ ...place, path: [...place.path, at, 'where'] }, 'condition', message);
  }
}

/** What is wrong in a stage plan whoever uses it. */
export function checkStagePlan(document: SourceDocument<'StagePlan'>, index: Index, report: Report): void {
  const { stages, gates } = document.data.spec;
  const place = { document, path: ['spec', 'stages'] };
  checkStageNames(stages, place, report);
  const follow: Parameters<typeof resolveGates>[1]['follow'] = (path, kind, name) =>
    index.follow({ document, path }, kind, name);
  checkWheres(stages, { wheres: resolveWheres(stages, place, follow), place }, report);
  if (gates === undefined) return;
  for (const { name, rule, place: written } of resolveGates(document, { follow, report })) {
    if (written.document === document) normaliseGate(name, rule, written, report);
  }
  checkGateNames(stages, place, { gates: Object.keys(gates), of: 'the plan' }, report);
}

/** The gates that stages name must be there. */
function checkGateNames(
  list: readonly StageEntry[],
  place: Place,
  { gates, of }: { readonly gates: readonly string[]; readonly of: string },
  report: Report,
): void {
  for (const [at, entry] of list.entries()) {
    for (const [index, name] of (expand(entry).gates ?? []).entries()) {
      if (gates.includes(name)) continue;
      const message = `the stage names the gate ${show(name)}, which ${of} does not have (it has ${gates.join(', ') || 'none'}); add it there or remove it here`;
      report({ ...place, path: [...place.path, at, 'gates', index] }, 'reference', message);
    }
  }
}

function stagesOf(resolved: ResolvedRollout, report: Report): readonly Desired.Stage[] | undefined {
  const { document, stages } = resolved;
  const { spec } = document.data;
  const gates = resolved.gates.map(({ name }) => name);
  if (stages === undefined) return undefined;
  if ('split' in stages) return split(stages.split).map((entry) => stageOf(entry, spec, { gates }));

  const { list, place, brought, wheres } = stages;
  if (place.document === document) {
    checkStageNames(list, place, report);
    checkWheres(list, { wheres, place }, report);
  }
  // What leads nowhere was reported: a stage without its condition would take in everybody.
  if (list.some((entry, at) => whereIn(entry) !== undefined && wheres[at] === undefined)) return undefined;
  if (brought !== undefined) {
    // The plan was checked by itself; what the rollout adds judges every stage.
    const added = gates.filter((name) => !brought.includes(name));
    return list.map((entry, at) => {
      const stage = expand(entry);
      return stageOf({ ...stage, gates: [...added, ...(stage.gates ?? brought)] }, spec, {
        gates,
        where: wheres[at],
      });
    });
  }
  checkGateNames(
    list,
    place,
    { gates: Object.keys(spec.gates ?? {}), of: `the rollout ${document.name}` },
    report,
  );
  return list.map((entry, at) => stageOf(expand(entry), spec, { gates, where: wheres[at] }));
}

/** Groups of equal size: each stage contains the ones before it, the last one everything. */
function split(groups: number): readonly StageWithSize[] {
  return Array.from({ length: groups }, (_, index) => {
    const share = { numerator: index + 1, denominator: groups };
    const size: Desired.Size = index + 1 === groups ? { kind: 'all' } : { kind: 'share', share };
    return { name: `group-${index + 1}`, size: { size, unit: 'device' } };
  });
}

type StageWithSize = Omit<Stage, 'size'> & {
  readonly size: { readonly size: Desired.Size; readonly unit: string };
};

/** A stage with all of its keys, whichever way it was written. */
function expand(entry: StageEntry): StageWithSize {
  const stage = isFull(entry) ? entry : shorthandOf(entry);
  return { ...stage, size: valid(parseSize(stage.size), stage.size) };
}

function isFull(entry: StageEntry): entry is Stage {
  return 'name' in entry;
}

function shorthandOf(entry: Exclude<StageEntry, Stage>): Stage {
  const [name = '', size = ''] = Object.entries(entry)[0] ?? [];
  return { name, size };
}

/** What a rollout says for stages that do not. */
type StageFallbacks = Pick<Rollout['spec'], 'successThreshold' | 'errorThreshold' | 'bugClass'>;

/** The stages of a plan as they are for a rollout that says nothing of its own. */
export function stagesOfPlan({ data }: SourceDocument<'StagePlan'>): readonly Desired.Stage[] {
  const gates = Object.keys(data.spec.gates ?? {});
  return data.spec.stages.map((entry) => stageOf(expand(entry), {}, { gates }));
}

function stageOf(
  stage: StageWithSize,
  spec: StageFallbacks,
  { gates, where }: { readonly gates: readonly string[]; readonly where?: Written | undefined },
): Desired.Stage {
  const { size, unit } = stage.size;
  const threshold = (key: 'successThreshold' | 'errorThreshold') => {
    const written = stage[key] ?? spec[key] ?? STAGE_DEFAULTS[key];
    return valid(parseThreshold(written), written);
  };
  const holdback = stage.holdback ?? STAGE_DEFAULTS.holdback;
  return {
    name: stage.name,
    size,
    ...(where === undefined ? {} : { where: where.text.trim() }),
    unit,
    mode: stage.mode ?? (size.kind === 'count' ? 'incremental' : 'cumulative'),
    ...soakOf(stage.soak ?? STAGE_DEFAULTS.soak, stage.bugClass ?? spec.bugClass),
    successThreshold: threshold('successThreshold'),
    errorThreshold: threshold('errorThreshold'),
    minExposureHours: stage.minExposure ?? STAGE_DEFAULTS.minExposure,
    approvals: stage.approvals ?? STAGE_DEFAULTS.approvals,
    stuckAfterMs: durationOf(stage.stuckAfter ?? STAGE_DEFAULTS.stuckAfter),
    stratifyBy: stage.stratifyBy ?? STAGE_DEFAULTS.stratifyBy,
    gates: stage.gates ?? gates,
    rampMs: durationOf(stage.ramp ?? STAGE_DEFAULTS.ramp),
    holdback: valid(parseShare(holdback), holdback),
  };
}

/** No shorter than bugs of the class take to show. */
function soakOf(soak: Soak, bugClass: BugClass | undefined): Pick<Desired.Stage, 'soakMs' | 'soakMaxMs'> {
  const leastMs = bugClass === undefined ? 0 : BUG_CLASSES[bugClass].minMs;
  if (typeof soak === 'string') return { soakMs: Math.max(leastMs, durationOf(soak)) };
  const soakMs = Math.max(leastMs, durationOf(soak.min));
  return { soakMs, soakMaxMs: Math.max(soakMs, durationOf(soak.max)) };
}

function alphaOf(document: SourceDocument<'Rollout'>, report: Report): number {
  const written = document.data.spec.alpha ?? DEFAULTS.alpha;
  const { numerator, denominator } = valid(parseShare(written), written);
  const alpha = numerator / denominator;
  if (alpha > 0 && alpha < 1) return alpha;
  const message = `alpha is more than 0% and less than 100%, found ${show(written)}; 5% is usual`;
  report({ document, path: ['spec', 'alpha'] }, 'gate', message);
  return 0.05;
}

function startOf(document: SourceDocument<'Rollout'>, report: Report): Desired.Start {
  const start = document.data.spec.start ?? DEFAULTS.start;
  if (start === true || start === 'onMerge') return { kind: 'onMerge' };
  if (start === false || start === 'manual') return { kind: 'manual' };
  return { kind: 'at', at: instantAt({ document, path: ['spec', 'start'] }, start, report) };
}

function onFailureOf(document: SourceDocument<'Rollout'>, report: Report): Desired.OnFailure {
  const { onFailure, onFail } = document.data.spec;
  if (onFailure !== undefined && onFail !== undefined) {
    const message = 'onFail is another spelling of onFailure, which is there as well; keep onFailure';
    report({ document, path: ['spec', 'onFail'], key: true }, 'schema', message);
  }
  return onFailure ?? onFail ?? DEFAULTS.onFailure;
}

function instantAt(place: Place, text: string, report: Report): number {
  const instant = parseInstant(text);
  if (instant === undefined)
    report(place, 'schema', `there is no such day as ${text.slice(0, 10)}; correct the date`);
  return instant ?? 0;
}

function reportRepeated(
  document: SourceDocument,
  path: Place['path'],
  entries: readonly { readonly name: string }[],
  report: Report,
): void {
  const first = new Map<string, number>();
  for (const [at, { name }] of entries.entries()) {
    const before = first.get(name);
    if (before === undefined) {
      first.set(name, at);
      continue;
    }
    const { line } = document.yaml.at([...path, before]);
    const message = `the name ${show(name)} is taken on line ${line} already; give this one another`;
    report({ document, path: [...path, at, 'name'] }, 'duplicate-name', message);
  }
}

function durationOf(text: string): number {
  return valid(parseDuration(text), text);
}

/** The schemas accept only what the parsers understand; otherwise one of the two is wrong. */
export function valid<T>(parsed: T | undefined, text: string | number): T {
  if (parsed === undefined) throw new Error(`the schema accepted ${show(text)}, which cannot be read`);
  return parsed;
}
