/** What happens, one line per event: the log of `serve` and the story of the demo. */
import { shortRevision } from '../core/model/ids.ts';
import type { Decision } from '../core/plan/contract.ts';
import { formatProblem } from '../documents/problem.ts';
import type { ReconcileEvent } from '../reconcile/reconciler.ts';

/** The lines to print, none for what is not news. */
export function eventLines(event: ReconcileEvent): readonly string[] {
  switch (event.kind) {
    case 'snapshot': {
      const { desired } = event.wanted;
      return desired === undefined
        ? []
        : [`main ${short(desired.commit)} is in force: snapshot ${short(desired.snapshot)}`];
    }
    case 'problems': {
      const { problems, head, desired } = event.wanted;
      const refused = problems.some(({ severity }) => severity === 'error');
      const stays =
        desired === undefined ? 'nothing is in force' : `snapshot ${short(desired.snapshot)} stays in force`;
      const first = refused ? [`main ${short(head ?? 'none')} is refused, ${stays}:`] : [];
      return [...first, ...problems.map((problem) => `  ${formatProblem(problem)}`)];
    }
    case 'decision': {
      const { decision, commit } = event;
      const lines = [`outcomes ${short(commit)}  ${decision.summary}`];
      if (decision.because !== undefined) lines.push(`  ${decision.because}`);
      lines.push(...gateLines(decision));
      if (decision.kind === 'succeed') {
        const { snapshot, revision } = decision.attempt;
        lines.push(`  known-good: snapshot ${short(snapshot)}, revision ${shortRevision(revision)}`);
      }
      return lines;
    }
    case 'restored':
      return [`main ${short(event.commit)}  ${event.subject}`];
    case 'diverged':
      return [`main could not be restored: ${event.reason}`];
    case 'failed':
      return [`a pass failed and will be repeated: ${event.message}`];
    case 'pass':
      return [];
  }
}

/** How the gates of the stage stood when it was judged, those that failed first. */
function gateLines({ attempt, stage: name, verdict }: Decision): readonly string[] {
  const stage = verdict === undefined ? undefined : attempt.stages.find((each) => each.name === name);
  const gates = stage?.verdict?.gates ?? [];
  if (gates.length === 0) return [];
  const said = gates
    .toSorted((a, b) => b.fails - a.fails)
    .map(({ name: gate, holds, fails, missing }) => {
      const not = [fails > 0 ? `fails on ${fails}` : '', missing > 0 ? `unheard of on ${missing}` : ''];
      return `${gate} ${[`holds on ${holds}`, ...not.filter((text) => text !== '')].join(', ')}`;
    });
  return [`  gates: ${said.join('; ')}`];
}

function short(oid: string): string {
  return oid.slice(0, 8);
}
