/** `tidegate plan`: what a change to the documents would do if it were merged now. */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { decodeCensus } from '../documents/census.ts';
import { isAbsent } from '../durable-fs.ts';
import { readCheckout } from '../proposal/checkout.ts';
import { contentOf } from '../proposal/content.ts';
import { parseDevices } from '../proposal/device-list.ts';
import { markdownOf } from '../proposal/markdown.ts';
import { type AskedFleet, planReport } from '../proposal/plan-report.ts';
import { CommandError, EXIT, type ExitCode } from './errors.ts';
import type { Io } from './io.ts';
import { blockLines } from './plan-text.ts';
import { getJson, serverUrl } from './server.ts';

export interface PlanOptions {
  /** The root of a fleet repository's working folder. */
  readonly path: string;
  readonly base?: string;
  readonly branch: string;
  /** At most one of the three says who the fleet is. */
  readonly devices?: string;
  readonly server?: string;
  readonly census?: string;
  readonly format: 'text' | 'markdown' | 'json';
}

export async function run(options: PlanOptions, io: Io): Promise<ExitCode> {
  await requireFleetFolder(options.path);
  const checkout = await readCheckout({ path: options.path, base: options.base, branch: options.branch });
  const report = planReport({ checkout, fleet: await askedFleet(options, io), now: io.clock.now() });
  if (options.format === 'json') io.out.write(`${JSON.stringify(report, null, 2)}\n`);
  else if (options.format === 'markdown') io.out.write(markdownOf(contentOf(report)));
  else io.out.lines(blockLines(contentOf(report), io.out));
  return report.valid ? EXIT.fine : EXIT.problems;
}

async function requireFleetFolder(path: string): Promise<void> {
  const found = await stat(join(path, 'fleet')).catch((error: unknown) => {
    if (isAbsent(error)) return undefined;
    throw error;
  });
  if (found?.isDirectory() === true) return;
  const next = 'name the root of a fleet repository, or make one with tidegate init';
  throw new CommandError(`${path} has no folder fleet/; ${next}`);
}

async function askedFleet(options: PlanOptions, io: Io): Promise<AskedFleet | undefined> {
  const { devices, server, census } = options;
  if (devices !== undefined) {
    const parsed = parseDevices(await textOf(devices));
    if (parsed.ok) return { kind: 'devices', devices: parsed.devices, from: devices };
    const place = parsed.line === undefined ? devices : `${devices}:${parsed.line}`;
    throw new CommandError(`${place}: ${parsed.message}`);
  }
  if (census !== undefined) return censusFrom(await textOf(census), census);
  if (server === undefined) return undefined;
  const url = serverUrl(server, io);
  const answer = await getJson(io, url, 'api/census');
  if (answer === undefined)
    throw new CommandError(
      `the server at ${url.origin} has no census; it is an older one, or reads no repository yet`,
    );
  return censusFrom(answer.text, url.origin);
}

function censusFrom(text: string, from: string): AskedFleet {
  const decoded = decodeCensus(text);
  if (decoded.ok) return { kind: 'census', census: decoded.census, from };
  throw new CommandError(`${from}: ${decoded.message}`);
}

async function textOf(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (isAbsent(error)) throw new CommandError(`there is no file ${file}; check the path`);
    throw error;
  }
}
