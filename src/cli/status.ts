/**
 * `tidegate status`: what the server says of the fleet, once or for as long as someone watches. On a terminal the
 * picture is drawn anew; in a pipe every change is a line.
 */
import { formatInstant, type Instant, SECOND } from '../core/model/time.ts';
import { closest } from '../documents/suggest.ts';
import { CommandError, EXIT, type ExitCode } from './errors.ts';
import type { Io } from './io.ts';
import { type Answer, followEvents, getJson, serverUrl } from './server.ts';
import { changeLines, type FleetStatus, fleetLines, rolloutDetailLines } from './status-text.ts';

export interface StatusOptions {
  readonly rollout?: string;
  readonly server?: string;
  readonly watch?: boolean;
  readonly format: 'text' | 'json';
}

/** The server is asked at least this often, whether or not it announces anything. */
const POLL_MS = 5 * SECOND;
/** Announcements that come closer together than this share a look. */
const SETTLE_MS = 250;

export async function run(options: StatusOptions, io: Io): Promise<ExitCode> {
  const server = serverUrl(options.server, io);
  const answer = await getStatus(io, server);
  const { status } = answer;
  if (options.rollout !== undefined && !status.rollouts.some(({ name }) => name === options.rollout)) {
    io.err.lines([unknownRollout(options.rollout, status)]);
    return EXIT.problems;
  }
  if (options.watch !== true) {
    io.out.write(options.format === 'json' ? jsonOf(answer, options) : textOf(status, options, io));
    return EXIT.fine;
  }
  await watch(answer, { options, server, io });
  return EXIT.fine;
}

interface StatusAnswer extends Answer {
  readonly status: FleetStatus;
}

async function getStatus(io: Io, server: URL): Promise<StatusAnswer> {
  const answer = await getJson(io, server, 'api/status');
  const status = withInstants(answer?.body) as FleetStatus | undefined;
  if (answer === undefined || !Array.isArray(status?.rollouts)) {
    throw new CommandError(`what answers at ${server.origin} is no Tidegate server; check --server`);
  }
  return { ...answer, status };
}

/** The same data with instants as numbers; they are the values whose key is `at`, `until` or ends in `At` or `By`. */
function withInstants(value: unknown, key = ''): unknown {
  if (typeof value === 'string')
    return /(^at|^until|At|By)$/.test(key) ? (Date.parse(value) as Instant) : value;
  if (Array.isArray(value)) return value.map((each) => withInstants(each));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, withInstants(each, name)]));
}

function unknownRollout(name: string, { rollouts }: FleetStatus): string {
  const names = rollouts.map((rollout) => rollout.name);
  const meant = closest(name, names);
  const hint = meant === undefined ? `there are: ${names.join(', ') || 'none'}` : `did you mean ${meant}?`;
  return `no rollout "${name}" is in force; ${hint}`;
}

/** One line, so that the output of `--watch` is a line per status. */
function jsonOf({ text }: StatusAnswer, { rollout }: StatusOptions): string {
  const status = JSON.parse(text) as { rollouts: readonly { name: string }[] };
  const rollouts = status.rollouts.filter(({ name }) => rollout === undefined || name === rollout);
  return `${JSON.stringify({ ...status, rollouts })}\n`;
}

function textOf(status: FleetStatus, { rollout: name }: StatusOptions, { out, clock }: Io): string {
  const now = timeOf(status, clock.now());
  const rollout = status.rollouts.find((each) => each.name === name);
  const lines =
    rollout === undefined ? fleetLines(status, now, out) : rolloutDetailLines(status, rollout, now, out);
  return `${lines.join('\n')}\n`;
}

/** The server's time where it is ahead of ours: the demo plays hours in seconds. */
function timeOf(status: FleetStatus, now: Instant): Instant {
  return Math.max(now, status.passedAt ?? 0);
}

/** Until Ctrl-C. A server that goes away meanwhile is waited for. */
async function watch(
  first: StatusAnswer,
  given: { options: StatusOptions; server: URL; io: Io },
): Promise<void> {
  const { server, io } = given;
  const stop = io.interrupted();
  const news = newsOf(io, server, stop);
  const show = presenter(given);
  const look = async () => {
    show(first);
    let isAway = false;
    for (;;) {
      await news.wait();
      await io.clock.sleep(SETTLE_MS, stop);
      if (stop.aborted) return;
      try {
        show(await getStatus(io, server));
        isAway = false;
      } catch (error) {
        if (!(error instanceof CommandError)) throw error;
        if (!isAway) io.err.lines([error.message]);
        isAway = true;
      }
    }
  };
  await Promise.all([news.follow(), look()]);
}

/** How each further status is shown: as a picture in place of the last one, or as what changed. */
function presenter({ options, io }: { options: StatusOptions; io: Io }): (next: StatusAnswer) => void {
  if (io.out.isTerminal && options.format === 'text') {
    return ({ status }) => io.out.write(CLEAR + textOf(status, options, io));
  }
  let shown: StatusAnswer | undefined;
  return (next) => {
    printChanges(shown, next, { options, io });
    shown = next;
  };
}

/** Moves to the upper left corner and clears what is below: nothing scrolls away, nothing flickers. */
const CLEAR = '\u001b[H\u001b[J';

function printChanges(
  before: StatusAnswer | undefined,
  after: StatusAnswer,
  { options, io }: { options: StatusOptions; io: Io },
): void {
  if (before === undefined) {
    io.out.write(options.format === 'json' ? jsonOf(after, options) : textOf(after.status, options, io));
    return;
  }
  const changes = changeLines(ofRollout(before.status, options), ofRollout(after.status, options));
  if (changes.length === 0) return;
  if (options.format === 'json') {
    io.out.write(jsonOf(after, options));
    return;
  }
  const at = formatInstant(Math.floor(timeOf(after.status, io.clock.now()) / SECOND) * SECOND);
  io.out.lines(changes.map((change) => `${at}  ${change}`));
}

function ofRollout(status: FleetStatus, { rollout }: StatusOptions): FleetStatus {
  if (rollout === undefined) return status;
  return { ...status, rollouts: status.rollouts.filter(({ name }) => name === rollout) };
}

/** Waits for the server's announcements. While it announces nothing, or cannot, waiting ends after the poll interval. */
function newsOf(io: Io, server: URL, stop: AbortSignal) {
  let isNew = false;
  let interrupt = new AbortController();
  const onEvent = () => {
    isNew = true;
    interrupt.abort();
  };
  return {
    async follow(): Promise<void> {
      while (!stop.aborted) {
        await followEvents(io, server, stop, onEvent);
        await io.clock.sleep(POLL_MS, stop);
      }
    },
    async wait(): Promise<void> {
      if (!isNew) {
        interrupt = new AbortController();
        await io.clock.sleep(POLL_MS, AbortSignal.any([stop, interrupt.signal]));
      }
      isNew = false;
    },
  };
}
