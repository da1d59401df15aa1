/** `tidegate trust status`: who signs for what, who has, until when it is good, and what is missing. */
import { formatInstant, type Instant } from '../core/model/time.ts';
import { plural } from '../core/words.ts';
import { readTrustIn } from '../fleet-repo/working-trust.ts';
import { type SigningPart, signingParts } from '../trust/tuf/ceremony.ts';
import { nameOf, TRUST_FOLDER, type TrustFolder } from '../trust/tuf/folder.ts';
import { folderFlaws } from '../trust/tuf/judge.ts';
import { expiresAt, type Signed } from '../trust/tuf/metadata.ts';
import { EXIT, type ExitCode } from './errors.ts';
import type { Io } from './io.ts';
import { formatRelative, hanging, type Output, printable } from './output.ts';
import { requireFleet } from './trust-folder.ts';

export interface TrustStatusOptions {
  readonly repo: string;
  readonly format: 'text' | 'json';
}

/** What `--format json` prints. */
export interface TrustStatus {
  /** Everything is signed by enough, and nothing is wrong. */
  readonly complete: boolean;
  /** False: the server makes development trust. */
  readonly peoples: boolean;
  readonly roles: readonly RoleStatus[];
  /** Keys that a server holds. */
  readonly online: readonly { readonly role: string; readonly keys: readonly string[] }[];
  readonly problems: readonly { readonly file: string; readonly message: string }[];
}

interface RoleStatus {
  /** From the root of the repository. */
  readonly file: string;
  readonly role: string;
  /** A new root is signed by the keys of the version before, too: that version. */
  readonly keysOf?: number;
  readonly version: number;
  readonly expires: string;
  readonly threshold: number;
  /** Names, else the beginning of ids. */
  readonly keys: readonly string[];
  readonly signed: readonly string[];
}

export async function run({ repo, format }: TrustStatusOptions, io: Io): Promise<ExitCode> {
  await requireFleet(repo);
  const now = io.clock.now();
  const status = statusOf(await readTrustIn(repo), now);
  if (format === 'json') io.out.write(`${JSON.stringify(status, null, 2)}\n`);
  else io.out.lines(statusLines(status, now, io.out));
  return status.problems.length === 0 ? EXIT.fine : EXIT.problems;
}

function statusOf(folder: TrustFolder, now: Instant): TrustStatus {
  const problems = folderFlaws(folder, now);
  const named = (keyids: readonly string[]) => keyids.map((keyid) => nameOf(keyid, folder));
  const roles = signingParts(folder).filter(({ role }) => !role.startsWith('manifests-'));
  const root = folder.roots.at(-1)?.envelope.signed;
  const delegations = folder.roles.get('targets')?.envelope.signed.delegations?.roles ?? [];
  const online =
    root === undefined
      ? []
      : [
          { role: 'snapshot', keys: named(root.roles.snapshot.keyids) },
          { role: 'timestamp', keys: named(root.roles.timestamp.keyids) },
          ...delegations
            .filter(({ name }) => name.startsWith('manifests-'))
            .map(({ name, keyids }) => ({ role: name, keys: named(keyids) })),
        ];
  return {
    complete: root !== undefined && problems.length === 0,
    peoples: root !== undefined,
    roles: roles.map((part) => roleStatus(part, folder, named)),
    online,
    problems,
  };
}

function roleStatus(
  { file, role, keysOf, threshold, keyids, signed }: SigningPart,
  folder: TrustFolder,
  named: (keyids: readonly string[]) => string[],
): RoleStatus {
  const content = signedIn(folder, file);
  return {
    file: `${TRUST_FOLDER}/${file}`,
    role,
    ...(keysOf === undefined ? {} : { keysOf }),
    version: content?.version ?? 0,
    expires: content?.expires ?? '',
    threshold,
    keys: named(keyids).sort(),
    signed: named(signed).sort(),
  };
}

function signedIn({ roots, roles }: TrustFolder, file: string): Signed | undefined {
  if (file.endsWith('.root.json')) return roots.at(-1)?.envelope.signed;
  return roles.get(file.slice(0, -'.json'.length))?.envelope.signed;
}

const LABEL_WIDTH = 7;

function statusLines(status: TrustStatus, now: Instant, out: Output): string[] {
  if (!status.peoples && status.problems.length === 0) {
    const loud = 'development trust: the server holds every key, and whoever has it has the fleet';
    return [out.paint('yellow', `! ${loud}`), 'tidegate trust init --help says how people take the keys'];
  }
  const lines: string[] = [];
  for (const { role, keysOf, version, expires, threshold, keys, signed } of status.roles) {
    const missing = keys.filter((key) => !signed.includes(key));
    const isWhole = signed.length >= threshold;
    const mark = isWhole ? out.paint('green', '✓') : out.paint('yellow', '…');
    const by = keysOf === undefined ? '' : `, by the keys of version ${keysOf}`;
    lines.push(`${mark} ${out.paint('bold', printable(role))} version ${version}${by}`);
    const left = `${formatInstant(Date.parse(expires))} (${formatRelative(expiresAt({ expires }), now)})`;
    lines.push(...hanging('until', left, LABEL_WIDTH, out));
    lines.push(...hanging('keys', `${threshold} of ${keys.map(printable).join(', ')}`, LABEL_WIDTH, out));
    lines.push(...hanging('signed', signed.map(printable).join(', ') || 'by nobody yet', LABEL_WIDTH, out));
    if (!isWhole) {
      const text = `${threshold - signed.length} of ${missing.map(printable).join(', ')}`;
      lines.push(...hanging('missing', text, LABEL_WIDTH, out));
    }
  }
  const servers = new Map<string, string[]>();
  for (const { role, keys } of status.online) {
    const by = keys.map(printable).join(', ');
    servers.set(by, [...(servers.get(by) ?? []), role]);
  }
  lines.push('', 'Signed by the server:');
  for (const [by, roles] of servers) lines.push(`  ${roles.map(printable).join(', ')} with ${by}`);
  lines.push('');
  for (const { file, message } of status.problems) {
    const [text = ''] = message.split('; tidegate trust status');
    lines.push(`${out.paint('yellow', '!')} ${printable(file)} ${printable(text)}`);
  }
  lines.push(
    status.complete
      ? out.paint('green', '✓ everything is signed by enough')
      : out.paint(
          'red',
          `✗ ${plural(status.problems.length, 'problem')}: what is published stays in force until it is signed`,
        ),
  );
  return lines;
}
