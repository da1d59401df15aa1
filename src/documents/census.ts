/** The census as `outcomes` has it: `census.json`, one line per kind of device, so that a diff of it can be read. */
import { Ajv2020 } from 'ajv/dist/2020.js';
import type { Census } from '../core/model/census.ts';
import { formatInstant } from '../core/model/time.ts';
import { parseInstant } from './quantity.ts';

/** From the root of the branch. */
export const CENSUS_PATH = 'census.json';

/** A census has some thousand kinds of devices; what is larger is none of ours. */
const TEXT_LENGTH_MAX = 64 * 1024 * 1024;

export function encodeCensus({ at, devices, omitted, rates, cells }: Census): string {
  const head = { at: formatInstant(at), devices, omitted, rates };
  const opening = JSON.stringify(head, null, 2).slice(0, -'\n}'.length);
  const lines = cells.map(({ devices: count, tags }) => `    ${JSON.stringify({ devices: count, tags })}`);
  return `${opening},\n  "cells": [${lines.length === 0 ? '' : `\n${lines.join(',\n')}\n  `}]\n}\n`;
}

export type DecodedCensus =
  | { readonly ok: true; readonly census: Census }
  | { readonly ok: false; readonly message: string };

/** What is wrong is said in a sentence without the file's name. */
export function decodeCensus(text: string): DecodedCensus {
  if (text.length > TEXT_LENGTH_MAX)
    return { ok: false, message: `a census has at most ${TEXT_LENGTH_MAX} characters, found ${text.length}` };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { ok: false, message: 'a census is JSON, as tidegate writes census.json on the branch outcomes' };
  }
  isCensus ??= compile();
  if (!isCensus(value)) {
    const [error] = isCensus.errors ?? [];
    const where = error?.instancePath === '' ? 'it' : error?.instancePath;
    return { ok: false, message: `it is no census of Tidegate: ${where} ${error?.message}` };
  }
  const at = parseInstant(value.at);
  if (at === undefined) return { ok: false, message: `there is no such day as ${value.at}` };
  return { ok: true, census: { ...value, at } };
}

type WrittenCensus = Omit<Census, 'at'> & { readonly at: string };

const COUNT = { type: 'integer', minimum: 0 };
const SCHEMA = {
  type: 'object',
  required: ['at', 'devices', 'omitted', 'rates', 'cells'],
  properties: {
    at: { type: 'string', pattern: '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z$' },
    devices: COUNT,
    omitted: { type: 'object', additionalProperties: COUNT },
    rates: {
      type: 'object',
      additionalProperties: {
        type: 'object',
        required: ['incidents', 'deviceHours'],
        properties: {
          incidents: { type: 'number', minimum: 0 },
          deviceHours: { type: 'number', minimum: 0 },
        },
      },
    },
    cells: {
      type: 'array',
      items: {
        type: 'object',
        required: ['tags', 'devices'],
        properties: { tags: { type: 'object', additionalProperties: { type: 'string' } }, devices: COUNT },
      },
    },
  },
};

// Compiled where a census is read, and only there.
const compile = () => new Ajv2020().compile<WrittenCensus>(SCHEMA);
let isCensus: ReturnType<typeof compile> | undefined;
