/** What may be posted to `/v1/observations`, as JSON Schemas: for the route, and for `/openapi.json` to show. */
import { METRIC_PATTERN } from '../core/gates/outside.ts';
import { UNIT_LENGTH_MAX } from '../trust/observation-token.ts';
import { STORABLE } from './device-schemas.ts';

export const OBSERVATIONS_MAX = 1000;
/** Sums of numbers below it are exact to a thousandth of a part in a million, however many are added. */
const VALUE_MAX = 1e15;

export const OBSERVATION_SCHEMA = {
  type: 'object',
  description: 'an object',
  properties: {
    metric: {
      type: 'string',
      pattern: METRIC_PATTERN.source,
      description: 'the name of a metric: 1 to 128 letters, digits and _ . - that begin with a letter',
    },
    value: {
      type: 'number',
      minimum: 0,
      maximum: VALUE_MAX,
      description: `a finite number from 0 to ${VALUE_MAX}`,
    },
    at: {
      type: 'string',
      pattern:
        '^[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$',
      description: 'an instant with its time zone (RFC 3339) such as 2026-11-21T08:00:00Z',
    },
    id: {
      type: 'string',
      pattern: '^[ -~]{1,128}$',
      description: '1 to 128 printable characters of ASCII',
    },
    unit: {
      type: 'string',
      minLength: 1,
      maxLength: UNIT_LENGTH_MAX,
      pattern: STORABLE,
      description: `text of at most ${UNIT_LENGTH_MAX} characters`,
    },
  },
  required: ['metric', 'value'],
  additionalProperties: false,
} as const;

const LIST_SCHEMA = {
  type: 'object',
  description: 'an object',
  properties: {
    observations: {
      type: 'array',
      minItems: 1,
      maxItems: OBSERVATIONS_MAX,
      items: OBSERVATION_SCHEMA,
      description: `1 to ${OBSERVATIONS_MAX.toLocaleString('en')} observations`,
    },
  },
  required: ['observations'],
  additionalProperties: false,
} as const;

/** One, or several in a list. Which of the two was meant is seen by the key, so that what is said of a mistake fits. */
export const OBSERVATIONS_SCHEMA = {
  type: 'object',
  description: 'an object',
  if: { type: 'object', required: ['observations'] },
  // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema; nobody awaits it.
  then: LIST_SCHEMA,
  else: OBSERVATION_SCHEMA,
} as const;
