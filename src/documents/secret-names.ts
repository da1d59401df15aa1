/** Which variables hold a secret, as far as their name tells. */

/** What people call a variable that holds a secret. One that names a file or a key's id holds none. */
const SECRET_NAME = /(?:^|_)(?:PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|PRIVATE_?KEY|CREDENTIALS?)$/i;

export function isSecretName(name: string): boolean {
  return SECRET_NAME.test(name);
}
