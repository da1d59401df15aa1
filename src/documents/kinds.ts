/** The kinds of document: one schema in `schemas/` and one folder each. */

/** Where the documents of each kind lie: below a folder, or in exactly one file. */
export const PLACES = {
  Fleet: 'fleet/fleet.yaml',
  DistributionSet: 'fleet/distribution-sets/',
  Rollout: 'fleet/rollouts/',
  StagePlan: 'fleet/stages/',
  Gate: 'fleet/gates/',
  Flag: 'fleet/flags/',
  Group: 'fleet/groups/',
  Site: 'fleet/sites/',
  DeviceList: 'fleet/devices/',
  Operation: 'ops/',
} as const;

export type Kind = keyof typeof PLACES;

export const KINDS = Object.keys(PLACES) as readonly Kind[];

/** `DistributionSet` → `distribution-set`: how the schema's file is called. */
export function kebabCase(kind: Kind): string {
  return kind.replaceAll(/(?<=[a-z])[A-Z]/g, '-$&').toLowerCase();
}
