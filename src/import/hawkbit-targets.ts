/** hawkBit's targets → a list of devices, with their attributes, tags, group and type as tags. Tokens stay where they are. */
import type { ImportDesk } from './imported.ts';
import type { JsonPlace } from './json-place.ts';
import { tagNameFrom } from './names.ts';
import { TAGGED } from './rsql.ts';
import { looksSecret } from './secrets.ts';

/** The tags that imported devices have. */
export type TagNames = ReadonlySet<string>;

const ID = /^[A-Za-z0-9][A-Za-z0-9._:@'+-]{0,127}$/;
const VALUE_LENGTH = 256;
const TAGS_MAX = 64;
/** As many as a document may list. */
const LISTED_MAX = 10_000;

/** Whether every target is called as its id, so that a name in a query means the id. */
export function namesAreIds(targets: readonly JsonPlace[]): boolean {
  return (
    targets.length > 0 &&
    targets.every(
      (target) => target.at('name').isNothing || target.at('name').text === target.at('controllerId').text,
    )
  );
}

export function importTargets(
  targets: readonly JsonPlace[],
  { desk, nameIsId }: { readonly desk: ImportDesk; readonly nameIsId: boolean },
): TagNames {
  const tagNames = new Set<string>();
  const devices = new Map<string, object>();
  for (const target of targets) {
    const id = target.at('controllerId').text ?? '';
    if (devices.has(id)) continue;
    if (!ID.test(id)) {
      const next = 'give the device another id when it enrols';
      desk.say(
        'refused',
        target.at('controllerId'),
        "an id has letters, digits and . _ : @ ' + -, at most 128",
        next,
      );
      continue;
    }
    const tags = tagsOf(target, { desk, nameIsId });
    for (const name of Object.keys(tags)) tagNames.add(name);
    devices.set(id, { id, ...(Object.keys(tags).length === 0 ? {} : { tags }) });
  }
  sayTokens(targets, desk);
  const all = [...devices.values()];
  for (let at = 0; at < all.length; at += LISTED_MAX) {
    const name = at === 0 ? 'imported' : `imported-${at / LISTED_MAX + 1}`;
    const listed = all.slice(at, at + LISTED_MAX);
    desk.make('DeviceList', name, {
      from: `${listed.length} ${listed.length === 1 ? 'target' : 'targets'}`,
      metadata: { name },
      spec: { devices: listed },
    });
  }
  return tagNames;
}

function tagsOf(
  target: JsonPlace,
  { desk, nameIsId }: { readonly desk: ImportDesk; readonly nameIsId: boolean },
): Record<string, string> {
  const tags: Record<string, string> = {};
  const add = (written: string, value: string | undefined, place: JsonPlace) => {
    if (value === undefined || value === '') return;
    const name = tagNameFrom(written)?.replace(/\.+$/, '');
    if (looksSecret(written, value)) {
      desk.say(
        'act',
        place,
        `${written} looks like a secret, and a repository keeps what it once had`,
        'keep it on the device',
      );
    } else if (name === undefined || value.length > VALUE_LENGTH || Object.keys(tags).length >= TAGS_MAX) {
      desk.say(
        'act',
        place,
        "a tag's value has at most 256 characters, and a device 64 tags",
        'leave it out, or shorten it',
      );
    } else tags[name] = value;
  };
  for (const [name, place] of target.at('attributes').entries) add(name, place.scalar, place);
  for (const place of target.at('tags').items) {
    const tag = place.text ?? place.at('name').text;
    if (tag !== undefined) add(tag, TAGGED, place);
  }
  add('group', target.at('group').text, target.at('group'));
  add('type', target.at('targetTypeName').text, target.at('targetTypeName'));
  if (!nameIsId) add('name', target.at('name').text, target.at('name'));
  return tags;
}

function sayTokens(targets: readonly JsonPlace[], desk: ImportDesk): void {
  const place = targets.find((target) => !target.at('securityToken').isNothing);
  if (place === undefined) return;
  desk.say(
    'act',
    place.at('securityToken'),
    'security tokens are secrets, and devices have keys of their own here',
    'let devices enrol: tidegate device token',
  );
}
