/**
 * What hawkBit's Management API answers → documents: distribution sets with the artifacts of their modules, rollouts with
 * their groups as stages, target filters as groups of ours, targets as a list of devices. Parts of one rollout may lie
 * in several files; they are put together by their ids.
 */
import { formatInstant, type Instant } from '../core/model/time.ts';
import { isPlaceholder } from '../documents/policy.ts';
import {
  type HawkbitKind,
  type HawkbitObject,
  hawkbitObjects,
  idOf,
  link,
  ownerId,
} from './hawkbit-objects.ts';
import { stagesFrom, thresholdsOf } from './hawkbit-stages.ts';
import { importTargets, namesAreIds, type TagNames } from './hawkbit-targets.ts';
import { ImportDesk, type Imported } from './imported.ts';
import type { JsonPlace } from './json-place.ts';
import { Names, nameFrom, versionFrom } from './names.ts';
import { priorities } from './priorities.ts';
import { translateWindow, type Window } from './quartz.ts';
import { GATES, OWNER_UNKNOWN, STAGES, START } from './rollout-defaults.ts';
import { type RsqlOptions, translateRsql } from './rsql.ts';
import { looksSecret } from './secrets.ts';

export { hawkbitObjects };

export interface HawkbitOptions {
  readonly now: Instant;
  /** Who answers for what is imported; otherwise whoever created it. */
  readonly owner?: string;
  /** Where devices get artifacts: the address of a folder. */
  readonly mirror?: string;
}

export function importHawkbit(objects: readonly HawkbitObject[], options: HawkbitOptions): Imported {
  const desk = new ImportDesk();
  const of = (kind: HawkbitKind) => objects.filter((each) => each.kind === kind).map(({ place }) => place);
  const rsql = { nameIsId: namesAreIds(of('target')) };
  const tagNames = importTargets(of('target'), { desk, ...rsql });
  const sets = importSets(
    { sets: of('set'), modules: of('module'), artifacts: of('artifact') },
    { desk, options },
  );
  importFilters(of('filter'), { desk, rsql, tagNames });
  for (const place of of('autoAssignment')) {
    const next = 'a rollout over the same condition does it: devices that join get known-good at once';
    desk.say('act', place, 'distribution sets are not assigned by a filter alone', next);
  }
  const rollouts = of('rollout');
  const actions = of('action');
  sayWindowsOfTheirOwn(actions, desk);
  const ranks = priorities(rollouts.map(rankOf));
  const names = new Names();
  for (const [at, rollout] of rollouts.entries()) {
    const groups = groupsOf(rollout, { groups: of('group'), isOnly: rollouts.length === 1 });
    const context = { desk, options, sets, rsql, tagNames, names };
    importRollout(rollout, { ...context, groups, actions, priority: ranks[at] ?? 1 });
  }
  if (rollouts.length === 0) {
    for (const group of of('group').slice(0, 1)) {
      desk.say('refused', group, 'a group without its rollout says nothing', 'export /rest/v1/rollouts, too');
    }
  }
  return desk.result;
}

interface SetsIn {
  readonly sets: readonly JsonPlace[];
  readonly modules: readonly JsonPlace[];
  readonly artifacts: readonly JsonPlace[];
}

interface Desk {
  readonly desk: ImportDesk;
  readonly options: HawkbitOptions;
}

/** The names of the sets that could be made, by hawkBit's id. */
function importSets(
  { sets, modules, artifacts }: SetsIn,
  { desk, options }: Desk,
): ReadonlyMap<number, string> {
  const made = new Map<number, string>();
  const names = new Names();
  const seen = new Set<number>();
  for (const place of sets) {
    const id = idOf(place);
    // Pages overlap where something was added between them.
    if (id !== undefined && seen.has(id)) continue;
    if (id !== undefined) seen.add(id);
    const title = `distribution set ${place.at('name').text ?? ''}:${place.at('version').text ?? ''}`;
    if (place.at('deleted').value === true || place.at('valid').value === false) {
      desk.say('know', place, `the ${title} is deleted or invalidated there`, 'nothing');
      continue;
    }
    const product = nameFrom(place.at('name').text ?? '') ?? 'set';
    const version = versionFrom(place.at('version').text ?? '', 48) ?? '1';
    const written: Record<string, unknown>[] = [];
    const moduleNames = new Names();
    let isWhole = true;
    for (const module of place.at('modules').items) {
      const files = artifactsOf(module, modules, artifacts);
      const result = importModule(module, {
        name: moduleNames.take(nameFrom(module.at('name').text ?? '') ?? 'module'),
        files,
        desk,
        options,
      });
      if (result === undefined) isWhole = false;
      else written.push(result);
    }
    if (!isWhole) {
      const next = 'see what is said of its artifacts, and import again';
      desk.say('refused', place, `the ${title} has an artifact that devices could not get or verify`, next);
      continue;
    }
    if (place.at('requiredMigrationStep').value === true) {
      const next = 'give devices that skipped it a rollout with a larger priority';
      desk.say(
        'act',
        place.at('requiredMigrationStep'),
        'a set that must not be skipped is not known here',
        next,
      );
    }
    const name = names.take(product, `@${version}`);
    if (id !== undefined) made.set(id, name);
    const description = described(place, desk);
    const type = place.at('type').text;
    desk.make('DistributionSet', name, {
      from: title,
      metadata: { name, ...(type === undefined ? {} : { labels: { 'hawkbit-type': type.slice(0, 128) } }) },
      spec: { ...(description === undefined ? {} : { description }), modules: written },
    });
  }
  return made;
}

function described(place: JsonPlace, desk: ImportDesk): string | undefined {
  const text = place.at('description').text?.trim() ?? '';
  if (!looksSecret('', text)) return text === '' ? undefined : text.slice(0, 4096);
  const next = 'write it without the secret, and change that secret';
  desk.say('act', place.at('description'), 'the description seems to hold a secret', next);
  return undefined;
}

/** A set names its modules; what belongs to them is asked for by itself, and found by the module's id. */
function artifactsOf(
  module: JsonPlace,
  modules: readonly JsonPlace[],
  artifacts: readonly JsonPlace[],
): readonly JsonPlace[] {
  const id = idOf(module);
  const inside = [module, ...modules.filter((each) => id !== undefined && idOf(each) === id)];
  const found = [
    ...inside.flatMap((each) => each.at('artifacts').items),
    ...artifacts.filter((each) => id !== undefined && ownerId(each, 'softwaremodules') === id),
  ];
  const byId = new Map(found.map((each) => [idOf(each) ?? each.pointer, each]));
  return [...byId.values()].filter((each) => each.at('deleted').value !== true);
}

interface ModuleIn extends Desk {
  readonly name: string;
  readonly files: readonly JsonPlace[];
}

function importModule(
  module: JsonPlace,
  { name, files, desk, options }: ModuleIn,
): Record<string, unknown> | undefined {
  if (files.length === 0) {
    desk.say(
      'act',
      module,
      'no artifacts of this module are in the files, so the set says nothing of what to download',
      `export /rest/v1/softwaremodules/${idOf(module) ?? '{id}'}/artifacts, and import that with it`,
    );
  }
  if (module.at('encrypted').value === true) {
    const next = 'devices must be able to decrypt it as they do now';
    desk.say('act', module.at('encrypted'), 'that an artifact is encrypted is not said here', next);
  }
  const names = new Names();
  const artifacts: Record<string, unknown>[] = [];
  for (const file of files) {
    const artifact = importArtifact(file, { names, desk, options });
    if (artifact === undefined) return undefined;
    artifacts.push(artifact);
  }
  const type = nameFrom(module.at('type').text ?? '')?.replaceAll('.', '-') ?? 'module';
  return {
    name,
    version: versionFrom(module.at('version').text ?? '', 64) ?? '1',
    type: /^[a-z]/.test(type) ? type : `type-${type}`.slice(0, 63),
    ...(artifacts.length === 0 ? {} : { artifacts }),
  };
}

const URL_ALLOWED = /^https?:\/\/[^\s/@]+(?:[/?#]\S*)?$/;

function importArtifact(
  file: JsonPlace,
  { names, desk, options }: Desk & { readonly names: Names },
): Record<string, unknown> | undefined {
  const sha256 = file.at('hashes', 'sha256').text?.toLowerCase() ?? '';
  const sizeBytes = file.at('size').number;
  if (
    !/^[0-9a-f]{64}$/.test(sha256) ||
    sizeBytes === undefined ||
    !Number.isSafeInteger(sizeBytes) ||
    sizeBytes < 0
  ) {
    const next = 'run tidegate artifact add on the file, and write what it prints into the set';
    desk.say(
      'refused',
      file.at('hashes'),
      'devices verify a file by its SHA-256 and its size, and one is missing',
      next,
    );
    return undefined;
  }
  const written = file.at('providedFilename').text ?? 'artifact';
  const name = names.take(
    written.replaceAll(/[^A-Za-z0-9._+-]+/g, '-').replace(/^[^A-Za-z0-9]+/, '') || 'artifact',
  );
  const own = link(file, 'download') ?? link(file, 'download-http') ?? '';
  const url =
    options.mirror === undefined
      ? own
      : `${options.mirror.replace(/\/+$/, '')}/${encodeURIComponent(written)}`;
  if (!URL_ALLOWED.test(url)) {
    const next = 'say with --mirror where devices get artifacts, or keep it with tidegate artifact add';
    desk.say('refused', file, 'nothing says where devices get this file', next);
    return undefined;
  }
  if (options.mirror === undefined) {
    desk.say(
      'act',
      file,
      "the address is that of hawkBit's management, which wants a login and goes when hawkBit does",
      'import with --mirror, or have the server keep files: tidegate artifact add',
    );
  }
  return { name, sha256, sizeBytes, urls: [url] };
}

function importFilters(
  filters: readonly JsonPlace[],
  {
    desk,
    rsql,
    tagNames,
  }: { readonly desk: ImportDesk; readonly rsql: RsqlOptions; readonly tagNames: TagNames },
): void {
  const names = new Names();
  for (const filter of filters) {
    const title = filter.at('name').text ?? '';
    const targetCondition = conditionFrom(filter.at('query'), {
      desk,
      rsql,
      tagNames,
      title: `filter ${title}`,
    });
    if (targetCondition === undefined) continue;
    if (!filter.at('autoAssignDistributionSet').isNothing) {
      const next =
        'a rollout with this group as its condition does it: devices that join get known-good at once';
      desk.say(
        'act',
        filter.at('autoAssignDistributionSet'),
        'sets are not assigned by a filter alone',
        next,
      );
    }
    const name = names.take(nameFrom(title) ?? 'filter');
    desk.make('Group', name, {
      from: `target filter ${title}`,
      metadata: { name },
      spec: { targetCondition },
    });
  }
}

function conditionFrom(
  query: JsonPlace,
  context: {
    readonly desk: ImportDesk;
    readonly rsql: RsqlOptions;
    readonly tagNames: TagNames;
    readonly title: string;
  },
): string | undefined {
  const { desk, rsql, tagNames, title } = context;
  const translated = translateRsql(query.text ?? '', rsql);
  if (!translated.ok) {
    const next = 'change the query there and export again, or write the condition yourself';
    desk.say(
      'refused',
      query,
      `the query of ${title} cannot be a target condition: ${translated.message}`,
      next,
    );
    return undefined;
  }
  const missing = [...translated.tags.keys()].filter((tag) => !tagNames.has(tag));
  if (missing.length > 0) {
    desk.say(
      'act',
      query,
      `devices match by tags that they get from people, not by what they say: ${missing.join(', ')}`,
      'give them these tags at enrolment or in fleet/devices/, or import /rest/v1/targets with attributes',
    );
  }
  return translated.condition;
}

function rankOf(rollout: JsonPlace) {
  return {
    priority: rollout.at('weight').number ?? WEIGHT_ABSENT,
    createdAt: rollout.at('createdAt').number ?? 0,
  };
}

/** What hawkBit takes where a rollout has no weight. */
const WEIGHT_ABSENT = 1000;

function groupsOf(
  rollout: JsonPlace,
  { groups, isOnly }: { readonly groups: readonly JsonPlace[]; readonly isOnly: boolean },
): readonly JsonPlace[] {
  const embedded = rollout.at('groups').items.length > 0 ? rollout.at('groups') : rollout.at('deploygroups');
  if (embedded.items.length > 0) return embedded.items;
  const id = idOf(rollout);
  const own = groups.filter((group) => {
    const owner = ownerId(group, 'rollouts');
    return owner === undefined ? isOnly : owner === id;
  });
  const byId = new Map(own.map((group) => [idOf(group) ?? group.pointer, group]));
  return [...byId.values()].sort((a, b) => (idOf(a) ?? 0) - (idOf(b) ?? 0));
}

interface RolloutIn extends Desk {
  readonly groups: readonly JsonPlace[];
  readonly actions: readonly JsonPlace[];
  readonly sets: ReadonlyMap<number, string>;
  readonly rsql: RsqlOptions;
  readonly tagNames: TagNames;
  readonly names: Names;
  readonly priority: number;
}

function importRollout(rollout: JsonPlace, context: RolloutIn): void {
  const { desk, options, groups, sets, priority } = context;
  const title = `rollout ${rollout.at('name').text ?? ''}`;
  if (rollout.at('deleted').value === true) {
    desk.say('know', rollout, `the ${title} is deleted there`, 'nothing');
    return;
  }
  const setId = rollout.at('distributionSetId').number ?? -1;
  const distributionSet = sets.get(setId);
  const targetCondition = conditionFrom(rollout.at('targetFilterQuery'), { ...context, title });
  if (distributionSet === undefined) {
    const next = `export /rest/v1/distributionsets/${setId} and the artifacts of its modules, and import them with it`;
    desk.say('refused', rollout.at('distributionSetId'), `the set of the ${title} was not made`, next);
  }
  if (rollout.at('type').text === 'downloadonly') {
    desk.say(
      'refused',
      rollout.at('type'),
      `the ${title} only downloads, and a rollout here installs`,
      'write it yourself, with an install window in the future if devices are to fetch first',
    );
    return;
  }
  if (distributionSet === undefined || targetCondition === undefined) return;
  if (rollout.at('weight').number !== priority) {
    const why = `the priority is ${priority} here: it is positive, ${WEIGHT_ABSENT} where there was no weight, and no two are equal`;
    desk.say('know', rollout.at('weight'), why, 'nothing, the order is the same');
  }
  const name = context.names.take(nameFrom(rollout.at('name').text ?? '') ?? 'rollout');
  const description = described(rollout, desk);
  const installWindow = windowOf(rollout, context);
  sayType(rollout, desk);
  desk.make('Rollout', name, {
    from: title,
    metadata: { name, ...(description === undefined ? {} : { annotations: { description } }) },
    spec: {
      owner: ownerOf(rollout, context),
      distributionSet,
      targetCondition,
      priority,
      ...beginning(rollout, { desk, options }),
      gates: GATES,
      ...stagesOf(rollout, groups, desk),
      ...(installWindow === undefined ? {} : { installWindow }),
      onFailure: 'pause',
    },
  });
  desk.say(
    'know',
    rollout,
    'an error threshold halts above its share there and at it here, so one failure earlier; gates were added that need no signals',
    'raise errorThreshold where it is to be later',
  );
}

function ownerOf(rollout: JsonPlace, { desk, options }: Desk): string {
  const owner = options.owner ?? rollout.at('createdBy').text?.slice(0, 128);
  if (owner !== undefined && !isPlaceholder(owner)) return owner;
  desk.say(
    'act',
    rollout.at('createdBy'),
    'nothing says who answers for it',
    'set spec.owner, or import with --owner',
  );
  return OWNER_UNKNOWN;
}

/** What was to start later starts then; everything else waits for a commit. */
function beginning(rollout: JsonPlace, { desk, options }: Desk): Record<string, unknown> {
  const status = rollout.at('status').text?.toLowerCase() ?? '';
  const startAt = rollout.at('startAt').number;
  const isToCome = startAt !== undefined && startAt > options.now && startAt < YEAR_10000;
  if (isToCome && ['creating', 'ready', 'waiting_for_approval', ''].includes(status)) {
    return { start: formatInstant(startAt) };
  }
  const why =
    'nothing starts because it was imported: devices may run it already, and a stage opens once they are asked again';
  desk.say('know', rollout.at('status'), why, 'set start: onMerge when it may begin');
  return { start: START, ...(SUSPENDED.has(status) ? { suspend: true } : {}) };
}

const SUSPENDED: ReadonlySet<string> = new Set(['paused', 'stopped', 'stopping', 'approval_denied']);
const YEAR_10000 = Date.UTC(10_000, 0, 1);

function stagesOf(
  rollout: JsonPlace,
  groups: readonly JsonPlace[],
  desk: ImportDesk,
): Record<string, unknown> {
  const isWaiting = rollout.at('status').text?.toLowerCase() === 'waiting_for_approval';
  const stages = stagesFrom(groups, desk);
  const [first, ...others] = stages;
  if (first !== undefined && stages.length <= STAGES_MAX) {
    if (others.length === 0) sayOneStage(rollout, desk);
    return { stages: [isWaiting ? { ...first, approvals: 1 } : first, ...others] };
  }
  const count = rollout.at('totalGroups').number ?? rollout.at('amountGroups').number ?? 0;
  const general = thresholdsOf(rollout, desk);
  if (count < 2 || count > STAGES_MAX) {
    desk.say('act', rollout, 'its groups are not in the files; it has stages as a proposal', EXPORT_GROUPS);
    return { stages: STAGES, ...general };
  }
  if (rollout.has('totalGroups')) {
    desk.say(
      'act',
      rollout.at('totalGroups'),
      'its groups are not in the files; they are taken as equally large',
      EXPORT_GROUPS,
    );
  }
  if (isWaiting)
    desk.say('act', rollout.at('status'), 'it waited for an approval', 'give its first stage approvals: 1');
  return { ...general, stages: { split: count } };
}

const EXPORT_GROUPS = 'export /rest/v1/rollouts/{id}/deploygroups, and import it with the rollout';
const STAGES_MAX = 500;

function sayOneStage(rollout: JsonPlace, desk: ImportDesk): void {
  desk.say(
    'act',
    rollout,
    'it has one group, so everything at once',
    'put a canary before it: {name: canary, size: 1%, soak: 6h}',
  );
}

function sayType(rollout: JsonPlace, desk: ImportDesk): void {
  const type = rollout.at('type').text;
  if (type === 'soft') {
    const next = 'let the device ask its user, or give the rollout an install window';
    desk.say(
      'act',
      rollout.at('type'),
      'soft updates, which the device may put off, are not told from others',
      next,
    );
  }
  if (type === 'timeforced') {
    const next = 'give the rollout an install window, and the device its own way to put it off';
    desk.say('act', rollout.at('forcetime'), 'from when on an update is forced is not said here', next);
  }
  const remark = rollout.at('approvalRemark');
  if (!remark.isNothing)
    desk.say('know', remark, 'who approved what is in the history of the repository from now on', 'nothing');
}

/** The rollout's own, or the one that all of its actions have. */
function windowOf(
  rollout: JsonPlace,
  { desk, actions }: Pick<RolloutIn, 'desk' | 'actions'>,
): Window | undefined {
  const id = idOf(rollout);
  const places = [
    rollout,
    ...actions.filter((action) => action.at('rollout').number === id && id !== undefined),
  ]
    .map((place) => place.at('maintenanceWindow'))
    .filter((place) => place.isMapping);
  const [first] = places;
  if (first === undefined) return undefined;
  const texts = new Set(places.map((place) => JSON.stringify(windowIn(place))));
  if (texts.size > 1) {
    const next = 'give devices a tag timezone, or sites a window of their own: fleet/sites/';
    desk.say('act', first, 'devices of this rollout have different windows', next);
    return undefined;
  }
  const translated = translateWindow(windowIn(first));
  if (translated.ok) return translated.window;
  desk.say('act', first, translated.message, 'write installWindow yourself');
  return undefined;
}

function windowIn(place: JsonPlace) {
  return {
    schedule: place.at('schedule').text ?? '',
    duration: place.at('duration').text ?? '',
    timezone: place.at('timezone').text ?? '',
  };
}

function sayWindowsOfTheirOwn(actions: readonly JsonPlace[], desk: ImportDesk): void {
  for (const action of actions) {
    if (action.at('rollout').number !== undefined || !action.at('maintenanceWindow').isMapping) continue;
    const next = 'give the rollout that is to follow an installWindow, or the site one: fleet/sites/';
    desk.say(
      'act',
      action.at('maintenanceWindow'),
      'single assignments do not exist here, and so no window of one',
      next,
    );
  }
}
