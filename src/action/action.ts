/**
 * Examines the fleet repository of a pull request, and says what it found where people look: annotations on lines, the summary of
 * the run, one comment. Whether it passes depends on the documents alone: what a forge refuses is a notice.
 */
import { appendFile, mkdtemp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../clock.ts';
import { type DurationMs, MINUTE } from '../core/model/time.ts';
import { plural } from '../core/words.ts';
import { readFolder } from '../documents/folder.ts';
import { ForgeError } from '../forge/errors.ts';
import { githubApi } from '../forge/github.ts';
import { type Examined, examine } from '../proposal/examination.ts';
import { sarifLog } from '../proposal/sarif.ts';
import { workflowCommand, workflowCommands } from '../proposal/workflow-commands.ts';
import { changedLines } from './changed-lines.ts';
import { writeOutputs } from './outputs.ts';
import { type Report, refusalReport, reportOf } from './report.ts';
import type { CommentSettings, Settings } from './settings.ts';
import { type Simulated, simulateStarts } from './simulation.ts';

export interface Ports {
  /** What git is found and run in. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly fetch: typeof fetch;
  readonly clock: Pick<Clock, 'now'>;
  /** Aborts after the time. */
  readonly within: (duration: DurationMs) => AbortSignal;
  /** Of Tidegate. */
  readonly version: string;
  /** A line of the log, which the runner reads for commands. */
  readonly say: (line: string) => void;
}

/** The process's exit code: 0 where the check passes. */
export async function runAction(settings: Settings, ports: Ports): Promise<0 | 1> {
  const { root, base, branch, isStrict } = settings;
  const { clock, env, say } = ports;
  const examined = await examine({ path: root, base, branch, isStrict, now: clock.now(), env });
  if (!examined.ok) return await refuse(examined.message, settings, ports);

  await annotate(examined, settings, ports);
  const simulated = settings.simulates ? await simulate(examined, settings, ports) : undefined;
  const report = reportOf(examined, simulated, settings);
  await writeFiles(examined, { simulated, report }, settings, ports);
  await publish(report, settings, ports);
  const { valid, errors, warnings, documents } = examined.validation;
  say(
    `${valid ? 'valid' : 'not valid'}: ${plural(errors, 'error')} and ${plural(warnings, 'warning')} in ${plural(documents, 'document')}`,
  );
  return valid ? 0 : 1;
}

/** A question that cannot be answered is no pass. */
async function refuse(message: string, settings: Settings, ports: Ports): Promise<1> {
  const { root, folder, outputFile } = settings;
  // Where the runner keeps its checkouts is nobody's business, and differs from run to run.
  const told = message.replaceAll(root, folder === '' ? 'the repository' : folder);
  ports.say(workflowCommand('error', told));
  await writeOutputs(outputFile, { valid: 'false', errors: '', warnings: '' });
  await publish(refusalReport(told, settings), settings, ports);
  return 1;
}

async function annotate(
  { validation, plan }: Examined,
  { root, folder }: Settings,
  { env, say }: Ports,
): Promise<void> {
  const changed = plan.base === null ? undefined : await changedLines(root, plan.base.commit, env);
  const commands = workflowCommands(validation, { folder, ...(changed === undefined ? {} : { changed }) });
  for (const command of commands) say(command);
}

/** For the whole of it: a check that takes minutes is one that people switch off. */
const SIMULATION_MS: DurationMs = MINUTE;

async function simulate(
  { plan, around }: Examined,
  { root }: Settings,
  { within }: Ports,
): Promise<Simulated> {
  if (plan.proposal === null)
    return { rollouts: [], notes: ['Documents that have errors cannot be played.'] };
  return await simulateStarts({ files: await readFolder(root), plan, around, signal: within(SIMULATION_MS) });
}

/** What later steps of the job may want: an output holds no more than 1 MB, a file what there is. */
async function writeFiles(
  { validation, plan }: Examined,
  { simulated, report }: { readonly simulated: Simulated | undefined; readonly report: Report },
  { temporaryFolder, outputFile, folder }: Settings,
  { version }: Ports,
): Promise<void> {
  // A job may run the action for several repositories.
  const into = await mkdtemp(join(temporaryFolder, 'tidegate-'));
  const write = async (name: string, text: string) => {
    await writeFile(join(into, name), text);
    return join(into, name);
  };
  const charts: string[] = [];
  for (const { name, chart } of simulated?.rollouts ?? [])
    if (chart !== undefined) charts.push(await write(`${name}.svg`, chart));
  await writeOutputs(outputFile, {
    valid: String(validation.valid),
    errors: String(validation.errors),
    warnings: String(validation.warnings),
    'plan-json': await write('plan.json', json(plan)),
    sarif: await write('problems.sarif', json(sarifLog(validation, { version, folder }))),
    summary: await write('comment.md', report.comment),
    chart: charts.join('\n'),
  });
}

function json(value: object): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

async function publish(report: Report, settings: Settings, ports: Ports): Promise<void> {
  const { summaryFile, comment, folder } = settings;
  if (summaryFile !== undefined) await appendFile(summaryFile, report.summary);
  if (comment === undefined) return;
  const why = await keepComment(comment, { folder, body: report.comment }, ports);
  if (why !== undefined) ports.say(workflowCommand('notice', `no comment was written: ${why}`));
}

/** For all requests. */
const COMMENT_MS: DurationMs = MINUTE;

/** Undefined: it is there. Else why not, with the next step. */
async function keepComment(
  { pullRequest, repository, apiUrl, token }: CommentSettings,
  { folder, body }: { readonly folder: string; readonly body: string },
  { fetch, clock, within }: Ports,
): Promise<string | undefined> {
  if (token === '')
    return 'there is no token; the input github-token takes one, and comment: false asks for none';
  try {
    const forge = githubApi({ repository, token, apiUrl, fetch, clock, author: 'github-actions[bot]' });
    const result = await forge.keepComment(
      { pullRequest, marker: markerOf(folder), body },
      within(COMMENT_MS),
    );
    return result.kind === 'kept' ? undefined : reasonIn(result.reason);
  } catch (error) {
    if (error instanceof ForgeError)
      return 'the input github-token or the address of the API is of no use; correct it';
    throw error;
  }
}

/** A path may hold what ends a comment of HTML. */
function markerOf(folder: string): string {
  return `<!-- tidegate:plan ${encodeURI(folder === '' ? '.' : folder).replaceAll('--', '%2D%2D')} -->`;
}

/** What a server does next is not what a workflow can do. */
function reasonIn(reason: string): string {
  const [cause] = reason.split('; ');
  return `${cause}; the report is in the summary of the run. The job needs the permission "pull-requests: write", which pull requests from forks never have`;
}
