/** `tidegate why`: what one device gets, and the rule of every rollout that matches it. */
import type { Explanation } from '../core/assign/explain.ts';
import type { DeviceStatus } from '../core/assign/standing.ts';
import type { SignalValue } from '../core/model/device.ts';
import { type Revision, shortRevision } from '../core/model/ids.ts';
import type { Instant } from '../core/model/time.ts';
import { EXIT, type ExitCode } from './errors.ts';
import type { Io } from './io.ts';
import { formatWhen, hanging, type Output, printable, wrap } from './output.ts';
import { getJson, serverUrl } from './server.ts';
import { DEVICE_WORDS } from './status-text.ts';

export interface WhyOptions {
  readonly device: string;
  readonly server?: string;
  readonly format: 'text' | 'json';
}

/** The body of `GET /api/devices/:id`; instants are ISO 8601. */
export interface DeviceAnswer {
  readonly id: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly enrolledAt: string;
  readonly status: DeviceStatus;
  readonly revertible: boolean;
  readonly report?: {
    readonly receivedAt: string;
    readonly running?: Revision;
    readonly attempt?: {
      readonly revision: Revision;
      readonly state: string;
      readonly category?: string;
      readonly message?: string;
    };
    readonly signals: Readonly<Record<string, SignalValue>>;
    readonly exposureHours: number;
  } | null;
  readonly assignment: {
    readonly rollout: string;
    readonly attempt: number;
    readonly revision: Revision;
    readonly distributionSet: string;
  } | null;
  readonly explanation: Explanation;
}

export async function run(options: WhyOptions, io: Io): Promise<ExitCode> {
  const server = serverUrl(options.server, io);
  const answer = await getJson(io, server, `api/devices/${encodeURIComponent(options.device)}`);
  if (answer === undefined) {
    const next = 'ids are case-sensitive; a device is known once it has enrolled';
    io.err.lines([`no device "${printable(options.device)}" is known at ${server.origin}; ${next}`]);
    return EXIT.problems;
  }
  if (options.format === 'json') io.out.write(`${answer.text.trimEnd()}\n`);
  else io.out.lines(deviceLines(answer.body as DeviceAnswer, io.clock.now(), io.out));
  return EXIT.fine;
}

/** The answer first, then what is known of the device, then rule by rule. */
export function deviceLines(device: DeviceAnswer, now: Instant, out: Output): string[] {
  const { report, explanation } = device;
  const tags = Object.entries(device.tags).map(([key, value]) => `${key}=${value}`);
  const facts: [string, string][] = [
    ['status', DEVICE_WORDS[device.status]],
    ['tags', tags.length === 0 ? 'none' : tags.sort().join(' ')],
    ['enrolled', formatWhen(Date.parse(device.enrolledAt), now)],
    ...(device.revertible ? [] : [NOT_REVERTIBLE]),
    ['reported', report ? formatWhen(Date.parse(report.receivedAt), now) : 'never'],
    ...(report ? reportFacts(device, report) : []),
  ];
  const rules = explanation.rollouts;
  const nameWidth = Math.max(0, ...rules.map(({ rollout }) => rollout.length));
  return [
    ...wrap(`${device.id} ${explanation.summary}`, out).map((line) => out.paint('bold', line)),
    '',
    ...facts.flatMap(([name, text]) => hanging(name, text, FACT_WIDTH, out)),
    ...(rules.length === 0 ? [] : ['', 'Rollouts that match it, highest precedence first:']),
    ...rules.flatMap(({ rollout, reason }) => hanging(rollout, reason, nameWidth, out)),
  ];
}

const FACT_WIDTH = 'enrolled'.length;
const NOT_REVERTIBLE: [string, string] = ['reverts', 'not by itself: its tag capability does not say ab'];

function reportFacts(device: DeviceAnswer, report: NonNullable<DeviceAnswer['report']>): [string, string][] {
  const { running, attempt, signals } = report;
  const named = (revision: Revision) =>
    revision === device.assignment?.revision
      ? `${device.assignment.distributionSet} (${shortRevision(revision)}), as assigned`
      : `${shortRevision(revision)}, which is not what it is assigned now`;
  const why = [attempt?.category, attempt?.message].filter((text) => text !== undefined).join(': ');
  const values = Object.entries(signals).map(([name, value]) => `${name}=${value}`);
  const facts: [string, string][] = [
    ['runs', running === undefined ? 'nothing that it reports' : named(running)],
  ];
  if (attempt !== undefined && !(attempt.state === 'succeeded' && attempt.revision === running)) {
    facts.push([
      'attempt',
      `${attempt.state} ${shortRevision(attempt.revision)}${why === '' ? '' : ` (${why})`}`,
    ]);
  }
  if (values.length > 0) facts.push(['signals', values.sort().join(' ')]);
  return facts;
}
