/**
 * The server's own signing keys: for assignments, for what enrolment hands out, for commits, for metadata. They are made on first
 * use and lie as PKCS8 PEM files in a folder of their own. A device's private key is never among them: devices make
 * and keep theirs.
 */
import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { mkdir, open, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Instant } from '../core/model/time.ts';
import { unlessAbsent, writeFileOnce } from '../durable-fs.ts';
import { encryptPrivateKey, IV_BYTES, isEncrypted, SALT_BYTES } from './encrypted-key.ts';
import { KeyFileError } from './errors.ts';
import { loadSigners } from './signer-module.ts';
import { type SigningKey, signingKey } from './signing-key.ts';
import { ASSIGNMENT_KEYS } from './tuf/content.ts';
import { developmentTrust, type PublishedRoot, type RootFiles } from './tuf/development.ts';
import type { DevelopmentTrust, RepositorySigners } from './tuf/repository.ts';
import { localSigner, type Signer } from './tuf/signer.ts';

export interface Keys {
  /** Signs what devices are told to run. */
  readonly assignment: SigningKey;
  /** Signs enrolment tokens and credentials. */
  readonly enrolment: SigningKey;
  /** Signs what Tidegate commits. */
  readonly commits: SigningKey;
  readonly tuf: TufKeys;
}

/** What the TUF repository is signed with. */
export interface TufKeys {
  readonly signers: RepositorySigners;
  /** The trust that this server makes for itself, with keys that it makes for it: in force as long as people have signed none. */
  developmentTrust(at: {
    readonly now: Instant;
    readonly published: PublishedRoot;
  }): Promise<DevelopmentTrust>;
  /** The first root that was published; it outlives the database. */
  pinnedRoot(): Promise<Uint8Array | undefined>;
  /** Keeps it, unless there is one. */
  pinRoot(bytes: Uint8Array): Promise<void>;
}

/**
 * The keys in `folder`, made if they are not there yet; processes that start at once end up with the same ones.
 * Throws {@link KeyFileError} where somebody else could read or replace a key, or where a file holds no Ed25519 key.
 */
export async function openKeys(
  folder: string,
  env: Readonly<Record<string, string | undefined>> = {},
): Promise<Keys> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const mode = (await stat(folder)).mode & 0o777;
  if (HAS_MODES && (mode & 0o022) !== 0) {
    throw new KeyFileError(
      folder,
      `only its owner may write here, found mode ${octal(mode)}; run "chmod 700" on the folder`,
    );
  }
  const passphrase = env[PASSPHRASE] || undefined;
  const open = (name: string) => {
    const variable = `TIDEGATE_KEY_${name.toUpperCase()}`;
    const given = env[variable];
    return given
      ? readKey(given, { where: variable, passphrase })
      : openKey(join(folder, `${name}.pem`), passphrase);
  };
  const module = env[SIGNERS];
  const given = module ? await loadSigners(module, env) : {};
  return await makeKeys(open, rootFilesIn(folder), given);
}

/** The private key in the file, for whoever signs with it by hand. Throws {@link KeyFileError}. */
export async function readSigningKey(
  path: string,
  env: Readonly<Record<string, string | undefined>>,
): Promise<SigningKey> {
  const pem = await readKeyFile(path);
  if (pem === undefined) throw new KeyFileError(path, 'there is no such file');
  return await readKey(pem, { where: path, passphrase: env[PASSPHRASE] || undefined });
}

/** Keys in place of people's, for trying things out: made in `folder` if they are not there yet. */
export async function openDevelopmentKeys(
  folder: string,
  env: Readonly<Record<string, string | undefined>>,
): Promise<Readonly<Record<'root' | 'products', Signer>>> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const passphrase = env[PASSPHRASE] || undefined;
  return {
    root: localSigner(await openKey(join(folder, 'root.pem'), passphrase)),
    products: localSigner(await openKey(join(folder, 'products.pem'), passphrase)),
  };
}

/** Makes a key of a person's own, encrypted; undefined where the file is there already, which stays as it is. */
export async function makeSigningKey(path: string, passphrase: string): Promise<SigningKey | undefined> {
  const made = await writeKeyFileOnce(path, passphrase);
  return made ? await readSigningKey(path, { [PASSPHRASE]: passphrase }) : undefined;
}

/** Keys that live in memory only, for simulations and tests. */
export async function generateKeys(): Promise<Keys> {
  const roots: Uint8Array[] = [];
  return await makeKeys(() => signingKey(generateKeyPairSync('ed25519').privateKey), {
    read: async () => [...roots],
    async write(version, bytes) {
      roots[version - 1] ??= bytes;
    },
  });
}

/** Each role has a key of its own. */
async function makeKeys(
  key: (name: string) => Promise<SigningKey>,
  files: RootFiles,
  given: Readonly<Record<string, Signer>> = {},
): Promise<Keys> {
  // One by one: where one fails, no other is still being written.
  const assignment = await key('assignment');
  const enrolment = await key('enrolment');
  const commits = await key('commits');
  const signers = {
    manifests: given['manifests'] ?? localSigner(await key('manifests')),
    snapshot: given['snapshot'] ?? localSigner(await key('snapshot')),
    timestamp: given['timestamp'] ?? localSigner(await key('timestamp')),
  };
  /** Keys that belong to people: not made where people have theirs, and once by whoever asks at once. */
  const peoples = async () => ({
    root: localSigner(await key('root')),
    targets: localSigner(await key('targets')),
    artifacts: localSigner(await key('artifacts')),
  });
  let opened: ReturnType<typeof peoples> | undefined;
  const forget = (error: unknown) => {
    opened = undefined;
    throw error;
  };
  const shared = new Map([[ASSIGNMENT_KEYS, Buffer.from(JSON.stringify({ keys: [assignment.publicJwk] }))]]);
  async function ofDevelopment(at: Parameters<TufKeys['developmentTrust']>[0]): Promise<DevelopmentTrust> {
    opened ??= peoples().catch(forget);
    return { ...(await developmentTrust({ ...signers, ...(await opened) }, files, at)), shared };
  }
  return {
    assignment,
    enrolment,
    commits,
    tuf: {
      signers,
      developmentTrust: ofDevelopment,
      pinnedRoot: async () => (await files.read())[0],
      pinRoot: (bytes) => files.write(1, bytes),
    },
  };
}

/** Root metadata beside the key that signs it. */
function rootFilesIn(folder: string): RootFiles {
  const pathOf = (version: number) => join(folder, `${version}.root.json`);
  return {
    async read() {
      const files: Uint8Array[] = [];
      for (;;) {
        const bytes = await readFile(pathOf(files.length + 1)).catch(unlessAbsent);
        if (bytes === undefined) return files;
        files.push(bytes);
      }
    },
    write: async (version, bytes) => void (await writeFileOnce(pathOf(version), bytes, OWNER_ONLY)),
  };
}

const OWNER_ONLY = 0o600;
// Windows has no such modes: Node reports every file as readable by all.
const HAS_MODES = process.platform !== 'win32';

async function openKey(path: string, passphrase: string | undefined): Promise<SigningKey> {
  let pem = await readKeyFile(path);
  if (pem === undefined) {
    await writeKeyFileOnce(path, passphrase);
    pem = await readKeyFile(path);
  }
  if (pem === undefined) throw new KeyFileError(path, 'was removed while it was being made; start again');
  return await readKey(pem, { where: path, passphrase });
}

async function readKey(
  pem: string,
  { where, passphrase }: { readonly where: string; readonly passphrase: string | undefined },
): Promise<SigningKey> {
  if (isEncrypted(pem) && passphrase === undefined)
    throw new KeyFileError(where, `is encrypted; say its passphrase in ${PASSPHRASE}`);
  let key: KeyObject;
  try {
    key = createPrivateKey({ key: pem, ...(passphrase === undefined ? {} : { passphrase }) });
  } catch (cause) {
    const message = isEncrypted(pem)
      ? `cannot be decrypted; ${PASSPHRASE} must be the passphrase that it was encrypted with`
      : 'expected a PKCS8 private key in PEM form; restore it, or take it away to have a new one made';
    throw new KeyFileError(where, message, cause);
  }
  if (key.asymmetricKeyType !== 'ed25519') {
    const found = key.asymmetricKeyType ?? 'an unknown type';
    throw new KeyFileError(
      where,
      `expected an Ed25519 key, found ${found}; take it away to have a new one made`,
    );
  }
  return signingKey(key);
}

/** A module that signs in place of key files. */
const SIGNERS = 'TIDEGATE_SIGNERS';
/** What key files are encrypted with. */
export const PASSPHRASE = 'TIDEGATE_KEYS_PASSPHRASE';

/** The file's text, or undefined where there is none. */
async function readKeyFile(path: string): Promise<string | undefined> {
  const file = await open(path, 'r').catch(unlessAbsent);
  if (file === undefined) return undefined;
  try {
    // The open file is looked at, not its name: nobody can exchange it in between.
    const mode = (await file.stat()).mode & 0o777;
    if (HAS_MODES && (mode & 0o077) !== 0) {
      const next = 'run "chmod 600" on it, or move it away to have a new one made if others may have read it';
      throw new KeyFileError(path, `only its owner may read it, found mode ${octal(mode)}; ${next}`);
    }
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}

/** Makes a key, unless there is one by then: another process may have been faster, and have begun to sign with it. */
async function writeKeyFileOnce(path: string, passphrase: string | undefined): Promise<boolean> {
  const { privateKey } = generateKeyPairSync('ed25519');
  const pem =
    passphrase === undefined
      ? privateKey.export({ type: 'pkcs8', format: 'pem' })
      : encryptPrivateKey(privateKey, {
          passphrase,
          salt: randomBytes(SALT_BYTES),
          iv: randomBytes(IV_BYTES),
        });
  return await writeFileOnce(path, pem, OWNER_ONLY);
}

function octal(mode: number): string {
  return mode.toString(8).padStart(4, '0');
}
