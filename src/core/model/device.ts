/**
 * What Tidegate knows of one device: who it is, and what its reports say. Reports are level-triggered (each repeats
 * where the device stands), so a lost one costs nothing and a repeated one counts once.
 */
import type { DeviceId, Revision } from './ids.ts';
import { type Instant, MINUTE } from './time.ts';

export interface DeviceRecord {
  readonly id: DeviceId;
  /** From the enrolment token; never from what the device says of itself. */
  readonly tags: Readonly<Record<string, string>>;
  /** The device's Ed25519 public key: base64url of its 32 bytes, a JWK's `x`. */
  readonly publicKey: string;
  /** Counts the credentials given out for this id. */
  readonly serial: number;
  readonly enrolledAt: Instant;
  /** Rises whenever tags or key change; part of the generation that the device compares. */
  readonly version: number;
  readonly report?: ReportedState;
}

/** The state that a device last reported, with what must outlive a single report. */
export interface ReportedState {
  readonly receivedAt: Instant;
  readonly generation: number;
  readonly running?: Revision;
  readonly attempt?: ReportedAttempt;
  readonly signals: Readonly<Record<string, SignalValue>>;
  /** Newest boot first; at most {@link BOOTS_REMEMBERED}. */
  readonly boots: readonly BootWindow[];
  /** Device-hours reported while running `running`, since it began to run it. */
  readonly exposureHours: number;
  /** What gates have counted of the device, while one asks. */
  readonly observed?: ObservedOfDevice;
}

export interface ObservedOfDevice {
  /** When the hour began in which something was counted last, and what was counted in it. */
  readonly hour: Instant;
  readonly counted: readonly string[];
  /** Incidents by arm and event, of the arms that it is in. */
  readonly incidents: Readonly<Record<string, number>>;
  /** Those that were counted since the last stage opened, in any arm: by attempt, number of open stages, and event. */
  readonly ofStage: Readonly<Record<string, number>>;
  /** Since when they watch it, and of how many seconds since then it has said that it ran. */
  readonly since: Instant;
  readonly seconds: number;
}

export interface BootWindow {
  readonly bootId: string;
  /** Highest `seq` counted. */
  readonly seq: number;
  /** Hex bit set over the 64 numbers up to `seq`: bit 0 is `seq` itself. */
  readonly counted: string;
}

export type SignalValue = boolean | number | string;

export const ATTEMPT_STATES = [
  'downloading',
  'verifying',
  'installing',
  'booting',
  'checking',
  'succeeded',
  'failed',
  'rolledBack',
] as const;
export type ReportedAttemptState = (typeof ATTEMPT_STATES)[number];

export interface ReportedAttempt {
  readonly revision: Revision;
  readonly state: ReportedAttemptState;
  /** Where it failed, as `install.disk-full`. A failure without one is filed as `uncategorised`. */
  readonly category?: string;
  readonly message?: string;
}

/** The body of `POST /v1/devices/:id/reports`, validated. */
export interface Report {
  readonly bootId: string;
  readonly seq: number;
  readonly generation: number;
  readonly running?: Revision;
  readonly attempt?: ReportedAttempt;
  readonly signals: Readonly<Record<string, SignalValue>>;
  readonly exposureHours: number;
  readonly events: Readonly<Record<string, number>>;
}

export const BOOTS_REMEMBERED = 4;
/** A report that comes later than this is no straggler. */
const BOOT_SILENT_MS = 10 * MINUTE;
const WINDOW = 64n;
const WINDOW_MASK = (1n << WINDOW) - 1n;

/** `counted`: something was new. `late`: only its amounts counted. `duplicate`: nothing did. */
export type ReportEffect = 'counted' | 'late' | 'duplicate';

/**
 * The record after a report. Amounts (exposure, events) count once per `bootId` and `seq`, in any order, within the
 * last 64 numbers of the last four boots; the state that the device is in is taken from the newest report only.
 * What is older than that window cannot be told from a repetition and counts as one.
 */
export function applyReport(
  record: DeviceRecord,
  report: Report,
  receivedAt: Instant,
): { readonly record: DeviceRecord; readonly effect: ReportEffect } {
  const before = record.report;
  const boots = before?.boots ?? [];
  const index = boots.findIndex((boot) => boot.bootId === report.bootId);
  const known = boots[index];
  const window = countOnce(known, report);
  if (window === undefined) return { record, effect: 'duplicate' };

  // A report that a reboot overtook makes its boot, heard of for the first time, look like the newest. The boot that
  // really runs goes on counting while that one stays silent, and takes its place back.
  const isSilent = before !== undefined && receivedAt - before.receivedAt > BOOT_SILENT_MS;
  const isNewest = known === undefined || (report.seq > known.seq && (index === 0 || isSilent));
  if (!isNewest && before !== undefined) {
    const state = {
      ...before,
      boots: boots.map((boot, at) => (at === index ? window : boot)),
      exposureHours: before.exposureHours + (report.running === before.running ? report.exposureHours : 0),
    };
    return { record: { ...record, report: state }, effect: 'late' };
  }

  const others = boots.filter((boot) => boot.bootId !== report.bootId);
  const sameRevision = before !== undefined && before.running === report.running;
  const state: ReportedState = {
    receivedAt,
    generation: report.generation,
    ...(report.running === undefined ? {} : { running: report.running }),
    ...(report.attempt === undefined ? {} : { attempt: report.attempt }),
    signals: report.signals,
    boots: [window, ...others].slice(0, BOOTS_REMEMBERED),
    exposureHours: (sameRevision ? before.exposureHours : 0) + report.exposureHours,
    ...(before?.observed === undefined ? {} : { observed: before.observed }),
  };
  return { record: { ...record, report: state }, effect: 'counted' };
}

/** The boot's window with `report.seq` marked, or undefined where it was counted before or is too old to tell. */
function countOnce(known: BootWindow | undefined, report: Report): BootWindow | undefined {
  if (known === undefined) return { bootId: report.bootId, seq: report.seq, counted: '1' };
  const counted = BigInt(`0x${known.counted}`);
  const ahead = BigInt(report.seq) - BigInt(known.seq);
  if (ahead > 0n) {
    const shifted = ahead >= WINDOW ? 0n : (counted << ahead) & WINDOW_MASK;
    return { ...known, seq: report.seq, counted: (shifted | 1n).toString(16) };
  }
  // Checked before shifting: the number comes from outside, and a shift by 2^50 has no room in memory.
  if (-ahead >= WINDOW) return undefined;
  const bit = 1n << -ahead;
  if ((counted & bit) !== 0n) return undefined;
  return { ...known, counted: (counted | bit).toString(16) };
}

/** Whether the device is on its way to `revision`: it works on it now, or booted it and has not yet confirmed it. */
export function isInstalling(state: ReportedState | undefined, revision: Revision): boolean {
  const attempt = state?.attempt;
  if (attempt === undefined || attempt.revision !== revision) return false;
  return attempt.state !== 'succeeded' && attempt.state !== 'failed' && attempt.state !== 'rolledBack';
}

/** A report covers at most this much time: no device can claim more exposure than it could have had. */
export const EXPOSURE_HOURS_MAX = 24;
