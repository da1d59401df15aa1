/** What happens, one line per event: the log of `serve` and the story of the demo. */
import { shortRevision } from '../core/model/ids.ts';
import type { Decision } from '../core/plan/contract.ts';
import { formatProblem, type Problem } from '../documents/problem.ts';
import type { ReconcileEvent } from '../reconcile/event.ts';

/** The lines to print, none for what is not news. */
export function eventLines(event: ReconcileEvent, branch = 'main'): readonly string[] {
  switch (event.kind) {
    case 'snapshot': {
      const { desired } = event.wanted;
      if (desired === undefined) return [];
      return [`${branch} ${short(desired.commit)} is in force: snapshot ${short(desired.snapshot)}`];
    }
    case 'problems': {
      const { problems, head, desired } = event.wanted;
      const stays =
        desired === undefined ? 'nothing is in force' : `snapshot ${short(desired.snapshot)} stays in force`;
      const first = head === undefined ? stays : `${branch} ${short(head)} is refused, ${stays}`;
      const listed = problems.map((problem) => `  ${problemText(problem)}`);
      // A wrong entry in ops/ is not obeyed; it does not keep the snapshot from being in force.
      return desired?.commit === head
        ? [`${branch} ${short(head ?? '')} has problems:`, ...listed]
        : [`${first}:`, ...listed];
    }
    case 'held':
      return event.reason === undefined ? ['stages may open again'] : [`nothing opens: ${event.reason}`];
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
      return [`${branch} ${short(event.commit)}  ${event.subject}`];
    case 'diverged':
      return event.pullRequest === undefined
        ? [`${branch} could not be restored: ${event.reason}`]
        : [`a pull request asks to restore ${branch}: ${event.pullRequest}`];
    case 'failed':
      return [`a pass failed and will be repeated: ${event.message}`];
    case 'pass':
      return [];
  }
}

/** A problem of the repository itself has no place in a file. */
function problemText(problem: Problem): string {
  return problem.rule === 'repository' ? problem.message : formatProblem(problem);
}

/** How the gates of the stage stood when it was judged, those that failed first. */
function gateLines({ attempt, stage: name, verdict }: Decision): readonly string[] {
  const stage = verdict === undefined ? undefined : attempt.stages.find((each) => each.name === name);
  const gates = stage?.verdict?.gates ?? [];
  if (gates.length === 0) return [];
  const ofDevices = gates.flatMap((gate) => ('fails' in gate ? [gate] : []));
  const ofStage = gates.flatMap((gate) => ('state' in gate ? [gate] : []));
  const said = ofDevices
    .toSorted((a, b) => b.fails - a.fails)
    .map(({ name: gate, holds, fails, missing }) => {
      const not = [fails > 0 ? `fails on ${fails}` : '', missing > 0 ? `unheard of on ${missing}` : ''];
      return `${gate} ${[`holds on ${holds}`, ...not.filter((text) => text !== '')].join(', ')}`;
    });
  return [
    ...(said.length === 0 ? [] : [`  gates: ${said.join('; ')}`]),
    ...ofStage.map(({ name: gate, because }) => `  gate ${gate}: ${because}`),
  ];
}

function short(oid: string): string {
  return oid.slice(0, 8);
}
