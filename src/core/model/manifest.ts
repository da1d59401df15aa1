/**
 * What a device is told to run. A manifest is a distribution set resolved to plain data; its digest is the
 * revision. Nothing that does not change what a device runs (labels, annotations, descriptions) is in it.
 */
import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js';
import type { Revision } from './ids.ts';

export interface Artifact {
  readonly name: string;
  /** Hex. */
  readonly sha256: string;
  readonly sizeBytes: number;
  readonly urls: readonly string[];
  /** Lowest security epoch at which this artifact may be installed; a device refuses what is below its own. */
  readonly securityEpoch?: number;
  readonly hardwareIds?: readonly string[];
}

export interface Module {
  readonly name: string;
  readonly version: string;
  readonly type: string;
  readonly status: 'running' | 'stopped';
  readonly restartPolicy: 'always' | 'on-failure' | 'on-unhealthy' | 'never';
  /** An image reference, registry included: `registry.example/telemetry:2.6.0`. */
  readonly image?: string;
  /** The name of what logs in to the image's registry and the artifacts' mirrors: the device has it, nobody else does. */
  readonly registryCredential?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly artifacts?: readonly Artifact[];
}

export interface Manifest {
  /** `<product>@<version>`: the distribution set's name. */
  readonly distributionSet: string;
  readonly product: string;
  readonly version: string;
  readonly modules: readonly Module[];
  /** Message routes by name, as Azure IoT Edge has them. */
  readonly routes?: Readonly<Record<string, string>>;
}

/**
 * OLPC canonical JSON: sorted keys, no white space, no floating-point numbers, and only quotes and backslashes escaped. What
 * digests and signatures cover. Throws a TypeError for what has no such form.
 */
export function canonicalJson(value: unknown): string {
  // What was read from canonical JSON is in order already, and then one native call writes it: five times as fast.
  if (isInOrder(value)) {
    const text = JSON.stringify(value);
    if (!OTHER_ESCAPE.test(text)) return text;
  }
  return written(value);
}

/** What JSON escapes and canonical JSON does not; a backslash of its own before a letter looks like it, and is written anew. */
const OTHER_ESCAPE = /\\[^"\\]/;

function isInOrder(value: unknown): boolean {
  if (typeof value === 'string' || value === null || typeof value === 'boolean') return true;
  if (typeof value === 'number') return Number.isInteger(value);
  if (Array.isArray(value)) return value.every(isInOrder);
  if (typeof value !== 'object') return false;
  let last: string | undefined;
  for (const key of Object.keys(value)) {
    if (last !== undefined && key < last) return false;
    last = key;
    if (!isInOrder((value as Record<string, unknown>)[key])) return false;
  }
  return true;
}

function written(value: unknown): string {
  if (typeof value === 'string') return quoted(value);
  if (value === null || typeof value === 'boolean' || Number.isInteger(value)) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(written).join()}]`;
  if (typeof value !== 'object') throw new TypeError(`cannot encode ${String(value)}`);
  let members = '';
  for (const key of Object.keys(value).sort()) {
    const member = `${quoted(key)}:${written((value as Record<string, unknown>)[key])}`;
    members += members === '' ? member : `,${member}`;
  }
  return `{${members}}`;
}

function quoted(text: string): string {
  return /["\\]/.test(text) ? `"${text.replace(/["\\]/g, '\\$&')}"` : `"${text}"`;
}

/** Lower-case hex SHA-256 of the UTF-8 text. */
export function sha256Hex(text: string): string {
  return bytesToHex(sha256(utf8ToBytes(text)));
}

/** The revision of a manifest: equal content, equal revision, whatever the order of its keys. */
export function revisionOf(manifest: Manifest): Revision {
  return `sha256:${sha256Hex(canonicalJson(manifest))}` as Revision;
}
