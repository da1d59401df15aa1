/** Names of other systems as names of ours: what does not fit is replaced, and no two come out the same. */

const NAME_MAX = 63;

/** `Kiosk Berlin_7` → `kiosk-berlin-7`; undefined where no letter and no digit is left. */
export function nameFrom(text: string): string | undefined {
  const name = text
    .normalize('NFKD')
    .toLowerCase()
    .replaceAll(/[\u0300-\u036f]/g, '')
    .replaceAll(/[^a-z0-9.]+/g, '-')
    .replaceAll(/^[-.]+/g, '')
    .slice(0, NAME_MAX)
    .replaceAll(/[-.]+$/g, '');
  return name === '' ? undefined : name;
}

/** `1.4.0 (rc)` → `1.4.0-rc`; undefined where nothing is left. */
export function versionFrom(text: string, lengthMax = 63): string | undefined {
  const version = text
    .replaceAll(/[^A-Za-z0-9._+-]+/g, '-')
    .replaceAll(/^[^A-Za-z0-9]+/g, '')
    .slice(0, lengthMax)
    .replaceAll(/-+$/g, '');
  return version === '' ? undefined : version;
}

/** A tag's name, of which case is kept; undefined where nothing is left. */
export function tagNameFrom(text: string): string | undefined {
  const name = text
    .replaceAll(/[^A-Za-z0-9_.-]+/g, '-')
    .replaceAll(/^[^A-Za-z]+/g, '')
    .slice(0, NAME_MAX);
  return name === '' ? undefined : name;
}

/** Hands out each name once: the second `kiosk` is `kiosk-2`. */
export class Names {
  readonly #taken = new Set<string>();

  /** `wanted` may have a suffix that stays its end: the version of a distribution set's name. */
  take(wanted: string, suffix = ''): string {
    for (let count = 1; ; count++) {
      const number = count === 1 ? '' : `-${count}`;
      const name = `${wanted.slice(0, NAME_MAX - number.length)}${number}${suffix}`;
      if (this.#taken.has(name)) continue;
      this.#taken.add(name);
      return name;
    }
  }
}

const LABEL_KEY = /^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$/;
const LABEL_LENGTH = 128;

/** Whether a label of ours can be this. */
export function isLabel(key: string, value: string): boolean {
  return LABEL_KEY.test(key) && value.length <= LABEL_LENGTH;
}
