/**
 * Problems as a SARIF 2.1.0 log (https://docs.oasis-open.org/sarif/sarif/v2.1.0/), which code scanning services take. What
 * GitHub takes of it is less than the standard: https://docs.github.com/code-security/code-scanning/integrating-with-code-scanning/sarif-support-for-code-scanning
 */
import { sha256Hex } from '../core/model/manifest.ts';
import type { AllowedProblem } from '../documents/allowances.ts';
import type { Problem } from '../documents/problem.ts';
import { ruleText } from '../documents/rule-page.ts';
import { RULE_IDS, RULES, type RuleId } from '../documents/rules.ts';
import type { ValidationReport } from './validation.ts';

export interface SarifOptions {
  /** Of Tidegate. */
  readonly version: string;
  /** Where the fleet repository lies below the root of the source: `` for the root itself, else as `fleets/homes`. */
  readonly folder: string;
}

/** GitHub keeps so many results of a run, and refuses a run with 25,000. The gravest come first. */
export const RESULTS_MAX = 5000;

/** What relative addresses are relative to, by the name that GitHub knows. */
const ROOT = '%SRCROOT%';

export function sarifLog(report: ValidationReport, { version, folder }: SarifOptions): object {
  const all = [...report.problems, ...report.allowed].sort((a, b) => gravity(a) - gravity(b));
  const kept = all.slice(0, RESULTS_MAX);
  const fingerprint = createFingerprints();
  return {
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    version: '2.1.0',
    runs: [
      {
        tool: {
          driver: {
            name: 'Tidegate',
            semanticVersion: version,
            informationUri: 'https://tidegate.dev/',
            rules: RULE_IDS.map(ruleOf),
          },
        },
        automationDetails: { id: `tidegate/validate/${folder}` },
        columnKind: 'utf16CodeUnits',
        originalUriBaseIds: { [ROOT]: { description: { text: 'The root of the repository.' } } },
        invocations: [{ executionSuccessful: true, ...notification(all.length - kept.length) }],
        results: kept.map((problem) => resultOf(problem, { folder, fingerprint })),
      },
    ],
  };
}

function gravity(problem: Problem | AllowedProblem): number {
  if ('reason' in problem) return 2;
  return problem.severity === 'error' ? 0 : 1;
}

function ruleOf(id: RuleId): object {
  const { class: is, summary, why } = RULES[id];
  const text = ruleText(id);
  return {
    id,
    shortDescription: { text: summary },
    fullDescription: { text: why },
    helpUri: `https://tidegate.dev/rules/${id}`,
    help: { text, markdown: text },
    defaultConfiguration: { level: is === 'advice' ? 'warning' : 'error' },
    properties: { tags: ['fleet', is], 'problem.severity': is === 'advice' ? 'warning' : 'error' },
  };
}

function resultOf(
  problem: Problem | AllowedProblem,
  { folder, fingerprint }: { readonly folder: string; readonly fingerprint: (problem: Problem) => string },
): object {
  const { file, line, column, rule, severity, message } = problem;
  const path = folder === '' ? file : `${folder}/${file}`;
  const uri = path.split('/').map(encodeURIComponent).join('/');
  return {
    ruleId: rule,
    ruleIndex: RULE_IDS.indexOf(rule),
    level: severity,
    message: { text: message },
    locations: [
      {
        physicalLocation: {
          artifactLocation: { uri, uriBaseId: ROOT },
          region: { startLine: line, startColumn: column },
        },
      },
    ],
    partialFingerprints: { 'tidegateProblem/v1': fingerprint(problem) },
    ...('reason' in problem
      ? { suppressions: [{ kind: 'inSource', status: 'accepted', justification: problem.reason }] }
      : {}),
  };
}

/**
 * Equal for what is the same problem after lines above it have come or gone: numbers in the message may be of lines. Of
 * several alike, the how-manieth tells them apart.
 */
function createFingerprints(): (problem: Problem) => string {
  const seen = new Map<string, number>();
  return ({ file, rule, message }) => {
    const what = sha256Hex(JSON.stringify([rule, file, message.replaceAll(/[0-9]+/g, '#')])).slice(0, 16);
    const nth = (seen.get(what) ?? 0) + 1;
    seen.set(what, nth);
    return `${what}:${nth}`;
  };
}

function notification(left: number): object {
  if (left === 0) return {};
  const text = `${left} more problems are not listed; correct the others first`;
  return { toolExecutionNotifications: [{ level: 'warning', message: { text } }] };
}
