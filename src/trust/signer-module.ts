/**
 * Signers from a module of the operator's: keys that a service holds (examples/kms-signer.mjs). What it signs is checked before it
 * is published, like everything else.
 */
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Clock, systemClock } from '../clock.ts';
import { type DurationMs, SECOND } from '../core/model/time.ts';
import { KeyFileError } from './errors.ts';
import { parsePublicKey } from './tuf/folder.ts';
import { keyIdOf } from './tuf/metadata.ts';
import type { Signer } from './tuf/signer.ts';

/** What the default export of the module resolves with: by name. */
export type ModuleSigners = Readonly<
  Record<
    string,
    {
      /** Ed25519, in PEM. */
      readonly publicKey: string;
      /** The raw signature, 64 bytes. */
      sign(bytes: Uint8Array): Promise<Uint8Array>;
    }
  >
>;

/** A service that never answers must not keep a pass from its other work. */
async function inTime(
  signing: Promise<Uint8Array>,
  { name, clock }: { readonly name: string; readonly clock: Pick<Clock, 'sleep'> },
): Promise<Uint8Array> {
  const done = new AbortController();
  const late = clock.sleep(ANSWER_MS_MAX, done.signal).then(() => {
    if (!done.signal.aborted)
      throw new Error(`the signer of ${name} has not answered for ${ANSWER_MS_MAX / SECOND} s`);
    return new Uint8Array();
  });
  late.catch(() => undefined);
  try {
    return await Promise.race([signing, late]);
  } finally {
    done.abort();
  }
}

const ANSWER_MS_MAX: DurationMs = 15 * SECOND;

/** Throws {@link KeyFileError} where the module cannot be loaded or gives something else. */
export async function loadSigners(
  path: string,
  env: Readonly<Record<string, string | undefined>>,
  clock: Pick<Clock, 'sleep'> = systemClock,
): Promise<Readonly<Record<string, Signer>>> {
  try {
    const module = (await import(pathToFileURL(resolve(path)).href)) as {
      readonly default?: (env: unknown) => Promise<ModuleSigners>;
    };
    if (typeof module.default !== 'function') throw new TypeError('its default export is no function');
    const signers: Record<string, Signer> = {};
    for (const [name, { publicKey, sign }] of Object.entries(await module.default(env))) {
      const key = parsePublicKey(Buffer.from(publicKey));
      signers[name] = { key, keyid: keyIdOf(key), sign: (bytes) => inTime(sign(bytes), { name, clock }) };
    }
    return signers;
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error);
    throw new KeyFileError(path, `the signers of this module cannot be used: ${said}`, error);
  }
}
