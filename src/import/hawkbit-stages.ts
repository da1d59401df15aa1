/**
 * hawkBit's deployment groups → stages. A group there is the devices that it adds, a stage here contains the ones before
 * it; and a percentage there is of the targets that no group before it took, as its reference has it, or of all targets,
 * as newer servers count. Which of the two a document means is told by how many targets each group came to, where it
 * says so, else by the sum: only shares of all add up to 100 %.
 */
import type { ImportDesk } from './imported.ts';
import type { JsonPlace } from './json-place.ts';
import { Names, nameFrom } from './names.ts';

type StageFields = Readonly<Record<string, string | number>>;

/** Written for a rollout as a whole where it has no groups of its own. */
export interface Thresholds {
  readonly successThreshold?: string | number;
  readonly errorThreshold?: string | number;
}

export function stagesFrom(groups: readonly JsonPlace[], desk: ImportDesk): StageFields[] {
  const fixed = groups.filter((group) => group.at('dynamic').value !== true);
  for (const group of groups) sayGroup(group, desk);
  const shares = sharesOf(fixed, desk);
  const names = new Names();
  return fixed.map((group, at) => {
    const before = fixed[at - 1];
    // A group that pauses after its success waits for a person, which here is the next stage's to ask for.
    const isAsked = before?.at('successAction', 'action').text?.toUpperCase() === 'PAUSE';
    return {
      name: names.take(nameFrom(group.at('name').text ?? '') ?? `group-${at + 1}`),
      size: at === fixed.length - 1 ? 'all' : percentage(shares[at] ?? 1),
      ...thresholdsOf(group, desk),
      ...(isAsked ? { approvals: 1 } : {}),
    };
  });
}

/** The share of all targets that each group and those before it come to, from 0 to 1. */
function sharesOf(groups: readonly JsonPlace[], desk: ImportDesk): number[] {
  const [first] = groups;
  if (first === undefined || groups.length < 2) return groups.map(() => 1);
  const counts = groups.map((group) => group.at('totalTargets').number ?? 0);
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (counts.every((count) => count > 0)) {
    say('as many targets as each group came to');
    return running(counts.map((count) => count / total));
  }
  const percentages = groups.map((group) =>
    Math.min(100, Math.max(0, group.at('targetPercentage').number ?? 100)),
  );
  const sum = percentages.reduce((all, each) => all + each, 0);
  if (Math.abs(sum - 100) < SUM_TOLERANCE) {
    say('shares of all targets, since they add up to 100 %');
    return running(percentages.map((each) => each / 100));
  }
  say('shares of the targets that are left, since they do not add up to 100 %');
  let taken = 0;
  return percentages.map((each) => {
    taken += ((1 - taken) * each) / 100;
    return taken;
  });

  function say(reading: string): void {
    const why = `group percentages are read as ${reading}; a stage contains the ones before it, so its size is the sum`;
    if (first !== undefined) desk.say('know', first, why, 'look at the sizes of the stages');
  }
}

/** hawkBit's own, for thirds that are written as 33.3. */
const SUM_TOLERANCE = 1;

function running(shares: readonly number[]): number[] {
  let sum = 0;
  return shares.map((share) => {
    sum += share;
    return sum;
  });
}

/** A percentage of ours has at most four decimals, and none is nothing. */
function percentage(share: number): string {
  const percent = Math.min(100, Math.max(0.0001, share * 100));
  return `${Number(percent.toFixed(4))}%`;
}

/** Of a group, or of a rollout that says it for all of its groups. */
export function thresholdsOf(place: JsonPlace, desk: ImportDesk): Thresholds {
  const success = expressionOf(place.at('successCondition'), desk);
  const error = expressionOf(place.at('errorCondition'), desk);
  if (success === 0) {
    const why = 'a success threshold of 0 passes before anything ran; one device must succeed here';
    desk.say('know', place.at('successCondition'), why, 'raise successThreshold');
  }
  return {
    ...(success === undefined ? {} : { successThreshold: success === 0 ? 1 : `${success}%` }),
    // Above 0 % is the first failure.
    ...(error === undefined ? {} : { errorThreshold: error === 0 ? 1 : `${error}%` }),
  };
}

function expressionOf(condition: JsonPlace, desk: ImportDesk): number | undefined {
  const written = condition.at('expression');
  if (written.isNothing) return undefined;
  const percent = Number(written.text ?? written.number);
  const isThreshold = (condition.at('condition').text ?? 'THRESHOLD').toUpperCase() === 'THRESHOLD';
  if (isThreshold && Number.isInteger(percent) && percent >= 0 && percent <= 100) return percent;
  const next = 'say it as successThreshold or errorThreshold of the stage';
  desk.say('act', condition, 'only thresholds of whole percentages are read', next);
  return undefined;
}

function sayGroup(group: JsonPlace, desk: ImportDesk): void {
  if (group.at('dynamic').value === true) {
    desk.say(
      'know',
      group,
      'dynamic groups take in devices that join later; here they get known-good as soon as they join',
      'nothing',
    );
  }
  if ((group.at('targetFilterQuery').text ?? '') !== '') {
    desk.say(
      'act',
      group.at('targetFilterQuery'),
      'a stage takes devices by number, not by a query of its own',
      'make a rollout of its own for them, with a larger priority, or let the stage be stratified by a tag: stratifyBy',
    );
  }
  if (group.at('confirmationRequired').value === true) {
    const next = 'let the device ask its user before it installs';
    desk.say(
      'act',
      group.at('confirmationRequired'),
      'consent of the user at the device is not asked for',
      next,
    );
  }
}
