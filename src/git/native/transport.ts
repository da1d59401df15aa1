/** A remote over HTTP or ssh through the git binary. */
import type { PushAnswer, Remote, Transport } from '../engine.ts';
import type { Oid } from '../git.ts';
import { nativeTrouble, notGit, printable } from '../remote-trouble.ts';
import { isTrace, type NativeGit, type NativeRun } from './git.ts';

const HEADS = 'refs/heads/';
/** `git push` refused by the other side, as opposed to never having got there. */
const REJECTED = 1;

export function nativeTransport(native: NativeGit, remote: Remote): Transport {
  const { url, credentials, signal } = remote;
  const options: NativeRun = {
    signal,
    ...(credentials === undefined ? {} : { login: { url, credentials } }),
  };
  const isHttp = /^https?:/.test(url);

  return {
    async listBranches(names) {
      const patterns = names?.map((name) => HEADS + name) ?? [`${HEADS}*`];
      const args = ['ls-remote', '--refs', '--', url, ...patterns];
      const { exitCode, stdout, stderr } = await native.run(args, { ...options, tracesPackets: isHttp });
      if (exitCode !== 0) throw nativeTrouble(remote, { stderr: withoutTrace(stderr), isPush: false });
      if (isHttp && !SMART.test(stderr)) throw notGit(remote, 'answers with something else');
      const branches = new Map<string, Oid>();
      for (const [, oid = '', name = ''] of stdout.matchAll(/^([0-9a-f]{40})\trefs\/heads\/(.+)$/gm)) {
        // Git's patterns match the end of a name, too.
        if (names === undefined || names.includes(name)) branches.set(name, oid);
      }
      return branches;
    },

    async fetch({ commonDir, branch, depth }) {
      const shape = ['--quiet', '--no-tags', '--no-write-fetch-head', '--no-auto-gc'];
      const history = depth === undefined ? [] : [`--depth=${depth}`];
      const args = ['fetch', ...shape, ...history, '--', url, HEADS + branch];
      const { exitCode, stderr } = await native.run(args, { ...options, commonDir });
      if (exitCode !== 0) throw nativeTrouble(remote, { stderr, isPush: false });
    },

    async push({ commonDir, branch, from, to }): Promise<PushAnswer> {
      // Exactly from there: git leaves its other checks to whoever says so.
      const lease = `--force-with-lease=${HEADS}${branch}:${from ?? ''}`;
      const args = ['push', '--porcelain', '--no-verify', lease, '--', url, `${to}:${HEADS}${branch}`];
      const { exitCode, stdout, stderr } = await native.run(args, { ...options, commonDir });
      if (exitCode === 0) return { kind: 'accepted' };
      const [, reason] = /^!\t\S+\t(.*)$/m.exec(stdout) ?? [];
      if (exitCode !== REJECTED || reason === undefined)
        throw nativeTrouble(remote, { stderr, isPush: true });
      return { kind: 'rejected', reason: rejection(reason, stderr) };
    },
  };
}

/**
 * Where a server does not speak git's own protocol, git takes what it sends for a list of files, and a sign-in page for a
 * repository without branches. There is no setting against it, but such an answer has no packets.
 */
const SMART = /packet: +\S+< (# service=git-upload-pack|version [12])/;

function withoutTrace(stderr: string): string {
  return stderr
    .split('\n')
    .filter((line) => !isTrace(line))
    .join('\n');
}

/** `[remote rejected] (pre-receive hook declined)`, and what the other side printed. */
function rejection(reason: string, stderr: string): string {
  const said = Array.from(stderr.matchAll(/^remote: (.+)$/gm), ([, line = '']) => line).join(' ');
  const inner = /\((.+)\)$/.exec(reason)?.[1] ?? reason;
  const hook = printable(said).slice(0, 300);
  return hook === '' ? printable(inner) : `${printable(inner)}: ${hook}`;
}
