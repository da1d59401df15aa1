/** `tidegate plan`: what a change to the documents would do if it were merged now. */
import { contentOf } from '../proposal/content.ts';
import { parseDevices } from '../proposal/device-list.ts';
import { type AskedFleet, examine } from '../proposal/examination.ts';
import { markdownOf } from '../proposal/markdown.ts';
import { censusIn, readCensusFile, textOf } from './census-file.ts';
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
  const { path, base, branch, format } = options;
  const fleet = await askedFleet(options, io);
  const examined = await examine({ path, base, branch, fleet, now: io.clock.now(), env: io.env });
  if (!examined.ok) throw new CommandError(examined.message);
  const { plan } = examined;
  if (format === 'json') io.out.write(`${JSON.stringify(plan, null, 2)}\n`);
  else if (format === 'markdown') io.out.write(markdownOf(contentOf(plan)));
  else io.out.lines(blockLines(contentOf(plan), io.out));
  return plan.valid ? EXIT.fine : EXIT.problems;
}

async function askedFleet(options: PlanOptions, io: Io): Promise<AskedFleet | undefined> {
  const { devices, server, census } = options;
  if (devices !== undefined) {
    const parsed = parseDevices(await textOf(devices));
    if (parsed.ok) return { kind: 'devices', devices: parsed.devices, from: devices };
    const place = parsed.line === undefined ? devices : `${devices}:${parsed.line}`;
    throw new CommandError(`${place}: ${parsed.message}`);
  }
  if (census !== undefined) return { kind: 'census', census: await readCensusFile(census), from: census };
  if (server === undefined) return undefined;
  const url = serverUrl(server, io);
  const answer = await getJson(io, url, 'api/census');
  if (answer === undefined)
    throw new CommandError(
      `the server at ${url.origin} has no census; it is an older one, or reads no repository yet`,
    );
  return { kind: 'census', census: censusIn(answer.text, url.origin), from: url.origin };
}
