/**
 * `tidegate select`: devices chosen by hand, as one more stage of a rollout. The server is asked whom the stage would take in, by the code
 * that will open it; what is committed is the stage, and the server takes in the same devices when it opens.
 */
import type { Rollout } from '../core/model/desired.ts';
import type { DeviceId, RolloutName } from '../core/model/ids.ts';
import { sha256Hex } from '../core/model/manifest.ts';
import { isFinished } from '../core/model/outcome.ts';
import { EMERGENCY_STAGE } from '../core/plan/emergency.ts';
import { conditionOn, SELECTION_LIMITS } from '../core/target/condition.ts';
import { formatCount, plural } from '../core/words.ts';
import { setStage, stagesSource } from '../documents/edit-stages.ts';
import { parseSize } from '../documents/quantity.ts';
import { readDocument } from '../documents/read.ts';
import { closest } from '../documents/suggest.ts';
import type { Stage } from '../documents/types.generated.ts';
import { type FileChange, withFiles } from '../fleet-repo/operations.ts';
import { readFiles } from '../git/tree.ts';
import type { SelectionAnswer } from '../http/selection-api.ts';
import type { SelectionBody } from '../http/selection-schema.ts';
import { unknownRollout } from '../reconcile/moot-operations.ts';
import type { Refusal } from '../reconcile/selection.ts';
import { CommandError, type ExitCode } from './errors.ts';
import type { Io } from './io.ts';
import {
  type Change,
  messageOf,
  type OperationOptions,
  operate,
  type Printing,
  printed,
  printText,
  problem,
  refused,
  type View,
} from './operation.ts';
import { hanging, printable, shortOid, wrap } from './output.ts';
import { readIds } from './select-ids.ts';
import { askJson, serverUrl } from './server.ts';

export interface SelectOptions extends OperationOptions {
  readonly rollout: string;
  readonly stage: string;
  readonly group?: string;
  readonly limit?: string;
  readonly ids?: string;
  /** The ids, and nothing else, on the standard output. */
  readonly printIds: boolean;
  readonly server?: string;
}

interface SelectChange extends Change {
  readonly stage: string;
  readonly selection: SelectionAnswer;
}

export async function run(options: SelectOptions, io: Io): Promise<ExitCode> {
  const { limit, group, ids: written } = options;
  if (limit === undefined && group === undefined && written === undefined) {
    throw new CommandError(
      'say which devices: --limit 10, --group NAME, --ids LIST, or some of these: tidegate select --help',
    );
  }
  const size = limit ?? 'all';
  const parsed = parseSize(size);
  if (parsed === undefined || parsed.unit !== 'device' || !/^(all|[0-9]+|[0-9.]+ ?%)$/.test(size)) {
    throw new CommandError(
      `--limit is a number of devices or a share of them, as 10 or 5%, found ${JSON.stringify(size)}`,
    );
  }
  const ids = written === undefined ? undefined : await readIds(written, io);
  if (ids !== undefined && conditionOn(ids).length > LIST_LENGTH_MAX) {
    throw new CommandError(
      `--ids: ${plural(ids.length, 'id')} take more than the 8 MiB that a file may have; give those devices a tag, and choose them by a group`,
    );
  }
  return await operate(options, io, (view) => changeOf(view, options, { size, ids, io }), print);
}

/** What a file may have, less what else is in it. */
const LIST_LENGTH_MAX = SELECTION_LIMITS.sourceLength - 64 * 1024;

/** What was asked for, read. */
interface Asked {
  readonly size: string;
  readonly ids: readonly DeviceId[] | undefined;
  readonly io: Io;
}

async function changeOf(view: View, options: SelectOptions, asked: Asked): Promise<SelectChange> {
  const { git, head } = view;
  const { stage: name, group, reason } = options;
  const rollout = view.rollouts.get(options.rollout as RolloutName);
  if (rollout === undefined) throw refused(unknownRollout(options.rollout as RolloutName, view));
  const file = await fileOf(view, rollout.name);
  const opened = openedIn(view, rollout);
  checkStage(rollout, name, opened);
  const where = group === undefined ? undefined : await groupCondition(view, group);
  const seed = seedFor(view, rollout);
  const { size, ids, io } = asked;
  const selection = await ask({ ...view, opened }, options, io, {
    stage: name,
    size,
    ...(where === undefined ? {} : { where }),
    ...(ids === undefined ? {} : { ids }),
    ...(seed === undefined ? {} : { seed }),
    list: options.printIds,
  });
  // The server may have gone on since the record was read.
  checkStage(rollout, name, selection.opened);
  checkSelection(selection, options);
  const stage = stageOf(name, size, { ids, group });
  const after = setStage(file.before, {
    rollout: rollout.name,
    stage,
    ...(selection.before === undefined ? {} : { before: selection.before }),
    ...(selection.seed === 'given' && seed !== undefined ? { seed } : {}),
  });
  if (after === undefined) {
    throw problem(
      `${file.path} is written so that no stage can be put into it; add it by hand, before ${selection.before ?? 'the end'}: ${JSON.stringify(stage).slice(0, 200)}`,
    );
  }
  const change: FileChange = { ...file, after };
  checkFile(change);
  const devices = plural(selection.devices, 'device');
  return {
    stage: name,
    selection,
    tree: await withFiles(git, head.tree, [change]),
    message: messageOf({
      subject: `Select ${devices} of ${rollout.name} as ${name}`,
      body: [reason, sentenceOf(name, selection)],
      trailers: [
        ['Rollout', rollout.name],
        ['Attempt', selection.attempt],
        ['Stage', name],
      ],
    }),
    files: [change],
    entries: [],
    sign: false,
    warnings: [],
    next: nextOf(rollout, name, selection),
  };
}

/** The file that declares the rollout, and with it the stages. */
async function fileOf(
  { git, head, cache }: View,
  name: RolloutName,
): Promise<{ readonly path: string; readonly before: string }> {
  for (const { path, oid } of await readFiles(git, head.tree, 'fleet/rollouts')) {
    if (!/\.ya?ml$/.test(path)) continue;
    const content = await git.blob(oid);
    const document = readDocument({ content, blob: oid }, cache);
    if (document.kind !== 'Rollout' || document.name !== name) continue;
    const before = new TextDecoder('utf-8', { ignoreBOM: true }).decode(content);
    const source = stagesSource(before);
    if (source === 'list') return { path, before };
    const written =
      source === 'split'
        ? 'a split into groups'
        : `the StagePlan ${typeof source === 'object' ? source.plan : ''}`;
    throw problem(
      `the stages of ${name} are ${written}, which is no list that a stage could be put into; write them into ${path} as spec.stages, and select again`,
    );
  }
  throw problem(`no file below fleet/rollouts declares ${name}; see that ${shortOid(head.oid)} has it`);
}

/** The stages that have opened in the attempt under way, as the record says. */
function openedIn({ outcomes }: View, { name, revision }: Rollout): readonly string[] {
  const latest = outcomes.get(name)?.at(-1);
  if (latest === undefined || isFinished(latest) || latest.revision !== revision) return [];
  return latest.stages.filter(({ slow }) => slow !== true).map((stage) => stage.name);
}

/** A stage that has opened stays as it is, and the one of everybody cannot become one of some. */
function checkStage(rollout: Rollout, name: string, opened: readonly string[]): void {
  const taken = new Set(rollout.stages.map((stage) => stage.name));
  if (name === EMERGENCY_STAGE)
    throw problem(`${name} is the name of the stage that an emergency opens; choose another`);
  if (opened.includes(name)) {
    throw problem(`stage ${name} has opened and stays as it was; --stage ${freeName(name, taken)} is free`);
  }
  const declared = rollout.stages.find((stage) => stage.name === name);
  if (declared?.size.kind === 'all' && declared.where === undefined) {
    throw problem(
      `stage ${name} takes in everybody, and without it ${rollout.name} would never end; --stage ${freeName('ripple', taken)} is free`,
    );
  }
}

/** `ripple-2` after `ripple-1`, or `ripple-2` after `ripple`. */
function freeName(name: string, taken: ReadonlySet<string>): string {
  const [, stem = name, number] = /^(.*?)(?:-([0-9]{1,6}))?$/.exec(name) ?? [];
  for (let next = number === undefined ? 1 : Number(number) + 1; ; next += 1) {
    if (!taken.has(`${stem}-${next}`)) return `${stem}-${next}`;
  }
}

/** The condition of a Group document. */
async function groupCondition({ git, head, cache }: View, name: string): Promise<string> {
  const names: string[] = [];
  for (const { path, oid } of await readFiles(git, head.tree, 'fleet/groups')) {
    if (!/\.ya?ml$/.test(path)) continue;
    const { document } = readDocument({ content: await git.blob(oid), blob: oid }, cache);
    if (document?.kind !== 'Group') continue;
    if (document.name === name)
      return (document.data as { spec: { targetCondition: string } }).spec.targetCondition;
    names.push(document.name);
  }
  const meant = closest(name, names);
  const next =
    meant === undefined ? `groups: ${names.sort().join(', ') || 'none'}` : `did you mean ${meant}?`;
  throw problem(`fleet/groups has no group ${JSON.stringify(name)}; ${next}`);
}

/**
 * What the selection starts from, for a rollout that has neither a seed nor an attempt that drew one: it follows from the
 * commit, so that a dry run and the run after it choose the same.
 */
function seedFor({ head, outcomes }: View, { name, seed }: Rollout): string | undefined {
  if (seed !== undefined || (outcomes.get(name)?.length ?? 0) > 0) return undefined;
  return sha256Hex(`${head.oid}\0${name}`).slice(0, 32);
}

function stageOf(
  name: string,
  size: string,
  { ids, group }: { readonly ids: readonly DeviceId[] | undefined; readonly group: string | undefined },
): Stage {
  const where = ids !== undefined ? conditionOn(ids) : group === undefined ? undefined : { group };
  return {
    name,
    size: /^[0-9]+$/.test(size) ? Number(size) : size,
    ...(where === undefined ? {} : { where }),
    // A share would otherwise include who is in already: the second tenth would be nobody.
    ...(size.endsWith('%') ? { mode: 'incremental' } : {}),
  };
}

const WAIT_MS = 1000;
const WAITS_MAX = 45;

/** Asks the server, once it has read the commit that the command looks at, and knows what the record says. */
async function ask(
  { desired, opened }: Pick<View, 'desired'> & { readonly opened: readonly string[] },
  { rollout, server: written }: SelectOptions,
  io: Io,
  question: SelectionBody,
): Promise<SelectionAnswer> {
  const server = serverUrl(written, io);
  const path = `api/rollouts/${encodeURIComponent(rollout)}/selection`;
  let isTold = false;
  for (let waits = 0; ; waits += 1) {
    const answer = await askJson(io, server, path, question);
    const selection = answer?.body as SelectionAnswer | undefined;
    const isThere =
      selection !== undefined &&
      selection.commit === desired?.commit &&
      opened.every((stage) => selection.opened.includes(stage));
    if (isThere) return selection;
    if (waits === WAITS_MAX) {
      const has = selection === undefined ? `no rollout ${rollout}` : `commit ${shortOid(selection.commit)}`;
      throw new CommandError(
        `the server at ${server.origin} has ${has}, and the newest that is valid here is ${shortOid(desired?.commit ?? '')}; see tidegate status, and that --server and --repo are of one fleet`,
      );
    }
    if (!isTold && io.err.width !== undefined) {
      io.err.lines(['The server has not read the newest commit yet; waiting for it.']);
      isTold = true;
    }
    await io.clock.sleep(WAIT_MS, io.interrupted());
  }
}

const REFUSALS: Readonly<Record<Refusal, string>> = {
  unknown: 'have not enrolled',
  retired: 'are retired',
  notMatching: 'do not match the rollout',
  elsewhere: 'have a rollout of higher precedence',
};

function checkSelection(selection: SelectionAnswer, { rollout, group }: SelectOptions): void {
  const refusals = selection.refused.map(({ because, devices, ids }) => {
    const more = devices > ids.length ? ` and ${formatCount(devices - ids.length)} more` : '';
    const within = because === 'notMatching' && group !== undefined ? ` and the group ${group}` : '';
    return `${formatCount(devices)} ${REFUSALS[because]}${within}: ${ids.join(', ')}${more}`;
  });
  if (refusals.length > 0) {
    throw problem(
      `of the devices in --ids ${refusals.join('; ')}; nothing was changed: take them out, or see tidegate why`,
    );
  }
  if (selection.devices > 0) return;
  const who =
    selection.matching === 0
      ? 'no enrolled device matches'
      : `all ${formatCount(selection.matching)} that match are in an open stage already`;
  throw problem(`there is nobody to select for ${rollout}: ${who}; nothing was changed`);
}

/** A name that is none, or whatever else the schema would refuse. */
function checkFile({ path, before, after }: FileChange): void {
  const findingsOf = (text: string) => readDocument({ content: new TextEncoder().encode(text) }).findings;
  const known = new Set(findingsOf(before ?? '').map(({ message }) => message));
  const brought = findingsOf(after).find(({ message }) => !known.has(message));
  if (brought !== undefined) throw problem(`${path} would not be valid: ${brought.message}`);
}

function sentenceOf(name: string, { devices, matching, before, opened }: SelectionAnswer): string {
  const place = before === undefined ? ', as the last' : `, before stage ${before}`;
  const others = opened.length === 0 ? '' : ', without those in open stages';
  return `Stage ${name} takes in ${formatCount(devices)} of the ${plural(matching, 'device')} that match${others}${place}.`;
}

function nextOf(
  { name, stages }: Rollout,
  stage: string,
  { next, attempt, before, opened }: SelectionAnswer,
): readonly string[] {
  const watch = `tidegate status ${name} shows how it goes, tidegate why DEVICE for each.`;
  if (next)
    return [
      `It opens in attempt ${attempt}, which begins when what is installed changes or tidegate retry asks for it.`,
    ];
  const position = stages.findIndex((each) => each.name === before);
  const earlier = stages.slice(opened.length, position).filter((each) => each.name !== stage);
  const turn =
    earlier.length === 0
      ? 'when the stage before it has passed'
      : `after ${earlier.map((each) => each.name).join(', ')}`;
  const opens = opened.length === 0 && earlier.length === 0 ? 'It opens at once.' : `It opens ${turn}.`;
  return [opens, watch];
}

// What is printed

function print(change: SelectChange, commit: string | undefined, at: Printing): void {
  const { io } = at;
  const options = at.options as SelectOptions;
  const { refused: _none, ...selection } = change.selection;
  if (options.format === 'json') {
    const { operations: _operations, ...common } = printed(change, commit, at);
    io.out.write(`${JSON.stringify({ ...common, stage: change.stage, selection }, null, 2)}\n`);
    return;
  }
  if (options.printIds) {
    io.out.write(`${(selection.ids ?? []).join('\n')}\n`);
    if (commit !== undefined) printText(change, commit, at, io.err);
    return;
  }
  io.out.lines([...wrap(sentenceOf(change.stage, change.selection), io.out), ...tagLines(change, io), '']);
  printText(change, commit, at, io.out);
}

const VALUES_MAX = 8;

/** How many of them there are of each kind. */
function tagLines({ selection }: SelectChange, io: Io): string[] {
  const byTag = Map.groupBy(selection.tags, ({ tag }) => tag);
  const width = Math.max(0, ...[...byTag.keys()].map(({ length }) => length));
  const lines = [...byTag].flatMap(([tag, values]) => {
    const shown = values.slice(0, VALUES_MAX).map(({ value, devices }) => `${value} ${formatCount(devices)}`);
    const more = values.length > VALUES_MAX ? [`and ${values.length - VALUES_MAX} more values`] : [];
    return hanging(printable(tag), printable([...shown, ...more].join(', ')), width, io.out);
  });
  return lines.length === 0 ? [] : ['', ...lines];
}
