/**
 * How the demo looks: what happened, line by line, and below it, on a terminal, where the rollout stands now. In a
 * pipe the picture is left out and every change of a stage is a line.
 */
import type { Instant } from '../core/model/time.ts';
import { rolloutStatuses, type StageStatus } from '../core/status.ts';
import type { ReconcileEvent } from '../reconcile/event.ts';
import type { ReconcilerState } from '../reconcile/reconciler.ts';
import { STORY_ROLLOUT } from '../simulate/story.ts';
import { eventLines } from './event-text.ts';
import { type Output, wrap } from './output.ts';
import { rolloutLines } from './status-text.ts';

export interface DemoView {
  opening(at: { repository: string; url: string; devices: number; rate: number }): void;
  event(event: ReconcileEvent, state: ReconcilerState): void;
  /** A person's commit on main. */
  committed(message: string, oid: string): void;
  /** A device that the server refuses, or that refuses what it was served: the story has none. */
  refused(message: string): void;
  progress(state: ReconcilerState, now: Instant): void;
  ending(at: {
    claims: readonly { claim: string; holds: boolean }[];
    repository: string;
    /** Whether the repository is still there when this is read. */
    kept: boolean;
    state: ReconcilerState;
  }): void;
  serving(at: { url: string; repository: string; kept: boolean }): void;
  close(): void;
}

export function createDemoView(out: Output): DemoView {
  /** Lines of the picture that stand at the bottom of the terminal. */
  let drawn = 0;
  let picture: readonly string[] = [];
  let said = '';

  function erase(): void {
    if (drawn > 0) out.write(`\u001b[${drawn}A\u001b[J`);
    drawn = 0;
  }

  function draw(): void {
    if (!out.isTerminal) return;
    out.lines(picture);
    drawn = picture.length;
  }

  function print(lines: readonly string[]): void {
    if (lines.length === 0) return;
    erase();
    out.lines(lines);
    draw();
  }

  return {
    opening({ repository, url, devices, rate }) {
      print([
        out.paint('bold', 'Tidegate: from a commit to the fleet and back'),
        `${devices} virtual devices poll ${url}; the repository is ${repository}.`,
        out.paint('dim', `Time runs ${rate} times as fast as yours: an hour takes ${3600 / rate} seconds.`),
        '',
      ]);
    },

    event(event) {
      const style = styleOf(event);
      const lines = eventLines(event).flatMap((line) => wrapped(line, out));
      print(lines.map((line) => (style === undefined ? line : out.paint(style, line))));
    },

    committed(message, oid) {
      print(['', out.paint('bold', `main ${oid.slice(0, 8)}  ${message.split('\n')[0]}`)]);
    },

    refused(message) {
      print([out.paint('red', `refused: ${message}`)]);
    },

    progress(state, now) {
      const { wanted, outcomes, tally, report, gates } = state;
      if (wanted?.desired === undefined) return;
      const statuses = rolloutStatuses({ desired: wanted.desired, outcomes, tally, report, gates });
      const rollout = statuses.find(({ name }) => name === STORY_ROLLOUT);
      if (rollout === undefined) return;
      if (out.isTerminal) {
        erase();
        picture = ['', ...rolloutLines(rollout, now, out)];
        draw();
        return;
      }
      const open = rollout.stages.findLast((stage) => stage.state === 'running');
      const line = open === undefined ? '' : `  ${open.name}: ${countsOf(open)}`;
      if (line !== said && line !== '') out.lines([line]);
      said = line;
    },

    ending({ claims, repository, kept, state }) {
      erase();
      picture = [];
      const at = kept ? repository : 'DIR/fleet.git';
      const snapshot = state.wanted?.desired?.snapshot ?? '';
      out.lines([
        '',
        ...claims.map(({ claim, holds }) =>
          holds ? `${out.paint('green', '✓')} ${claim}` : `${out.paint('red', '✗')} ${claim}`,
        ),
        '',
        `main:fleet is snapshot ${snapshot}.`,
        kept
          ? 'Check it yourself, with git alone:'
          : 'With --data DIR the repository is kept, and git alone checks it:',
        out.paint('dim', '  # twice the same id: what main wants, and the known-good snapshot'),
        `  git -C ${at} rev-parse main:fleet outcomes:known-good/${STORY_ROLLOUT}`,
        out.paint('dim', '  # the revert'),
        `  git -C ${at} log --oneline main`,
        out.paint('dim', '  # what was decided, and why'),
        `  git -C ${at} log --reverse outcomes`,
      ]);
    },

    serving({ url, repository, kept }) {
      out.lines([
        '',
        'Still serving, and time goes on as fast. Push commits to',
        `  ${repository}`,
        'or look around in another terminal:',
        `  npx tidegate status --watch --server ${url}`,
        `  npx tidegate why thermostat-000001 --server ${url}`,
        kept ? 'Ctrl-C ends it.' : 'Ctrl-C ends it and deletes the repository; --data DIR keeps it.',
      ]);
    },

    close: erase,
  };
}

/** A line in as many as the terminal needs, the further ones below its text. */
function wrapped(line: string, out: Output): string[] {
  const indent = /^ */.exec(line)?.[0] ?? '';
  return wrap(line.trimStart(), out, indent);
}

function styleOf(event: ReconcileEvent): 'green' | 'red' | 'yellow' | undefined {
  if (event.kind === 'failed' || event.kind === 'diverged') return 'red';
  if (event.kind !== 'decision') return undefined;
  const { kind, verdict } = event.decision;
  if (kind === 'rollBack' || verdict === 'halt') return 'red';
  if (kind === 'pause') return 'yellow';
  return verdict === 'pass' ? 'green' : undefined;
}

function countsOf(stage: StageStatus): string {
  const { succeeded, failed, installing, verifying } = stage.counts;
  const parts = [`${succeeded} of ${stage.devices} succeeded`];
  if (failed > 0) parts.push(`${failed} failed`);
  if (installing + verifying > 0) parts.push(`${installing + verifying} under way`);
  return parts.join(', ');
}
