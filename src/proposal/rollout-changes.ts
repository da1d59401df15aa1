/**
 * What one snapshot says differently from another, in words: what it means for devices, rollout by rollout. Only what
 * the planner sees counts; a comment that moved is no change.
 */
import { describeGate } from '../core/gates/describe.ts';
import type { DesiredState, Fleet, InstallWindow, Rollout, Stage, Start } from '../core/model/desired.ts';
import { shortRevision } from '../core/model/ids.ts';
import type { Receiver } from '../core/model/receiver.ts';
import { formatDuration, formatInstant } from '../core/model/time.ts';
import { formatShare, formatSize, formatThreshold } from '../core/select/size.ts';
import { compileSelection } from '../core/target/condition.ts';
import { plural } from '../core/words.ts';

export interface RolloutChange {
  readonly rollout: string;
  readonly change: 'added' | 'removed' | 'changed';
  /** One per thing that differs, the weightiest first; a changed rollout has at least one. */
  readonly words: readonly string[];
}

/** In order of name; rollouts that are the same are not mentioned. */
export function rolloutChanges(before: DesiredState, after: DesiredState): readonly RolloutChange[] {
  const names = new Set([...before.rollouts.keys(), ...after.rollouts.keys()]);
  return [...names].sort().flatMap((rollout): RolloutChange[] => {
    const [old, now] = [before.rollouts.get(rollout), after.rollouts.get(rollout)];
    if (old === undefined && now !== undefined) {
      const words = [`installs ${setOf(now)} where ${now.condition}`, `priority ${now.priority}`];
      return [{ rollout, change: 'added', words }];
    }
    if (now === undefined || old === undefined) {
      const words = ['its devices get what the next rollout that matches them says, or keep what they run'];
      return [{ rollout, change: 'removed', words }];
    }
    const words = wordsFor(old, now);
    return words.length === 0 ? [] : [{ rollout, change: 'changed', words }];
  });
}

/** What differs for the fleet as a whole, and for single devices. */
export function fleetChanges(before: DesiredState, after: DesiredState): readonly string[] {
  const ids = new Set([...before.devices.keys(), ...after.devices.keys()]);
  const devices = [...ids].filter((id) => !isSame(before.devices.get(id), after.devices.get(id)));
  return [
    ...differences(FLEET_FIELDS, before.fleet, after.fleet),
    ...(devices.length === 0
      ? []
      : [`what is said of ${plural(devices.length, 'device')}: ${listOf(devices)}`]),
  ];
}

/** How each field is written; leaving one out does not compile. Undefined: it never matters to a device. */
export type Fields<T> = {
  readonly [K in keyof T]-?: readonly [name: string, write: (value: T) => string] | undefined;
};

const FLEET_FIELDS: Fields<Fleet> = {
  name: ['name', ({ name }) => name],
  pollIntervalMs: ['poll interval', ({ pollIntervalMs }) => formatDuration(pollIntervalMs)],
  timezone: ['time zone', ({ timezone }) => timezone],
  require: ['required evidence', ({ require }) => listOf(require)],
  freeze: [
    'freeze',
    ({ freeze }) =>
      freeze === undefined ? 'none' : `until ${formatInstant(freeze.until)} except ${listOf(freeze.except)}`,
  ],
  notifications: [
    'notifications',
    ({ notifications = [] }) => notifications.map(receiverText).join('; ') || 'none',
  ],
  // Plans reckon with it, and devices get nothing of it.
  planning: undefined,
};

function receiverText({ address, format, on }: Receiver): string {
  return `${format} to ${'url' in address ? address.url : address.env} on ${listOf(on)}`;
}

const ROLLOUT_FIELDS: Fields<Rollout> = {
  name: undefined,
  labels: undefined,
  runbook: undefined,
  manifest: undefined,
  revision: undefined,
  gates: undefined,
  stages: undefined,
  condition: ['targets', ({ condition }) => condition],
  priority: ['priority', ({ priority }) => String(priority)],
  suspend: ['suspend', ({ suspend }) => String(suspend)],
  start: ['start', ({ start }) => startText(start)],
  onFailure: ['on failure', ({ onFailure }) => onFailure],
  installWindow: ['install window', ({ installWindow }) => windowText(installWindow)],
  seed: ['seed', ({ seed }) => seed ?? 'drawn'],
  alpha: ['alpha', ({ alpha }) => `${100 * alpha}%`],
  exclude: ['excludes', ({ exclude }) => exclude ?? 'none'],
  owner: ['owner', ({ owner }) => owner],
  evidence: ['evidence', ({ evidence }) => listOf(Object.keys(evidence).sort())],
};

const STAGE_FIELDS: Fields<Stage> = {
  name: undefined,
  size: ['size', ({ size }) => formatSize(size)],
  where: ['where', ({ where }) => (where === undefined ? '*' : compileSelection(where).summary)],
  unit: ['unit', ({ unit }) => unit],
  mode: ['mode', ({ mode }) => mode],
  soakMs: ['soak', ({ soakMs }) => formatDuration(soakMs)],
  soakMaxMs: ['longest soak', ({ soakMs, soakMaxMs = soakMs }) => formatDuration(soakMaxMs)],
  successThreshold: ['success threshold', ({ successThreshold }) => formatThreshold(successThreshold)],
  errorThreshold: ['error threshold', ({ errorThreshold }) => formatThreshold(errorThreshold)],
  minExposureHours: ['exposure', ({ minExposureHours }) => `${minExposureHours}h`],
  approvals: ['approvals', ({ approvals }) => String(approvals)],
  stuckAfterMs: ['stuck after', ({ stuckAfterMs }) => formatDuration(stuckAfterMs)],
  stratifyBy: ['stratified by', ({ stratifyBy }) => listOf(stratifyBy)],
  gates: ['gates', ({ gates }) => listOf(gates)],
  rampMs: ['ramp', ({ rampMs }) => formatDuration(rampMs)],
  holdback: ['holdback', ({ holdback }) => formatShare(holdback)],
};

function wordsFor(before: Rollout, after: Rollout): string[] {
  return [
    ...revisionWords(before, after),
    ...differences(ROLLOUT_FIELDS, before, after),
    ...gateWords(before, after),
    ...stageWords(before.stages, after.stages),
  ];
}

function revisionWords(before: Rollout, after: Rollout): string[] {
  if (before.revision === after.revision) return [];
  if (before.manifest.distributionSet === after.manifest.distributionSet) {
    const revisions = `revision ${shortRevision(before.revision)} → ${shortRevision(after.revision)}`;
    return [`${after.manifest.distributionSet} itself differs: ${revisions}`];
  }
  return [`installs ${setOf(before)} → ${setOf(after)}`];
}

function gateWords(before: Rollout, after: Rollout): string[] {
  const [old, now] = [before, after].map(
    ({ gates }) => new Map(gates.map((gate) => [gate.name, describeGate(gate)])),
  );
  return [...new Set([...(old?.keys() ?? []), ...(now?.keys() ?? [])])].flatMap((name) => {
    const [was, is] = [old?.get(name), now?.get(name)];
    if (was === is) return [];
    if (was === undefined) return [`gate ${name} added: ${is}`];
    return [is === undefined ? `gate ${name} removed` : `gate ${name}: ${was} → ${is}`];
  });
}

function stageWords(before: readonly Stage[], after: readonly Stage[]): string[] {
  const names = (stages: readonly Stage[]) => stages.map(({ name }) => name).join(' → ');
  const words = names(before) === names(after) ? [] : [`stages ${names(before)} became ${names(after)}`];
  for (const stage of after) {
    const old = before.find(({ name }) => name === stage.name);
    if (old === undefined) continue;
    words.push(
      ...differences(STAGE_FIELDS, old, stage).map((difference) => `stage ${stage.name}: ${difference}`),
    );
  }
  return words;
}

export function differences<T>(fields: Fields<T>, before: T, after: T): string[] {
  return (Object.keys(fields) as (keyof T)[]).flatMap((key) => {
    const field = fields[key];
    if (field === undefined) return [];
    const [name, write] = field;
    const [was, is] = [write(before), write(after)];
    return was === is ? [] : [`${name} ${was} → ${is}`];
  });
}

function setOf({ manifest, revision }: Rollout): string {
  return `${manifest.distributionSet} (${shortRevision(revision)})`;
}

function startText(start: Start): string {
  return start.kind === 'at' ? formatInstant(start.at) : start.kind;
}

const LISTED_MAX = 5;

function listOf(names: readonly string[]): string {
  if (names.length === 0) return 'none';
  const more = names.length - LISTED_MAX;
  return names.slice(0, LISTED_MAX).join(', ') + (more > 0 ? ` and ${more} more` : '');
}

/** Both sides come from one loader, which builds equal values with their keys in the same order. */
function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function windowText(window: InstallWindow | undefined): string {
  if (window === undefined) return 'none';
  const { cron, durationMs, timezone } = window;
  const zone =
    timezone === undefined ? "the fleet's" : 'zone' in timezone ? timezone.zone : `tags.${timezone.tag}`;
  return `${cron} for ${formatDuration(durationMs)}, time zone: ${zone}`;
}
