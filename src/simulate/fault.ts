/**
 * What is made to go wrong, in words: `crash=4x`, `install=5%`, `signal:drops=17@10% where tags.hardwareRevision = 'c'`. A fault
 * concerns devices that run the candidate, but for the season, which is the whole fleet's. What it does is crowd.ts's to play.
 */
import type { SignalValue } from '../core/model/device.ts';
import { parseCondition } from '../core/target/condition.ts';

/** Which of the devices that get the candidate have the fault. */
interface Concerned {
  /** So many of them, 0 to 1. */
  readonly share: number;
  /** A target condition: only those that match. */
  readonly where?: string;
}

export type Fault =
  /** An event happens so many times as often, or a metric's mean is so many times as high. */
  | (Concerned & { readonly kind: 'rate'; readonly name: string; readonly times: number })
  /** The install fails. */
  | (Concerned & { readonly kind: 'install' })
  /** Nothing is heard of it any more, once it has booted the candidate. */
  | (Concerned & { readonly kind: 'silence' })
  | (Concerned & { readonly kind: 'signal'; readonly signal: string; readonly value: SignalValue })
  /** Every event of every device, whatever it runs, happens so many times as often from the start of the rollout on. */
  | { readonly kind: 'season'; readonly times: number }
  /** What the world outside says while the candidate rolls out. */
  | { readonly kind: 'prometheus'; readonly gate: string; readonly value: number }
  | { readonly kind: 'webhook'; readonly gate: string; readonly verdict: 'halt' | 'wait' }
  | { readonly kind: 'observations'; readonly metric: string; readonly value: number };

/** A fault that is on some devices and not on others. */
export type DeviceFault = Extract<Fault, Concerned>;

export type ParsedFault =
  | { readonly ok: true; readonly fault: Fault }
  | { readonly ok: false; readonly message: string };

export function isOnDevices(fault: Fault): fault is DeviceFault {
  return 'share' in fault;
}

/** For messages and help: each way to write one. */
export const FAULT_FORMS = [
  'crash=4x',
  'install=5%',
  'silence=20%',
  'season=1.5x',
  'signal:drops=17@10%',
  'prometheus:GATE=12',
  'webhook:GATE=halt',
  'observations:METRIC=40',
] as const;

const FORM = /^(?:(signal|prometheus|webhook|observations):)?([A-Za-z][\w.-]*)=(.*?)(?:\s+where\s+(.+))?$/is;

/** `where CONDITION` may follow each fault that is on devices, and `@SHARE%` each of theirs but a share. */
export function parseFault(text: string): ParsedFault {
  const [, source, name, said, where] = FORM.exec(text.trim()) ?? [];
  if (name === undefined || said === undefined) {
    return refuse(`expected a fault such as ${FAULT_FORMS.slice(0, 3).join(', ')}; found ${quote(text)}`);
  }
  if (where !== undefined) {
    if (!isForDevices(source, name)) {
      return refuse(`${name} is not on single devices; leave out where, found ${quote(text)}`);
    }
    const parsed = parseCondition(where);
    if (!parsed.ok) return refuse(`where ${where}: ${parsed.message}`);
  }
  const among = where === undefined ? {} : { where };
  if (source === undefined) return parsePlain(name, said, among);
  if (source === 'signal') {
    const { value, share } = withShare(said);
    if (share === undefined)
      return refuse(`${name}: expected a share behind @, as @10%; found ${quote(said)}`);
    if (value === '') return refuse(`${name}: expected a value, as signal:${name}=17; found nothing`);
    return accept({ kind: 'signal', signal: name, value: signalValue(value), share, ...among });
  }
  if (source === 'webhook') {
    if (said !== 'halt' && said !== 'wait')
      return refuse(`webhook:${name} says halt or wait; found ${quote(said)}`);
    return accept({ kind: 'webhook', gate: name, verdict: said });
  }
  const value = NUMBER.test(said) ? Number(said) : undefined;
  if (value === undefined) return refuse(`${source}:${name} gives a number; found ${quote(said)}`);
  return source === 'prometheus'
    ? accept({ kind: 'prometheus', gate: name, value })
    : accept({ kind: 'observations', metric: name, value });
}

/** A signal's value as it is written in a shell: `true`, `17`, `42s`. */
export function signalValue(text: string): SignalValue {
  if (text === 'true' || text === 'false') return text === 'true';
  return NUMBER.test(text) ? Number(text) : text;
}

/** The fault as it is written. */
export function faultText(fault: Fault): string {
  switch (fault.kind) {
    case 'season':
      return `season=${fault.times}x`;
    case 'prometheus':
      return `prometheus:${fault.gate}=${fault.value}`;
    case 'webhook':
      return `webhook:${fault.gate}=${fault.verdict}`;
    case 'observations':
      return `observations:${fault.metric}=${fault.value}`;
    case 'rate':
      return `${fault.name}=${fault.times}x${among(fault)}`;
    case 'signal':
      return `signal:${fault.signal}=${fault.value}${among(fault)}`;
    case 'install':
    case 'silence':
      return `${fault.kind}=${percent(fault.share)}${where(fault)}`;
  }
}

function among(fault: Concerned): string {
  return (fault.share === 1 ? '' : `@${percent(fault.share)}`) + where(fault);
}

function where(fault: Concerned): string {
  return fault.where === undefined ? '' : ` where ${fault.where}`;
}

function percent(share: number): string {
  return `${Number((share * 100).toFixed(6))}%`;
}

function parsePlain(name: string, said: string, among: { readonly where?: string }): ParsedFault {
  if (name === 'install' || name === 'silence') {
    const share = shareOf(said);
    if (share === undefined)
      return refuse(`${name} takes a share of the devices, as ${name}=5%; found ${quote(said)}`);
    return accept({ kind: name, share, ...among });
  }
  const { value, share } = withShare(said);
  const times = TIMES.test(value) ? Number(value.slice(0, -1)) : undefined;
  if (times === undefined || share === undefined || times > TIMES_MAX) {
    return refuse(
      `${name} takes how many times as often it happens, up to ${TIMES_MAX}x, as ${name}=4x or ${name}=4x@10%; found ${quote(said)}`,
    );
  }
  if (name === 'season') {
    return share === 1
      ? accept({ kind: 'season', times })
      : refuse('season is for every device; leave out the share');
  }
  return accept({ kind: 'rate', name, times, share, ...among });
}

function isForDevices(source: string | undefined, name: string): boolean {
  return source === undefined ? name !== 'season' : source === 'signal';
}

const NUMBER = /^-?[0-9]{1,15}(\.[0-9]{1,9})?$/;
const TIMES = /^[0-9]{1,6}(\.[0-9]{1,6})?x$/;
const TIMES_MAX = 1000;
const SHARE = /^[0-9]{1,3}(\.[0-9]{1,6})?%$/;

/** 0 to 1; undefined where it is none. */
function shareOf(text: string): number | undefined {
  const share = SHARE.test(text) ? Number(text.slice(0, -1)) / 100 : undefined;
  return share === undefined || share > 1 ? undefined : share;
}

function withShare(said: string): { readonly value: string; readonly share: number | undefined } {
  const at = said.lastIndexOf('@');
  if (at === -1) return { value: said, share: 1 };
  return { value: said.slice(0, at), share: shareOf(said.slice(at + 1)) };
}

function accept(fault: Fault): ParsedFault {
  return { ok: true, fault };
}

function refuse(message: string): ParsedFault {
  return { ok: false, message };
}

function quote(text: string): string {
  return JSON.stringify(text);
}
