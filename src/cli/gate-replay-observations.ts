/** `gate replay GATE --observations FILE`: what a gate of the fleet repository makes of hours that somebody wrote down. */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describeGate } from '../core/gates/describe.ts';
import { isMeasured, type MeasuredGate } from '../core/gates/exposure.ts';
import { type Replay, replayRows } from '../core/gates/replay.ts';
import { isExpression } from '../core/model/gate.ts';
import { formatInstant } from '../core/model/time.ts';
import { findGate } from '../documents/find-gate.ts';
import { readFolder } from '../documents/folder.ts';
import type { SourceFile } from '../documents/load.ts';
import { type ObservedRows, ObservedRowsError, parseObservedRows } from '../documents/observed-rows.ts';
import { errorCode, isAbsent } from '../durable-fs.ts';
import { readSnapshot } from '../fleet-repo/snapshot.ts';
import { CommandError, EXIT, type ExitCode } from './errors.ts';
import type { GateReplayOptions } from './gate-replay.ts';
import { hoursLines, jsonOfReplay, verdictLines } from './gate-replay-text.ts';
import type { Io } from './io.ts';
import { hanging, type Output, printable, wrap } from './output.ts';
import { openToRead } from './repository.ts';

type Options = GateReplayOptions & { readonly observations: string };

export async function replayObservations(options: Options, io: Io): Promise<ExitCode> {
  const { gate: name, repo, observations: file, format } = options;
  const found = findGate(await documentsAt(options, io), name, repo);
  if (!found.ok) throw new CommandError(found.message);
  const { gate } = found;
  if (isExpression(gate) || !isMeasured(gate)) {
    throw new CommandError(
      `gate ${name} looks at ${describeGate(gate)}; observations are for gates over events and metrics: name one of those`,
    );
  }
  const { rows, previous, alpha = found.alpha } = await observedRows(file, gate);
  if (gate.against.kind === 'previous' && previous === undefined) {
    const what = gate.kind === 'events' ? 'its incidents per device-hour' : 'its mean';
    throw new CommandError(
      `${file}: gate ${name} is held against the known-good attempt, of which a file knows nothing; add previous: and ${what}`,
    );
  }
  const replay = replayRows(gate, { rows, previous, alpha });
  if (format === 'json') {
    const report = { gate: name, rule: describeGate(gate), ...jsonOfReplay(gate, replay) };
    io.out.write(`${JSON.stringify(report, null, 2)}\n`);
    return EXIT.fine;
  }
  const { out } = io;
  out.lines([
    out.paint('bold', `gate ${printable(name)}`),
    ...hanging('rule', printable(describeGate(gate)), 'rule'.length, out),
    '',
    ...hoursLines(gate, replay, out),
    '',
    ...verdictLines(replay.reading, out),
    ...earlierLines(replay, out),
  ]);
  return EXIT.fine;
}

/** Evidence that has halted once may become less again, but a rollout would not have come so far. */
function earlierLines({ reading, ticks, haltsAtTick }: Replay, out: Output): string[] {
  const tick = haltsAtTick === undefined ? undefined : ticks[haltsAtTick];
  if (tick === undefined || reading.state === 'halts') return [];
  const text = `! All hours together do not halt; but a rollout would have been halted after the hour of ${formatInstant(tick.at)}.`;
  return wrap(text, out).map((line) => out.paint('yellow', line));
}

/** The documents of the working folder as they lie there; where there is none, those of the branch. */
async function documentsAt(options: Options, io: Io): Promise<readonly SourceFile[]> {
  if (await isFolder(join(options.repo, 'fleet'))) return await readFolder(options.repo);
  const workplace = await openToRead(options, io);
  try {
    const tip = await workplace.git.branch(options.branch);
    const snapshot =
      tip === undefined ? undefined : await readSnapshot(workplace.git, await workplace.git.commit(tip));
    if (snapshot !== undefined) return snapshot.files;
    throw new CommandError(
      `${workplace.place} has no folder fleet/ on branch ${options.branch}; name a fleet repository with --repo, or its branch with --branch`,
    );
  } finally {
    await workplace.close();
  }
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (error) {
    if (isAbsent(error)) return false;
    throw error;
  }
}

async function observedRows(file: string, gate: MeasuredGate): Promise<ObservedRows> {
  try {
    return parseObservedRows(await readFile(file), gate, file);
  } catch (error) {
    if (error instanceof ObservedRowsError) throw new CommandError(error.message);
    const code = errorCode(error);
    if (code === undefined) throw error;
    const why = WHY[code] ?? `cannot be read (${code})`;
    throw new CommandError(`${file} ${why}; name a YAML or JSON file with rows`, EXIT.usage, error);
  }
}

const WHY: Readonly<Record<string, string>> = {
  ENOENT: 'is not there',
  EISDIR: 'is a folder',
  EACCES: 'may not be read',
};
