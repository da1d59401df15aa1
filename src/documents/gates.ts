/**
 * Gates as people write them → gates. The schema says what each key may be; which keys belong together is said here, so that the message
 * can name the kind of gate that was meant.
 */
import { compileGate } from '../core/gates/expression.ts';
import { NUISANCE_LADDER, SILENCE_LADDER, STANDARD_LADDER, TRIAGE_LADDER } from '../core/gates/severity.ts';
import type * as Model from '../core/model/gate.ts';
import { type DurationMs, parseDuration } from '../core/model/time.ts';
import type { Place, Report } from './document.ts';
import { show, withoutColumn } from './problem.ts';
import { parseShare } from './quantity.ts';
import type { GateEntry, GateRule } from './types.generated.ts';

export const GATE_DEFAULTS = {
  margin: 1.25,
  haltRatio: 2,
  window: '4h',
  every: '1m',
  for: '0s',
} as const;

/** The gate that is written at `place`; undefined where it is none, which is reported. */
export function normaliseGate(
  name: string,
  written: GateEntry,
  place: Place,
  report: Report,
): Model.Gate | undefined {
  if (typeof written === 'string') return expressionGate(name, written, place, report);
  const at = (key: keyof GateRule): Place => ({ ...place, path: [...place.path, key] });
  const kinds = KINDS.filter((kind) => written[kind] !== undefined);
  const [kind, other] = kinds;
  if (kind === undefined) {
    report(place, 'gate', `a gate looks at one of ${KINDS.join(', ')}, found none of them; add one`);
    return undefined;
  }
  if (other !== undefined) {
    report(
      at(other),
      'gate',
      `a gate looks at one thing, found ${kind} and ${other}; make two gates of them`,
    );
    return undefined;
  }
  const allowed = KEYS[kind];
  const strange = (Object.keys(written) as (keyof GateRule)[]).find(
    (key) => key !== kind && !COMMON.has(key) && !allowed.includes(key),
  );
  if (strange !== undefined) {
    const known = allowed.length === 0 ? 'nothing else' : allowed.join(', ');
    report(
      { ...at(strange), key: true },
      'gate',
      `a gate over ${kind} has no ${strange}; it may have ${known}`,
    );
    return undefined;
  }
  const mistake = MISTAKES.find(({ of, is }) => of.includes(kind) && is(written));
  if (mistake !== undefined) {
    report({ ...at(mistake.at), key: true }, 'gate', mistake.message);
    return undefined;
  }
  if (kind === 'expression') return expressionGate(name, written.expression ?? '', at('expression'), report);
  const ladder = ladderOf(written);
  return { ...make(name, kind, written), ...(ladder === undefined ? {} : { ladder }) };
}

function expressionGate(name: string, text: string, place: Place, report: Report): Model.ExpressionGate {
  const compiled = compileGate(text);
  if (!compiled.ok) report({ ...place, offset: compiled.offset }, 'gate', withoutColumn(compiled.message));
  return { name, kind: 'expression', expression: text.trim() };
}

const KINDS = [
  'expression',
  'events',
  'metric',
  'share',
  'observations',
  'prometheus',
  'webhook',
  'approval',
] as const;
type Kind = (typeof KINDS)[number];

const COMMON: ReadonlySet<keyof GateRule> = new Set(['description', 'ladder']);

const KEYS: Readonly<Record<Kind, readonly (keyof GateRule)[]>> = {
  expression: [],
  events: ['rate', 'against', 'method', 'margin', 'haltRatio', 'for'],
  metric: ['mean', 'against', 'method', 'margin', 'haltRatio', 'for', 'worse', 'range'],
  share: ['allowed', 'above', 'drop', 'after'],
  observations: ['above', 'window'],
  prometheus: ['above', 'below', 'for', 'every'],
  webhook: ['every'],
  approval: [],
};

/** What a schema cannot say of keys that are there. */
const MISTAKES: readonly {
  readonly of: readonly Kind[];
  readonly at: keyof GateRule;
  readonly is: (rule: GateRule) => boolean;
  readonly message: string;
}[] = [
  {
    of: ['events', 'metric'],
    at: 'against',
    is: ({ rate, mean, against }) => against !== undefined && (rate !== undefined || mean !== undefined),
    message: 'what is normal is either given as a number or taken from other devices, found both; keep one',
  },
  {
    of: ['events', 'metric'],
    at: 'margin',
    is: ({ method, margin }) => method === 'threshold' && margin !== undefined,
    message: 'margin belongs to method: sequential; a threshold halts at its haltRatio',
  },
  {
    of: ['events', 'metric'],
    at: 'haltRatio',
    is: ({ method, haltRatio }) => method !== 'threshold' && haltRatio !== undefined,
    message: 'haltRatio belongs to method: threshold; add that, or say with margin what is still allowed',
  },
  {
    of: ['events', 'metric'],
    at: 'for',
    is: (rule) => rule.method !== 'threshold' && rule.for !== undefined,
    message:
      'for belongs to method: threshold; sequential gates weigh how long something lasts by themselves',
  },
  {
    of: ['metric'],
    at: 'range',
    is: ({ range = [] }) => (range[0] ?? 0) >= (range[1] ?? 0) && range.length > 0,
    message: 'range gives the smaller number first and then a larger one; correct it',
  },
  {
    of: ['metric'],
    at: 'mean',
    is: ({ mean }) => mean === 0,
    message:
      'of a mean of 0 everything is a multiple; compare with untouched devices (against: control) instead',
  },
  {
    of: ['share'],
    at: 'share',
    is: ({ allowed, above, drop }) =>
      [allowed, above, drop].filter((each) => each !== undefined).length !== 1,
    message:
      'a gate over share has one of allowed (sequential), above or drop (thresholds); give one of them',
  },
  {
    of: ['share'],
    at: 'allowed',
    is: ({ share, allowed }) => share === 'silent' && allowed !== undefined,
    message:
      'the same devices are silent again and again, which allowed does not account for; use above or drop',
  },
  {
    of: ['share'],
    at: 'drop',
    is: ({ share, drop }) => share !== 'silent' && drop !== undefined,
    message: 'untouched devices cannot fail with a revision that they do not have; use allowed or above',
  },
  {
    of: ['share'],
    at: 'after',
    is: (rule) => rule.share !== 'silent' && rule.after !== undefined,
    message: 'after belongs to share: silent; take it away',
  },
  {
    of: ['share'],
    at: 'allowed',
    is: ({ allowed }) => allowed !== undefined && ['0', '1'].includes(String(shareOf(allowed))),
    message: 'allowed is more than 0% and less than 100%; for "any" use above: 0%',
  },
  {
    of: ['share'],
    at: 'above',
    is: ({ above }) => above !== undefined && typeof above !== 'string',
    message: 'above is a percentage of devices here, as in above: 10%',
  },
  {
    of: ['observations', 'prometheus'],
    at: 'above',
    is: ({ above }) => typeof above === 'string',
    message: 'above is a number here, as in above: 100',
  },
  {
    of: ['observations'],
    at: 'observations',
    is: ({ above }) => above === undefined,
    message: 'a gate over observations needs above: more than that within the window halts',
  },
  {
    of: ['prometheus'],
    at: 'prometheus',
    is: ({ above, below }) => (above === undefined) === (below === undefined),
    message: 'a gate over a query has one of above or below; give one of them',
  },
];

function make(name: string, kind: Exclude<Kind, 'expression'>, rule: GateRule): Model.StageGate {
  switch (kind) {
    case 'events':
      return {
        name,
        kind,
        event: rule.events ?? '',
        against: baselineOf(rule, rule.rate),
        method: methodOf(rule),
      };
    case 'metric': {
      const [from, to] = rule.range ?? [];
      return {
        name,
        kind,
        signal: rule.metric ?? '',
        against: baselineOf(rule, rule.mean),
        method: methodOf(rule),
        worse: rule.worse ?? 'higher',
        ...(from === undefined || to === undefined ? {} : { range: { from, to } }),
      };
    }
    case 'share':
      return {
        name,
        kind,
        of: rule.share ?? 'failed',
        limit: limitOf(rule),
        ...(rule.after === undefined ? {} : { afterMs: durationOf(rule.after) }),
      };
    case 'observations':
      return {
        name,
        kind,
        metric: rule.observations ?? '',
        windowMs: durationOf(rule.window ?? GATE_DEFAULTS.window),
        above: Number(rule.above),
      };
    case 'prometheus': {
      const limit: Model.PrometheusGate['limit'] =
        rule.below === undefined
          ? { kind: 'above', value: Number(rule.above) }
          : { kind: 'below', value: rule.below };
      return {
        name,
        kind,
        query: rule.prometheus ?? '',
        limit,
        forMs: durationOf(rule.for ?? GATE_DEFAULTS.for),
        everyMs: durationOf(rule.every ?? GATE_DEFAULTS.every),
      };
    }
    case 'webhook':
      return { name, kind, url: rule.webhook ?? '', everyMs: durationOf(rule.every ?? GATE_DEFAULTS.every) };
    case 'approval':
      return { name, kind, count: rule.approval ?? 1 };
  }
}

function baselineOf({ against }: GateRule, known: number | undefined): Model.Baseline {
  if (known !== undefined) return { kind: 'known', value: known };
  return { kind: against ?? 'control' };
}

function methodOf(rule: GateRule): Model.Method {
  if (rule.method !== 'threshold') return { kind: 'sequential', margin: rule.margin ?? GATE_DEFAULTS.margin };
  return {
    kind: 'threshold',
    haltRatio: rule.haltRatio ?? GATE_DEFAULTS.haltRatio,
    forMs: durationOf(rule.for ?? GATE_DEFAULTS.for),
  };
}

function limitOf({ allowed, above, drop }: GateRule): Model.ShareGate['limit'] {
  if (allowed !== undefined) return { kind: 'allowed', share: shareOf(allowed) };
  if (above !== undefined) return { kind: 'above', share: shareOf(String(above)) };
  if (drop?.points !== undefined) return { kind: 'drop', points: drop.points / 100 };
  return { kind: 'drop', share: shareOf(drop?.share ?? '0%') };
}

const LADDERS = {
  standard: STANDARD_LADDER,
  silence: SILENCE_LADDER,
  triage: TRIAGE_LADDER,
  nuisance: NUISANCE_LADDER,
} as const;

function ladderOf({ ladder }: GateRule): Model.Ladder | undefined {
  if (ladder === undefined) return undefined;
  if (typeof ladder === 'string') return LADDERS[ladder as keyof typeof LADDERS];
  return ladder
    .map(({ from, severity, action, within }) => ({ from, severity, action, withinMs: durationOf(within) }))
    .sort((a, b) => a.from - b.from);
}

function shareOf(text: string): number {
  const share = parseShare(text);
  if (share === undefined) throw new Error(`the schema accepted ${show(text)}, which cannot be read`);
  return share.numerator / share.denominator;
}

function durationOf(text: string): DurationMs {
  const duration = parseDuration(text);
  if (duration === undefined) throw new Error(`the schema accepted ${show(text)}, which cannot be read`);
  return duration;
}
