/**
 * A remote over HTTP through isomorphic-git. It moves refs before it has a pack and writes nothing durably, so it gets a
 * file system that takes only packs, indexes and the shallow boundary from it, whole and synced, and lets the rest vanish.
 */
import { createHash } from 'node:crypto';
import nodeFs from 'node:fs';
import { readFile, unlink } from 'node:fs/promises';
import git, { type PromiseFsClient } from 'isomorphic-git';
import { writeFileDurably, writeProblem } from '../../durable-fs.ts';
import type { PushAnswer, Remote, Transport } from '../engine.ts';
import { GitRemoteError, GitRepositoryError } from '../errors.ts';
import type { Oid } from '../git.ts';
import { readBranch } from '../ref-lock.ts';
import { garbled } from '../remote-trouble.ts';
import { createHttpClient, type HttpLimits } from './http-client.ts';
import { push } from './push.ts';

const HEADS = 'refs/heads/';
/** More branches than this are asked for in one question. */
const QUESTIONS_MAX = 3;
const PACK_MODE = 0o444;
const FILE_MODE = 0o666;

export function isomorphicTransport(remote: Remote, limits: HttpLimits): Transport {
  const http = createHttpClient(remote, limits);
  const { url } = remote;

  async function talk<T>(talking: Promise<T>): Promise<T> {
    try {
      return await talking;
    } catch (error) {
      throw trouble(error);
    }
  }

  /** A GitRemoteError says it all, and so does a full disk; the rest is what isomorphic-git makes of a garbled answer. */
  function trouble(error: unknown): unknown {
    if (error instanceof GitRemoteError) return error;
    const problem = writeProblem(error, 'the copy of the repository');
    return problem === undefined ? garbled(remote, error) : new GitRepositoryError(url, problem, error);
  }

  async function list(prefix: string): Promise<[string, Oid][]> {
    const refs = await talk(git.listServerRefs({ http, url, prefix, protocolVersion: 2 }));
    return refs.flatMap(({ ref, oid }) => (ref.startsWith(HEADS) ? [[ref.slice(HEADS.length), oid]] : []));
  }

  return {
    async listBranches(names) {
      if (names === undefined || names.length > QUESTIONS_MAX) {
        const all = new Map(await list(HEADS));
        return names === undefined ? all : only(all, names);
      }
      const found = new Map<string, Oid>();
      for (const name of names) for (const [branch, oid] of await list(HEADS + name)) found.set(branch, oid);
      return only(found, names);
    },

    async fetch({ commonDir, branch, depth, near }) {
      const own = await readBranch(commonDir, branch);
      await talk(
        git.fetch({
          fs: packFiles(),
          http,
          gitdir: commonDir,
          url,
          // The branch of ours whose commits we say that we have.
          ref: HEADS + (own === undefined ? (near ?? branch) : branch),
          remoteRef: HEADS + branch,
          singleBranch: true,
          tags: false,
          ...(depth === undefined ? {} : { depth }),
        }),
      );
    },

    async push({ branch, ...move }): Promise<PushAnswer> {
      return await talk(push({ http, fs: packFiles(), url, ref: HEADS + branch, ...move }));
    },
  };
}

function only(branches: ReadonlyMap<string, Oid>, names: readonly string[]): ReadonlyMap<string, Oid> {
  return new Map(
    names.flatMap((name) => {
      const oid = branches.get(name);
      return oid === undefined ? [] : [[name, oid]];
    }),
  );
}

function packFiles(): PromiseFsClient {
  return {
    promises: {
      ...nodeFs.promises,
      async readFile(...args: Parameters<typeof readFile>) {
        const content = await readFile(...args);
        return String(args[0]).endsWith('/config') ? `${content}${REFSPEC}` : content;
      },
      async writeFile(path: string, content: Uint8Array | string) {
        if (path.endsWith('.pack')) await writeFileDurably(path, checkedPack(content), PACK_MODE);
        else if (path.endsWith('.idx')) await writeFileDurably(path, content, PACK_MODE);
        else if (path.endsWith('/shallow')) await writeFileDurably(path, content, FILE_MODE);
      },
      async mkdir() {},
      async unlink(path: string) {
        if (path.endsWith('/shallow')) await unlink(path);
      },
      async rmdir() {},
    },
  };
}

/** Isomorphic-git fetches nothing where it does not know which refs it would move. */
const REFSPEC = '\n[remote "origin"]\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n';

/** A pack ends with the hash of what is before it (gitformat-pack(5)); isomorphic-git only takes its name from there. */
function checkedPack(content: Uint8Array | string): Uint8Array {
  const pack = Buffer.from(content);
  const hash = createHash('sha1').update(pack.subarray(0, -20)).digest();
  if (pack.subarray(-20).equals(hash)) return pack;
  throw new GitRemoteError(
    'unreachable',
    'the pack that came does not have its own checksum: look at proxies and the network between',
  );
}
