/**
 * What devices may send, as JSON Schemas. The API checks bodies by them and `/openapi.json` shows them. Each leaf has a
 * `description` that completes the sentence "expected …".
 */
import { ATTEMPT_STATES, EXPOSURE_HOURS_MAX } from '../core/model/device.ts';
import { DEVICE_ID_PATTERN } from '../core/model/ids.ts';
import { PUBLIC_KEY_PATTERN } from '../trust/signing-key.ts';

const JWS = { type: 'string', maxLength: 12_288, description: 'a compact JWS' };
/** `POST /v1/devices`. */
export const ENROLMENT_SCHEMA = {
  type: 'object',
  description: 'an object',
  properties: {
    publicKey: {
      type: 'string',
      pattern: PUBLIC_KEY_PATTERN.source,
      description: "an Ed25519 public key: base64url of its 32 bytes, a JWK's x",
    },
    id: {
      type: 'string',
      pattern: DEVICE_ID_PATTERN.source,
      description: 'a device id of 1 to 128 characters',
    },
    token: JWS,
    credential: JWS,
    /** With a credential: the old key says that the new one takes its place. */
    proof: JWS,
  },
  required: ['publicKey'],
  additionalProperties: false,
} as const;

const COUNT = {
  type: 'integer',
  minimum: 0,
  maximum: Number.MAX_SAFE_INTEGER,
  description: 'a whole number from 0 to 2^53 - 1',
};
const REVISION = {
  type: 'string',
  pattern: '^sha256:[0-9a-f]{64}$',
  description: 'sha256: and 64 lower-case hex digits',
};
const NAME = {
  type: 'string',
  pattern: '^[A-Za-z][A-Za-z0-9_.-]{0,63}$',
  description: 'a name of at most 64 letters, digits and _ . - that begins with a letter',
};
/** What no database's JSON can hold is refused here rather than lost there: NUL, and halves of surrogate pairs. */
export const STORABLE = '^[^\\u0000\\p{Surrogate}]*$';

/** `POST /v1/devices/:id/reports`. */
export const REPORT_SCHEMA = {
  type: 'object',
  description: 'an object',
  properties: {
    bootId: {
      type: 'string',
      pattern: '^[A-Za-z0-9_.:-]{1,64}$',
      description: '1 to 64 letters, digits and _ . : -',
    },
    seq: COUNT,
    generation: COUNT,
    running: REVISION,
    attempt: {
      type: 'object',
      description: 'an object',
      properties: {
        revision: REVISION,
        state: { enum: ATTEMPT_STATES, description: `one of ${ATTEMPT_STATES.join(', ')}` },
        category: NAME,
        message: {
          type: 'string',
          maxLength: 2048,
          pattern: STORABLE,
          description: 'text of at most 2,048 characters, without NUL',
        },
      },
      required: ['revision', 'state'],
      additionalProperties: false,
    },
    signals: {
      type: 'object',
      description: 'an object of at most 64 signals',
      maxProperties: 64,
      propertyNames: NAME,
      additionalProperties: {
        type: ['boolean', 'number', 'string'],
        maxLength: 256,
        pattern: STORABLE,
        description: 'true, false, a finite number, or text of at most 256 characters, without NUL',
      },
    },
    exposureHours: {
      type: 'number',
      minimum: 0,
      maximum: EXPOSURE_HOURS_MAX,
      description: `hours, from 0 to ${EXPOSURE_HOURS_MAX}`,
    },
    events: {
      type: 'object',
      description: 'an object of at most 64 counts',
      maxProperties: 64,
      propertyNames: NAME,
      additionalProperties: COUNT,
    },
  },
  required: ['bootId', 'seq', 'generation'],
  additionalProperties: false,
} as const;
