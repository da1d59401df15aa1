/**
 * The GitHub Action's entry: a runner starts it as a process, with what it needs in the environment. Here the implementations are
 * chosen and a bug becomes a sentence; what is done is in action.ts.
 */
import { readFile } from 'node:fs/promises';
import { systemClock } from '../clock.ts';
import { workflowCommand } from '../proposal/workflow-commands.ts';
import { runAction } from './action.ts';
import { readSettings } from './settings.ts';

/** From here and from the bundle the same way up: both lie two folders below the root. */
const MANIFEST = new URL('../../package.json', import.meta.url);

process.exitCode = await main(process.env).catch((error: unknown) => {
  const message = error instanceof Error ? error.message : String(error);
  say(workflowCommand('error', `Tidegate failed, which is a bug of its own: ${message.split('\n')[0]}`));
  if (process.env['RUNNER_DEBUG'] !== '1') say('Enable debug logging and run it again to see where.');
  else if (error instanceof Error) say(workflowCommand('notice', error.stack ?? message));
  return 1;
});

async function main(env: NodeJS.ProcessEnv): Promise<0 | 1> {
  const read = await readSettings(env);
  if (!read.ok) {
    say(workflowCommand('error', read.message));
    return 1;
  }
  const { version } = JSON.parse(await readFile(MANIFEST, 'utf8')) as { version: string };
  const within = (durationMs: number) => AbortSignal.timeout(durationMs);
  return await runAction(read.settings, { env, fetch, clock: systemClock, within, version, say });
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
