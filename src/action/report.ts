/** What the action says to people: the same in the summary of the run and in the comment, cut to what each of them holds. */
import { plural } from '../core/words.ts';
import type { Block } from '../proposal/block.ts';
import { contentOf } from '../proposal/content.ts';
import type { Examined } from '../proposal/examination.ts';
import { markdownOf } from '../proposal/markdown.ts';
import { ganttOf } from './diagram.ts';
import { fitted } from './fitted.ts';
import { HEAD, type Simulated } from './simulation.ts';

export interface ReportPlace {
  /** Where the fleet repository lies in the workspace. */
  readonly folder: string;
  readonly runUrl: string | undefined;
}

export interface Report {
  readonly summary: string;
  /** Without its marker. */
  readonly comment: string;
}

/** GitHub's, of a step's summary: 1 MiB. */
const SUMMARY_BYTES_MAX = 1024 * 1024;
/** GitHub's, in characters, of which the marker takes some. */
const COMMENT_LENGTH_MAX = 65_536 - 1_024;

export function reportOf(
  { validation, plan, around }: Examined,
  simulated: Simulated | undefined,
  place: ReportPlace,
): Report {
  const { valid, errors, warnings, documents, allowed } = validation;
  const found = [
    ...(errors > 0 ? [plural(errors, 'error')] : []),
    ...(warnings > 0 ? [plural(warnings, 'warning')] : []),
  ];
  const also = allowed.length === 0 ? '' : `, ${allowed.length} allowed with a reason`;
  const verdict = `${valid ? '✅ Valid' : '❌ Not valid'}: ${found.join(' and ') || 'no problems'} in ${plural(documents, 'document')}${also}.`;
  const isRecordMissing = around.isShallow && plan.record === null;
  return written(
    [
      ...markdownsOf([{ kind: 'text', text: verdict }]),
      ...(isRecordMissing ? [RECORD_MISSING] : []),
      ...markdownsOf(contentOf(plan)),
      ...(simulated === undefined ? [] : simulationOf(simulated)),
    ],
    place,
  );
}

/** Where nothing could be examined: why, and the next step. */
export function refusalReport(message: string, place: ReportPlace): Report {
  return written(markdownsOf([{ kind: 'text', text: `❌ Not examined: ${message}.` }]), place);
}

const RECORD_MISSING =
  '> [!NOTE]\n> This checkout has only part of the history, and the branch `outcomes` is not in it: what devices run and how many there are is not known. Give `actions/checkout` the input `fetch-depth: 0`.';

function written(blocks: readonly string[], { folder, runUrl }: ReportPlace): Report {
  const [title = ''] = markdownsOf([
    { kind: 'text', text: folder === '' ? 'Tidegate' : `Tidegate: ${folder}` },
  ]);
  const all = [`## ${title}`, ...blocks];
  const last = runUrl === undefined ? '' : `[The run](${runUrl})`;
  const rest = 'The whole plan is in the file of the output plan-json.';
  return {
    summary: fitted(all, '', { max: SUMMARY_BYTES_MAX, sizeOf: Buffer.byteLength, rest }),
    comment: fitted(all, last, { max: COMMENT_LENGTH_MAX, sizeOf: (text) => text.length, rest }),
  };
}

function simulationOf({ rollouts, notes }: Simulated): readonly string[] {
  return [
    ...markdownsOf([{ kind: 'heading', level: 1, text: 'Played before it is merged' }]),
    ...rollouts.flatMap(({ title, rows, runs, notes: assumed }) => [
      ...markdownsOf([
        { kind: 'heading', level: 2, text: title },
        { kind: 'table', head: HEAD, rows, numbers: [1, 3, 5] },
      ]),
      ganttOf(runs),
      ...markdownsOf([{ kind: 'list', items: assumed }]),
    ]),
    ...markdownsOf(notes.map((text) => ({ kind: 'text', text }))),
  ];
}

/** One markdown per block. */
function markdownsOf(blocks: readonly Block[]): readonly string[] {
  return blocks.map((block) => markdownOf([block]).trimEnd());
}
