/**
 * `validate` of a large repository, over the least that it can cost: parsing the same files with `yaml` and checking them with
 * `ajv`, from memory, one after the other. In turn, several times; processor time of the whole process.
 */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import { parse } from 'yaml';
import { realNow } from '../src/clock.ts';
import { KINDS, type Kind, kebabCase } from '../src/documents/kinds.ts';
import { validateFolder } from '../src/proposal/validation.ts';
import { fleetFiles } from './fleet-files.ts';
import { median, spread } from './measure.ts';

const ROUNDS = 3;

export async function* validation(): AsyncGenerator<string> {
  const validators = await compiled();
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-bench-'));
  try {
    for (const count of [10_000, 35_000]) {
      const files = fleetFiles(count);
      const root = join(folder, String(count));
      for (const [path, text] of files) {
        await mkdir(dirname(join(root, path)), { recursive: true });
        await writeFile(join(root, path), text);
      }
      yield await compare(root, [...files.values()], validators);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
}

type Validators = ReadonlyMap<Kind, ValidateFunction>;

async function compare(root: string, texts: readonly string[], validators: Validators): Promise<string> {
  const ratios: number[] = [];
  const seconds: number[] = [];
  // The first round of each is for the compiler.
  for (let round = 0; round <= ROUNDS; round++) {
    const least = await costOf(async () => parseAndCheck(texts, validators));
    const ours = await costOf(() => validate(root));
    if (round === 0) continue;
    ratios.push(ours.cpuMs / least.cpuMs);
    seconds.push(ours.seconds);
  }
  const perFile = (median(seconds) * 1e6) / texts.length;
  return `${texts.length} files: ${spread(ratios)} of yaml and ajv alone; ${median(seconds).toFixed(1)} s, ${perFile.toFixed(0)} µs a file`;
}

async function validate(root: string): Promise<void> {
  const validated = await validateFolder({ path: root, now: 0, env: {} });
  if (!validated.ok || validated.report.problems.length > 0) throw new Error('the fleet has problems');
}

function parseAndCheck(texts: readonly string[], validators: Validators): void {
  for (const text of texts) {
    const document = parse(text);
    if (validators.get(document.kind)?.(document) !== true) throw new Error(`${document.kind} is not valid`);
  }
}

async function costOf(
  work: () => Promise<void>,
): Promise<{ readonly cpuMs: number; readonly seconds: number }> {
  const before = process.cpuUsage();
  const at = realNow();
  await work();
  const { user, system } = process.cpuUsage(before);
  return { cpuMs: (user + system) / 1000, seconds: (realNow() - at) / 1000 };
}

async function compiled(): Promise<Validators> {
  const read = async (name: string) =>
    JSON.parse(await readFile(new URL(`../schemas/${name}.schema.json`, import.meta.url), 'utf8'));
  const ajv = new Ajv2020({ allErrors: true, allowUnionTypes: true });
  ajv.addSchema(await read('definitions'));
  const validators = new Map<Kind, ValidateFunction>();
  for (const kind of KINDS) validators.set(kind, ajv.compile(await read(kebabCase(kind))));
  return validators;
}
