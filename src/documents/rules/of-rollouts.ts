/** Rules about how a rollout proceeds: what is allowed, and goes wrong in practice. */
import { defineRules } from './rule.ts';

export const ROLLOUT_RULES = defineRules({
  'no-owner': {
    class: 'error',
    source: 'documents',
    summary: 'A rollout says nobody who answers for it.',
    why: 'When it halts somebody is called and has to decide by a deadline. A halt that is nobody’s stays where it is.',
    fix: 'add spec.owner: a team or a rota that somebody answers for',
    example: {
      spec: 'Rollout',
      bad: 'owner:\n',
      good: 'owner: hvac-oncall\n',
    },
  },
  'placeholder-owner': {
    class: 'policy',
    source: 'documents',
    summary: 'The owner of a rollout or a flag is blank or a placeholder, such as TODO or nobody.',
    why: 'It satisfies the schema and nobody else: when the rollout halts, there is nobody to call.',
    fix: 'write a team or a rota that somebody answers for',
    example: {
      spec: 'Rollout',
      bad: 'owner: TODO\n',
      good: 'owner: hvac-oncall\n',
    },
  },
  'no-gates': {
    class: 'policy',
    source: 'documents',
    summary: 'A rollout has no gates, or one of its stages is judged by none.',
    why: 'Whatever installs then counts as a success, whether or not it works, and the next stage opens.',
    fix: 'say under spec.gates what must hold; a stage without `gates` is judged by all of them',
    example: {
      spec: 'Rollout',
      bad: 'stages:\n- {name: canary, size: 5%, soak: 1h, gates: []}\n- fleet: all\n',
      good: 'stages:\n- {name: canary, size: 5%, soak: 1h}\n- fleet: all\n',
    },
  },
  'one-stage': {
    class: 'policy',
    source: 'documents',
    isAboutPace: true,
    summary: 'A rollout has one stage, which takes every device at once.',
    why: 'A mistake reaches the whole fleet before anybody has seen it, and nothing untouched is left to compare with.',
    fix: 'put a small stage before it; in an emergency say `emergency: true`',
    example: {
      spec: 'Rollout',
      bad: 'stages:\n- everyone: all\n',
      good: 'stages:\n- {name: canary, size: 1%, soak: 24h}\n- everyone: all\n',
    },
  },
  'stage-order': {
    class: 'policy',
    source: 'documents',
    isAboutPace: true,
    summary: 'A stage is larger than one that comes after it.',
    why: 'The first stages are there so that mistakes meet few devices. A larger one before a smaller one has already done the damage that the smaller one would have limited.',
    fix: 'put the smallest stage first',
    example: {
      spec: 'Rollout',
      bad: 'stages:\n- {name: batch, size: 20%, soak: 1h}\n- {name: canary, size: 1%, soak: 1h}\n- fleet: all\n',
      good: 'stages:\n- {name: canary, size: 1%, soak: 1h}\n- {name: batch, size: 20%, soak: 1h}\n- fleet: all\n',
    },
  },
  'no-soak': {
    class: 'advice',
    source: 'documents',
    isAboutPace: true,
    summary: 'A gate looks at what takes time, such as crashes, and no stage before the last gives it any.',
    why: 'The next stage opens as soon as enough devices have reported once. Most faults show hours later, when the fleet has them.',
    fix: 'give the stages a soak, or a bugClass, minExposure, ramp or approvals',
    example: {
      spec: 'Rollout',
      bad: 'gates: {crashes: {use: crash-rate}}\nstages:\n- canary: 1%\n- fleet: all\n',
      good: 'gates: {crashes: {use: crash-rate}}\nstages:\n- {name: canary, size: 1%, soak: 24h}\n- fleet: all\n',
    },
  },
  'never-ends': {
    class: 'advice',
    source: 'documents',
    summary: 'The last stage of a rollout does not take every device that matches.',
    why: 'A rollout ends with a stage of size all. Without one it waits after its last stage, and there is no new known-good to go back to.',
    fix: 'add a last stage of size all; to leave devices out, narrow targetCondition',
    example: {
      spec: 'Rollout',
      bad: 'stages:\n- {name: canary, size: 1%, soak: 24h}\n- {name: half, size: 50%, soak: 24h}\n',
      good: 'stages:\n- {name: canary, size: 1%, soak: 24h}\n- {name: half, size: 50%, soak: 24h}\n- fleet: all\n',
    },
  },
  'threshold-gap': {
    class: 'advice',
    source: 'documents',
    summary: 'The successThreshold and errorThreshold of a stage are more than 100% together.',
    why: 'With failures between the two, too many to pass and too few to halt, the stage decides nothing until stuckAfter pauses it.',
    fix: 'lower errorThreshold to what successThreshold leaves',
    example: {
      spec: 'Rollout',
      bad: 'successThreshold: 99%\nerrorThreshold: 5%\n',
      good: 'successThreshold: 99%\nerrorThreshold: 1%\n',
    },
  },
});
