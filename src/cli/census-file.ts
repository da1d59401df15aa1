/** A census that somebody wrote down: how many devices there are with which tags. YAML or JSON, `cells: [{tags: {…}, devices: N}]`. */
import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import { errorCode } from '../durable-fs.ts';
import type { Cell } from '../simulate/fleet-mix.ts';
import { CommandError } from './errors.ts';

const CELLS_MAX = 100_000;

export async function readCensus(file: string): Promise<readonly Cell[]> {
  const data = dataOf(file, await textOf(file));
  const cells = isObject(data) ? data['cells'] : undefined;
  if (!Array.isArray(cells) || cells.length === 0 || cells.length > CELLS_MAX) {
    throw new CommandError(
      `${file}: expected cells, a list of 1 to ${CELLS_MAX} entries as {tags: {product: thermostat}, devices: 1200}`,
    );
  }
  return cells.map((cell: unknown, index) => cellOf(cell, `${file}: cells[${index}]`));
}

async function textOf(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new CommandError(`${file} cannot be read: ${errorCode(error) ?? String(error)}; name a file`);
  }
}

function dataOf(file: string, text: string): unknown {
  try {
    return parse(text);
  } catch (error) {
    const [first = ''] = (error instanceof Error ? error.message : String(error)).split('\n');
    throw new CommandError(`${file} is neither YAML nor JSON: ${first}`);
  }
}

function cellOf(cell: unknown, place: string): Cell {
  const { tags, devices } = isObject(cell) ? cell : {};
  if (!Number.isInteger(devices) || Number(devices) < 1) {
    throw new CommandError(
      `${place}: devices must be a whole number of at least 1, found ${JSON.stringify(devices)}`,
    );
  }
  if (!isObject(tags) || !Object.values(tags).every((value) => typeof value === 'string')) {
    throw new CommandError(`${place}: tags must be texts by name, as {product: thermostat}`);
  }
  return { tags: tags as Record<string, string>, devices: Number(devices) };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
