/** TUF clients against a fleet's server over HTTP: unmodified ones, and ours. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Updater as Newest } from 'tuf-js';
import { Updater as Five } from 'tuf-js-5';
import { onTestFinished, vi } from 'vitest';
import type { Instant } from '../../../src/core/model/time.ts';
import {
  downloadTarget,
  findTarget,
  httpFetch,
  refresh,
  type TrustedFiles,
} from '../../../src/verify/index.ts';

type MakeClient = (server: { readonly url: string; readonly root: Uint8Array }) => Promise<TestedClient>;

export const CLIENTS: readonly (readonly [string, MakeClient])[] = [
  ['tuf-js, newest', (server) => stockClient(Newest, server)],
  ['tuf-js 5', (server) => stockClient(Five, server)],
  ['ours', ourClient],
];

type StockUpdater = typeof Newest | typeof Five;

export interface TestedClient {
  /** A refresh at `now`, as a device makes one. Throws what the client throws. */
  refresh(now: Instant): Promise<void>;
  /** The content of a target, after a refresh; undefined where no role lists it. */
  target(path: string, now: Instant): Promise<Buffer | undefined>;
  /** Metadata as the client has it on its disk. */
  metadata(
    role: string,
  ): Promise<{ readonly signed: { readonly version: number; readonly expires: string } }>;
}

/** A client that knows nothing but 1.root.json and where the server is. */
async function stockClient(
  Updater: StockUpdater,
  { url, root }: { readonly url: string; readonly root: Uint8Array },
): Promise<TestedClient> {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-tuf-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, 'root.json'), root);

  // What a client knows of time is the machine's clock.
  const at = async <T>(
    now: Instant,
    work: (updater: InstanceType<typeof Newest>) => Promise<T>,
  ): Promise<T> => {
    vi.useFakeTimers({ toFake: ['Date'], now });
    try {
      const updater = new Updater({
        metadataDir: folder,
        metadataBaseUrl: `${url}/tuf/metadata`,
        targetDir: folder,
        targetBaseUrl: `${url}/tuf/targets`,
        config: { fetchTimeout: 10_000, fetchRetries: 0 },
      });
      return await work(updater as InstanceType<typeof Newest>);
    } finally {
      vi.useRealTimers();
    }
  };

  return {
    refresh: (now) => at(now, (updater) => updater.refresh()),
    target: (path, now) =>
      at(now, async (updater) => {
        const info = await updater.getTargetInfo(path);
        return info === undefined ? undefined : await readFile(await updater.downloadTarget(info));
      }),
    metadata: async (role) => JSON.parse(await readFile(join(folder, `${role}.json`), 'utf8')),
  };
}

async function ourClient({
  url,
  root,
}: {
  readonly url: string;
  readonly root: Uint8Array;
}): Promise<TestedClient> {
  let files: TrustedFiles = { root: Buffer.from(root).toString(), roles: {} };
  const ports = (now: Instant) => ({
    fetch: httpFetch(url),
    async keep(kept: TrustedFiles) {
      files = kept;
    },
    now,
  });
  return {
    async refresh(now) {
      await refresh(files, ports(now));
    },
    async target(path, now) {
      await refresh(files, ports(now));
      const { target } = await findTarget(files, path, ports(now));
      return target === undefined ? undefined : Buffer.from(await downloadTarget(path, target, ports(now)));
    },
    async metadata(role) {
      const text =
        role === 'root' || role === 'timestamp' || role === 'snapshot' ? files[role] : files.roles[role];
      return JSON.parse(text ?? '');
    },
  };
}
