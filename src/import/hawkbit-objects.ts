/**
 * The objects in what hawkBit's Management API answered: `GET /rest/v1/rollouts`, `…/deploygroups`, `/distributionsets`,
 * `/softwaremodules`, `…/artifacts`, `/targetfilters`, `/targets`, `/actions`; single ones, lists and pages of them, in any
 * number of files. Answers do not say what they are, so each is told by the members that only it has.
 */
import type { JsonPlace } from './json-place.ts';

export type HawkbitKind =
  | 'rollout'
  | 'group'
  | 'set'
  | 'module'
  | 'artifact'
  | 'filter'
  | 'target'
  | 'action'
  | 'autoAssignment';

export interface HawkbitObject {
  readonly kind: HawkbitKind;
  readonly place: JsonPlace;
}

/** Pages lie in lists, and lists in mappings that people put together; nothing lies deeper. */
const NESTING = 4;

export function hawkbitObjects(places: readonly JsonPlace[], nesting = 0): HawkbitObject[] {
  if (nesting > NESTING) return [];
  return places.flatMap((place) => {
    if (place.isList) return hawkbitObjects(place.items, nesting + 1);
    if (place.at('content').isList) return hawkbitObjects(place.at('content').items, nesting + 1);
    const kind = kindOf(place);
    if (kind !== undefined) return [{ kind, place }];
    return hawkbitObjects(
      place.entries.map(([, each]) => each).filter((each) => each.isList || each.isMapping),
      nesting + 1,
    );
  });
}

function kindOf(place: JsonPlace): HawkbitKind | undefined {
  if (!place.isMapping) return undefined;
  if (place.at('controllerId').text !== undefined) return 'target';
  if (place.at('hashes').isMapping) return 'artifact';
  if (place.has('targetPercentage') || /\/deploygroups\/\d+/.test(link(place, 'self') ?? '')) return 'group';
  if (place.at('distributionSetId').number !== undefined)
    return place.has('actionType') ? 'autoAssignment' : 'rollout';
  if (place.at('modules').isList && place.at('version').text !== undefined) return 'set';
  if (place.has('forceType') || place.at('maintenanceWindow').isMapping) return 'action';
  if (place.at('query').text !== undefined && place.at('name').text !== undefined) return 'filter';
  const isModule = ['name', 'version', 'type'].every((key) => place.at(key).text !== undefined);
  return isModule && (place.has('vendor') || place.has('encrypted') || place.has('artifacts'))
    ? 'module'
    : undefined;
}

/** The address behind a relation, in the spelling of either generation of the API. */
export function link(place: JsonPlace, rel: string): string | undefined {
  const now = place.at('_links', rel);
  const href = now.at('href').text ?? now.items[0]?.at('href').text;
  return (
    href ??
    place
      .at('links')
      .items.find((each) => each.at('rel').text === rel)
      ?.at('href').text
  );
}

/** Its own id, from its member or its address. */
export function idOf(place: JsonPlace): number | undefined {
  const inLink = /\/(\d+)(?:\?.*)?$/.exec(link(place, 'self') ?? '')?.[1];
  return place.at('id').number ?? (inLink === undefined ? undefined : Number(inLink));
}

/** The id of what it belongs to: of the rollout in `/rollouts/17/deploygroups/78`. */
export function ownerId(place: JsonPlace, collection: 'rollouts' | 'softwaremodules'): number | undefined {
  const found = new RegExp(`/${collection}/(\\d+)/`).exec(link(place, 'self') ?? '')?.[1];
  return found === undefined ? undefined : Number(found);
}
