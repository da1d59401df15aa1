/** Branded identifiers: a device id is never passed where a rollout's name is meant. */

declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

/** 1–128 characters that a device chose or was given when it enrolled. */
export type DeviceId = Branded<'DeviceId'>;
export type RolloutName = Branded<'RolloutName'>;
/** `sha256:` and 64 hex digits: the digest of the manifest in canonical JSON. */
export type Revision = Branded<'Revision'>;
/** The git tree id of `fleet/`: 40 hex digits. Equal desired state, equal id. */
export type SnapshotId = Branded<'SnapshotId'>;
/** A git commit id: 40 hex digits. */
export type CommitId = Branded<'CommitId'>;
/** 16 hex digits: the first 8 bytes, big endian, of a selection hash. Compares as text. */
export type Score = Branded<'Score'>;

export const DEVICE_ID_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._:@'+-]{0,127}$/;

/** A revision short enough for a table or a file name: 12 hex digits. */
export function shortRevision(revision: Revision): string {
  return revision.slice('sha256:'.length, 'sha256:'.length + 12);
}
