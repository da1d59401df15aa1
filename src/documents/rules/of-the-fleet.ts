/** Rules that need to know the fleet, or what became of earlier rollouts: docs/planning.md says where that is known from. */
import { defineRules } from './rule.ts';

export const FLEET_RULES = defineRules({
  'weak-canary': {
    class: 'policy',
    source: 'fleet',
    isAboutPace: true,
    summary: 'The first stage may lack a part of the fleet, such as a hardware revision or a region.',
    why: 'What fails only on devices that are not in it is found by a later stage, which has many of them. The tags that matter are those in spec.planning.coverTags of the Fleet document.',
    fix: 'add stratifyBy with the tag to the first stage, or make the stage larger',
  },
  'underpowered-stage': {
    class: 'advice',
    source: 'fleet',
    isAboutPace: true,
    summary: 'A stage is too small or too short for its gates over events to see what they guard against.',
    why: 'With few incidents to be expected, four times as many are still few: the stage passes without having seen anything. A threshold that a single incident is beyond halts healthy releases instead.',
    fix: 'make the stage larger or longer, or rely on another gate',
  },
  'empty-stage': {
    class: 'advice',
    source: 'fleet',
    summary: 'A stage takes in nobody: the stages before it have all that its size asks for.',
    why: 'It costs its soak and guards nothing. Mostly a share and a count were mixed, and the fleet is smaller than was thought.',
    fix: 'leave the stage out, or make it larger',
  },
  'ring-size': {
    class: 'advice',
    source: 'fleet',
    summary: 'A ring has more or fewer devices than rings of that name have, or is shorter.',
    why: 'Insiders are 1 to 10 devices for a day, alpha 10 to 100 for three, beta 100 to 1,000 for a week. Whoever reads the name expects that.',
    fix: 'change its size or its soak, or give the stage another name',
  },
  shadowed: {
    class: 'advice',
    source: 'fleet',
    summary: 'Devices that a rollout matches get something else, by a rollout of higher precedence.',
    why: 'A device has one rollout. A condition that was widened over devices of another one does nothing there, and nobody notices.',
    fix: 'raise the priority above that of the other rollout, or narrow one of the conditions',
  },
  'matches-nothing': {
    class: 'advice',
    source: 'fleet',
    summary: 'No device of the fleet matches a rollout.',
    why: 'Mostly a tag or its value is misspelt: a device without the tag matches no comparison with it.',
    fix: 'check the names and values of the tags; allow it where the devices have yet to come',
  },
  'left-with-nothing': {
    class: 'policy',
    source: 'fleet',
    summary: 'Devices that a rollout had are matched by none with the change.',
    why: 'They keep what they run, for as long as they live: no gate looks at them, and no rollback reaches them.',
    fix: 'let a rollout of lower priority match them, or leave them in',
  },
  'no-fallback': {
    class: 'advice',
    source: 'fleet',
    summary: 'Taking back the first attempt of a rollout would leave devices with nothing.',
    why: 'There is no known-good yet to return to, and no rollout of lower priority matches them: they would stay on what failed.',
    fix: 'add a rollout of lower priority with a distribution set that is known to work',
  },
  'quarantined-revision': {
    class: 'policy',
    source: 'fleet',
    summary: 'What a rollout asks for has failed before, or was cancelled, and would not be offered.',
    why: 'A revision that failed is quarantined in every rollout, so that merging it again cannot repeat the damage by mistake.',
    fix: 'install something else, or ask for the same again with tidegate retry',
  },
});
