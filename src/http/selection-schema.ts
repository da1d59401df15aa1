/** What may be asked of `/api/rollouts/{name}/selection`, as JSON Schema: for the route, and for `/openapi.json` to show. */
import { DEVICE_ID_PATTERN } from '../core/model/ids.ts';
import { SELECTION_LIMITS } from '../core/target/condition.ts';

/** A list that fills a file of the repository, and what JSON adds to it. */
export const SELECTION_BYTES_MAX = SELECTION_LIMITS.sourceLength + 64 * 1024;

export const SELECTION_SCHEMA = {
  type: 'object',
  description: 'an object',
  properties: {
    stage: {
      type: 'string',
      pattern: '^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$',
      description: 'the name of a stage',
    },
    size: { type: 'string', maxLength: 80, description: 'a size such as "10", "5%" or "all"' },
    where: {
      type: 'string',
      minLength: 1,
      maxLength: 4096,
      description: 'a target condition of at most 4096 characters',
    },
    ids: {
      type: 'array',
      minItems: 1,
      maxItems: SELECTION_LIMITS.idsLength,
      items: { type: 'string', pattern: DEVICE_ID_PATTERN.source, description: 'a device id' },
      description: 'device ids',
    },
    seed: {
      type: 'string',
      pattern: '^[!-~]{1,128}$',
      description: '1 to 128 printable characters of ASCII without spaces',
    },
    list: { type: 'boolean', description: 'true or false' },
  },
  required: ['stage', 'size'],
  additionalProperties: false,
} as const;

export interface SelectionBody {
  readonly stage: string;
  readonly size: string;
  readonly where?: string;
  readonly ids?: readonly string[];
  readonly seed?: string;
  readonly list?: boolean;
}
