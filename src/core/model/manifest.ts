/**
 * What a device is told to run. A manifest is a distribution set resolved to plain data; its digest is the
 * revision. Nothing that does not change what a device runs (labels, annotations, descriptions) is in it.
 */
import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js';
import { canonicalize } from '@tufjs/canonical-json';
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

/** OLPC canonical JSON: sorted keys, no white space, no floating-point numbers. What digests and signatures cover. */
export function canonicalJson(value: unknown): string {
  return canonicalize(value);
}

/** Lower-case hex SHA-256 of the UTF-8 text. */
export function sha256Hex(text: string): string {
  return bytesToHex(sha256(utf8ToBytes(text)));
}

/** The revision of a manifest: equal content, equal revision, whatever the order of its keys. */
export function revisionOf(manifest: Manifest): Revision {
  return `sha256:${sha256Hex(canonicalJson(manifest))}` as Revision;
}
