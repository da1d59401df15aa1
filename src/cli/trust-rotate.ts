/** `tidegate trust rotate`: other keys for a role, or the same for longer, as a proposal that people sign. */
import type { PublicJwk } from '../trust/signing-key.ts';
import { thumbprintOf } from '../trust/signing-key.ts';
import { type Changes, rotated, rotatedAssignmentKeys } from '../trust/tuf/ceremony.ts';
import type { TrustFolder } from '../trust/tuf/folder.ts';
import { keyIdOf } from '../trust/tuf/metadata.ts';
import { CommandError, EXIT, type ExitCode } from './errors.ts';
import type { Io } from './io.ts';
import { keyFiles, type NamedKey, orProblem, publicKeys, soundTrustIn, writeTrust } from './trust-folder.ts';

export interface TrustRotateOptions {
  readonly role: string;
  readonly repo: string;
  /** Public keys, by name or file. */
  readonly add?: readonly string[];
  /** By name, or by the beginning of the id. */
  readonly remove?: readonly string[];
  readonly threshold?: number;
}

export async function run(options: TrustRotateOptions, io: Io): Promise<ExitCode> {
  const { role, repo, add = [], remove = [], threshold } = options;
  const folder = await soundTrustIn(repo);
  const added = await publicKeys(folder, add);
  const now = io.clock.now();
  const changes =
    role === 'assignment'
      ? await assignmentChanges(folder, { added, remove, now })
      : orProblem(() =>
          rotated(
            folder,
            {
              role,
              add: added.map(({ key }) => key),
              remove: remove.map((name) => keyidOf(name, folder)),
              ...(threshold === undefined ? {} : { threshold }),
            },
            now,
          ),
        );
  await writeTrust(repo, new Map([...keyFiles(added, folder), ...changes]), io);
  io.err.lines([
    'Next: tidegate trust status shows who has to sign it; each of them runs tidegate trust sign --key my.pem, and commits',
  ]);
  return EXIT.fine;
}

async function assignmentChanges(
  folder: TrustFolder,
  given: { readonly added: readonly NamedKey[]; readonly remove: readonly string[]; readonly now: number },
): Promise<Changes> {
  const { added, remove, now } = given;
  const add: PublicJwk[] = [];
  for (const { key } of added) {
    const x = Buffer.from(key.keyval.public, 'hex').toString('base64url');
    add.push({ kty: 'OKP', crv: 'Ed25519', x, alg: 'Ed25519', use: 'sig', kid: await thumbprintOf(x) });
  }
  return orProblem(() => rotatedAssignmentKeys(folder, { add, remove, now }));
}

function keyidOf(name: string, folder: TrustFolder): string {
  const key = folder.keys.get(name);
  if (key !== undefined) return keyIdOf(key);
  const root = folder.roots.at(-1)?.envelope.signed;
  const delegations = folder.roles.get('targets')?.envelope.signed.delegations;
  const all = [...Object.keys(root?.keys ?? {}), ...Object.keys(delegations?.keys ?? {})];
  const [found, ...others] = /^[0-9a-f]{8,64}$/.test(name)
    ? new Set(all.filter((id) => id.startsWith(name)))
    : [];
  if (found === undefined || others.length > 0)
    throw new CommandError(
      `there is no key "${name}"; name one of trust/keys, or 8 digits or more of its id, which tidegate trust status shows`,
    );
  return found;
}
