/** What must not end in a repository, told by its name or its form. */
import { isSecretName } from '../documents/secret-names.ts';

/** Forms that give a secret away wherever they stand: keys of cloud services, tokens, private keys, logins in addresses. */
const FORMS: readonly RegExp[] = [
  /(?:SharedAccessKey|SharedAccessSignature|AccountKey|DeviceKey|Password|Pwd|AccessToken|ClientSecret)\s*=\s*[^\s;]/i,
  /[?&;](?:sig|signature|token|access_token|api_?key)=[^\s&]/i,
  /-----BEGIN [A-Z ]*PRIVATE KEY-----/,
  /\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\./,
  /\b(?:ghp|gho|ghs|github_pat|glpat|xox[abprs]|AKIA|sk_live)[-_A-Za-z0-9]{12,}/,
  /:\/\/[^\s/:@]*:[^\s/@]+@/,
];

/** Words in a name that mean a secret, besides those that `validate` warns about. */
const NAMES =
  /pass(?:word|wd|phrase)?$|pwd$|secrets?$|token$|api[-_.]?key|access[-_.]?key|private[-_.]?key|connection[-_.]?string|credential/i;

/** Too many is better than too few: what is left out is listed, and what is written stays in history for ever. */
export function looksSecret(name: string, value: string): boolean {
  if (value === '') return false;
  return isSecretName(name) || NAMES.test(name) || FORMS.some((form) => form.test(value));
}
