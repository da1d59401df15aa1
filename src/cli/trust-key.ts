/** `tidegate trust key`: a key of a person's own, encrypted, and its public half beside it. */
import { createPublicKey } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { makeSigningKey, PASSPHRASE } from '../trust/keys.ts';
import { keyIdOf, tufKey } from '../trust/tuf/metadata.ts';
import { CommandError, EXIT, type ExitCode } from './errors.ts';
import type { Io } from './io.ts';

export interface TrustKeyOptions {
  /** Where the private key is put; the public one has `.pub` in place of `.pem`. */
  readonly file: string;
}

/** Shorter ones are guessed, whatever they are encrypted with. */
const PASSPHRASE_LENGTH_MIN = 8;

export async function run({ file }: TrustKeyOptions, io: Io): Promise<ExitCode> {
  const passphrase = io.env[PASSPHRASE] ?? '';
  if (passphrase.length < PASSPHRASE_LENGTH_MIN)
    throw new CommandError(
      `${PASSPHRASE} must be a passphrase of at least ${PASSPHRASE_LENGTH_MIN} characters; in a shell: read -rs ${PASSPHRASE} && export ${PASSPHRASE}`,
    );
  const key = await makeSigningKey(file, passphrase);
  if (key === undefined)
    throw new CommandError(`${file} is there already and stays as it is; choose another name`);
  const publicFile = `${file.replace(/\.pem$/, '')}.pub`;
  await writeFile(publicFile, createPublicKey(key.private).export({ type: 'spki', format: 'pem' }));
  io.out.lines([keyIdOf(tufKey(key.publicJwk.x))]);
  io.err.lines([
    `${file} is the private key: keep it, and its passphrase, where no server can reach them`,
    `${publicFile} is the public key, for trust/keys/ of the fleet repository`,
  ]);
  return EXIT.fine;
}
