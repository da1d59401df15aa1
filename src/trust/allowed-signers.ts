/**
 * Whose keys count: `trust/allowed_signers`, in the format of ssh-keygen(1) ALLOWED SIGNERS, as `git log --show-signature`
 * reads it. Instants without `Z` are UTC here: a fleet has no time zone of its own for this.
 */
import type { Instant } from '../core/model/time.ts';
import { isUsableKey, keyFingerprint } from './ssh-signature.ts';

export interface AllowedSigners {
  readonly signers: readonly AllowedSigner[];
  /** Lines that add nobody, with the reason and what to do. */
  readonly problems: readonly { readonly line: number; readonly message: string }[];
}

export interface AllowedSigner {
  /**
   * Who signs with the key: the first of its principals. Keys that share a principal, and principals that share a key,
   * are one person and have one name here, so that nobody counts twice. Patterns name nobody: such a key goes by its fingerprint.
   */
  readonly name: string;
  /** In base64. */
  readonly key: string;
  /** Patterns; absent: every namespace. */
  readonly namespaces?: readonly string[];
  readonly validFrom?: Instant;
  readonly validUntil?: Instant;
}

export function parseAllowedSigners(text: string): AllowedSigners {
  const problems: { line: number; message: string }[] = [];
  const lines: Line[] = [];
  for (const [index, written] of text.split(/\r?\n/).entries()) {
    const trimmed = written.trim();
    if (trimmed === '' || trimmed.startsWith('#')) continue;
    const line = parseLine(trimmed);
    if (typeof line === 'string') problems.push({ line: index + 1, message: line });
    else lines.push(line);
  }
  return { signers: withNames(lines), problems };
}

/** Who may sign with `key` in `namespace` at an instant, or why nobody may, in a sentence's end. `place`: where the list is. */
export function signerOf(
  { signers }: AllowedSigners,
  given: { readonly key: string; readonly namespace: string; readonly at: Instant; readonly place: string },
): { readonly name: string } | { readonly refused: string } {
  const listed = signers.filter(({ key }) => key === given.key);
  const [first] = listed;
  if (first === undefined)
    return { refused: `its key ${keyFingerprint(given.key)} is not in ${given.place}` };
  const allowed = listed.find(
    ({ namespaces, validFrom, validUntil }) =>
      (namespaces === undefined || matchesPatterns(namespaces, given.namespace)) &&
      (validFrom === undefined || given.at >= validFrom) &&
      (validUntil === undefined || given.at < validUntil),
  );
  if (allowed !== undefined) return { name: allowed.name };
  return {
    refused:
      `${given.place} does not allow the key of ${first.name} for the namespace ${given.namespace} ` +
      'at the time of the commit',
  };
}

interface Line extends Omit<AllowedSigner, 'name'> {
  readonly principals: readonly string[];
}

/** A field: quoted parts may have white space in them. */
const FIELD = /^((?:"[^"]*"|[^\s"])+)\s+(.*)$/;
const KEY_TYPE = /^(?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[A-Za-z0-9@.-]+$/;

/** The line's meaning, or why it adds nobody. */
function parseLine(text: string): Line | string {
  const [, principals, afterPrincipals] = FIELD.exec(text) ?? [];
  if (principals === undefined || afterPrincipals === undefined) return FORM;
  const [, field, rest] = FIELD.exec(afterPrincipals) ?? [];
  const hasOptions = field !== undefined && !KEY_TYPE.test(field);
  const options = hasOptions ? parseOptions(field) : {};
  if (typeof options === 'string') return options;
  const [type, key] = (hasOptions ? (rest ?? '') : afterPrincipals).split(/\s+/);
  if (type === undefined || key === undefined || !KEY_TYPE.test(type)) return FORM;
  const bytes = Buffer.from(key, 'base64');
  const canonical = bytes.toString('base64');
  // The type stands in the key, too, after its own length.
  const isOfType = bytes.toString('latin1', 4, 4 + type.length) === type;
  if (!isOfType || !isUsableKey(canonical)) {
    return `the ${type} key cannot be used; list an ed25519, ecdsa, sk or RSA key of at least 2048 bits as ssh-keygen prints it`;
  }
  return { principals: listOf(unquoted(principals)), key: canonical, ...options };
}

const FORM =
  'a line must be principals, perhaps options, then a key as in a .pub file: ' +
  'ada@example.org namespaces="git" ssh-ed25519 AAAA…';

function parseOptions(text: string): Pick<Line, 'namespaces' | 'validFrom' | 'validUntil'> | string {
  const options: { namespaces?: readonly string[]; validFrom?: Instant; validUntil?: Instant } = {};
  for (const [option] of text.matchAll(/(?:"[^"]*"|[^,"])+/g)) {
    const [, name = '', value] = /^([^=]+)(?:=(.*))?$/.exec(option) ?? [];
    const written = unquoted(value ?? '');
    const at = parseTime(written);
    switch (name.toLowerCase()) {
      case 'cert-authority':
        return 'certificates are not accepted here; list the keys of the people themselves';
      case 'namespaces':
        options.namespaces = listOf(written);
        break;
      case 'valid-after':
        if (at === undefined) return timeProblem(name, written);
        options.validFrom = at;
        break;
      case 'valid-before':
        if (at === undefined) return timeProblem(name, written);
        options.validUntil = at;
        break;
      default:
        return `option ${JSON.stringify(name)} is not known; there are namespaces, valid-after and valid-before`;
    }
  }
  return options;
}

function timeProblem(name: string, found: string): string {
  return `${name} must be YYYYMMDD or YYYYMMDDHHMM[SS], found ${JSON.stringify(found)}`;
}

function parseTime(text: string): Instant | undefined {
  const [, year, month, day, hour = '00', minute = '00', second = '00'] =
    /^(\d{4})(\d{2})(\d{2})(?:(\d{2})(\d{2})(\d{2})?)?Z?$/.exec(text) ?? [];
  if (year === undefined) return undefined;
  const at = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  return Number.isNaN(at) ? undefined : at;
}

/** One name per person: lines that share a key or a principal are the same one, through others, too. */
function withNames(lines: readonly Line[]): readonly AllowedSigner[] {
  const nameOfMark = new Map<string, string>();
  for (const line of lines) {
    const [own] = line.principals.filter(isName);
    const marks = marksOf(line);
    const known = marks.flatMap((mark) => nameOfMark.get(mark) ?? []);
    const name = known[0] ?? own ?? keyFingerprint(line.key);
    for (const mark of marks) nameOfMark.set(mark, name);
    for (const [mark, before] of nameOfMark) if (known.includes(before)) nameOfMark.set(mark, name);
  }
  return lines.map((line) => {
    const { principals: _principals, ...signer } = line;
    return { ...signer, name: nameOfMark.get(marksOf(line)[0] ?? '') ?? '' };
  });
}

function marksOf({ key, principals }: Line): readonly string[] {
  return [`key ${key}`, ...principals.filter(isName).map((principal) => `principal ${principal}`)];
}

function isName(principal: string): boolean {
  return !/[*?!]/.test(principal);
}

/** OpenSSH's pattern list: one pattern must match, and none that begins with `!`. */
function matchesPatterns(patterns: readonly string[], value: string): boolean {
  const matches = (pattern: string) => matchesPattern(pattern, value);
  if (patterns.some((pattern) => pattern.startsWith('!') && matches(pattern.slice(1)))) return false;
  return patterns.some((pattern) => !pattern.startsWith('!') && matches(pattern));
}

/** `*` is any text, `?` any character. */
function matchesPattern(pattern: string, value: string): boolean {
  const source = pattern.replaceAll(/[.*+?^${}()|[\]\\]/g, (character) =>
    character === '*' ? '.*' : character === '?' ? '.' : `\\${character}`,
  );
  return new RegExp(`^${source}$`).test(value);
}

function listOf(text: string): readonly string[] {
  return text.split(',').filter((part) => part !== '');
}

function unquoted(text: string): string {
  return text.replaceAll('"', '');
}
