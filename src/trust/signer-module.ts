/**
 * Signers from a module of the operator's: keys that a service holds (examples/kms-signer.mjs). What it signs is checked before it
 * is published, like everything else.
 */
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
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

/** Throws {@link KeyFileError} where the module cannot be loaded or gives something else. */
export async function loadSigners(
  path: string,
  env: Readonly<Record<string, string | undefined>>,
): Promise<Readonly<Record<string, Signer>>> {
  try {
    const module = (await import(pathToFileURL(resolve(path)).href)) as {
      readonly default?: (env: unknown) => Promise<ModuleSigners>;
    };
    if (typeof module.default !== 'function') throw new TypeError('its default export is no function');
    const signers: Record<string, Signer> = {};
    for (const [name, { publicKey, sign }] of Object.entries(await module.default(env))) {
      const key = parsePublicKey(Buffer.from(publicKey));
      signers[name] = { key, keyid: keyIdOf(key), sign };
    }
    return signers;
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error);
    throw new KeyFileError(path, `the signers of this module cannot be used: ${said}`, error);
  }
}
