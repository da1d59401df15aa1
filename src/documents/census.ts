/** The census as `outcomes` has it: `census.json`, one line per kind of device, so that a diff of it can be read. */
import { Ajv2020 } from 'ajv/dist/2020.js';
import { parse } from 'yaml';
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

/** What is wrong is said in a sentence without the file's name. `at` is 0 where nobody says when it was. */
export function decodeCensus(text: string): DecodedCensus {
  if (text.length > TEXT_LENGTH_MAX)
    return { ok: false, message: `a census has at most ${TEXT_LENGTH_MAX} characters, found ${text.length}` };
  const value = dataOf(text);
  if (value === undefined) {
    const message =
      'a census is JSON or YAML with cells, as {tags: {product: thermostat}, devices: 1200}; the branch outcomes has one in census.json';
    return { ok: false, message };
  }
  isCensus ??= compile();
  if (!isCensus(value)) {
    const [error] = isCensus.errors ?? [];
    const where = error?.instancePath === '' ? 'it' : error?.instancePath;
    return { ok: false, message: `it is no census of Tidegate: ${where} ${error?.message}` };
  }
  const { cells, omitted = {}, rates = {} } = value;
  const at = value.at === undefined ? 0 : parseInstant(value.at);
  if (at === undefined) return { ok: false, message: `there is no such day as ${value.at}` };
  const devices = cells.reduce((sum, cell) => sum + cell.devices, 0);
  return { ok: true, census: { at, devices, cells, omitted, rates } };
}

/** JSON is read as such: it is what the record has, and may be long. */
function dataOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    try {
      return parse(text) ?? undefined;
    } catch {
      return undefined;
    }
  }
}

/** What somebody wrote down may have cells alone. */
type WrittenCensus = Pick<Census, 'cells'> &
  Partial<Pick<Census, 'omitted' | 'rates'>> & { readonly at?: string };

const COUNT = { type: 'integer', minimum: 0 };
const SCHEMA = {
  type: 'object',
  required: ['cells'],
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
      maxItems: 100_000,
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
