/**
 * The TUF repository of a large fleet: what publishing a change of it costs beside the signatures and hashes alone, and how much
 * a device downloads of it.
 */
import { hash } from 'node:crypto';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { RolloutName } from '../src/core/model/ids.ts';
import { type Artifact, canonicalJson, type Manifest, revisionOf } from '../src/core/model/manifest.ts';
import type { Program, ProgramRevision } from '../src/core/model/program.ts';
import { generateKeys, type Keys } from '../src/trust/keys.ts';
import { contentOf } from '../src/trust/tuf/content.ts';
import { signedBytes } from '../src/trust/tuf/metadata.ts';
import { type NextRepository, nextRepository } from '../src/trust/tuf/repository.ts';
import { findTarget, refresh, type TrustedFiles } from '../src/verify/index.ts';
import { median } from './measure.ts';

const NOW = Date.UTC(2026, 0, 1);
const PRODUCTS = 20;
const MANIFESTS_PER_PRODUCT = 50;
const ROUNDS = 15;

export async function metadata(): Promise<readonly string[]> {
  const keys = await generateKeys();
  const lines: string[] = [];
  for (const artifacts of [100, 1000, 10_000, 100_000]) {
    const size = { artifacts, manifests: Math.min(artifacts, PRODUCTS * MANIFESTS_PER_PRODUCT) };
    lines.push(...(await measure(keys, size)));
  }
  return lines;
}

interface Size {
  readonly artifacts: number;
  readonly manifests: number;
}

async function measure(keys: Keys, size: Size): Promise<readonly string[]> {
  const whole: number[] = [];
  const alone: number[] = [];
  let first: NextRepository | undefined;
  for (let round = 0; round < ROUNDS; round++) {
    // New objects each time: nothing is remembered of them.
    const program = programOf(size, `r${round}`);
    // What making the fleet leaves behind is none of its work.
    collectGarbage();
    const startedAt = cpuMs();
    const next = await publish(keys, program, undefined);
    whole.push(cpuMs() - startedAt);
    alone.push(await signaturesAndHashes(keys, next));
    first = next;
  }
  if (first === undefined) throw new Error('nothing was published');
  const ratios = whole.map((ms, round) => ms / (alone[round] ?? Number.NaN));

  const before = programOf(size, 'before');
  const changed = withOneMore(before);
  const published = await publish(keys, before, undefined);
  const files = new Map(published.files);
  const device: TrustedFiles = {
    root: Buffer.from(files.get('metadata/1.root.json') ?? '').toString(),
    roles: {},
  };
  const bootstrapped = await followed(device, files, before);
  const next = await publish(keys, changed, published);
  for (const [path, content] of next.files) files.set(path, content);
  const followedChange = await followed(bootstrapped.files, files, changed);
  return [
    `${size.artifacts} artifacts and ${size.manifests} manifests over ${PRODUCTS} products: published in ` +
      `${median(ratios).toFixed(2)} times the time of its signatures and hashes (${median(whole).toFixed(0)} ms, ${median(alone).toFixed(0)} ms)`,
    `  a device downloads ${kib(bootstrapped.bytes)} at first, and ${kib(followedChange.bytes)} when its product changes`,
  ];
}

async function publish(
  keys: Keys,
  program: Program,
  previous: NextRepository | undefined,
): Promise<NextRepository> {
  const trust = await keys.tuf.developmentTrust({ now: NOW, published: async () => undefined });
  const next = await nextRepository({
    previous: previous?.state,
    trust,
    signers: keys.tuf.signers,
    content: contentOf(program),
    now: NOW + (previous === undefined ? 0 : 1000),
    floor: 0,
  });
  if (next === undefined) throw new Error('there must be something to publish');
  return next;
}

/** The least that the same files cost: each hashed once, each of metadata signed once. */
async function signaturesAndHashes(keys: Keys, { files }: NextRepository): Promise<number> {
  const signed = [...files].flatMap(([path, bytes]) =>
    path.startsWith('metadata/') ? [signedBytes(JSON.parse(Buffer.from(bytes).toString()).signed)] : [],
  );
  const startedAt = cpuMs();
  for (let time = 0; time < REPEATED; time += 1) {
    for (const [, bytes] of files) hash('sha256', bytes);
    for (const bytes of signed) await keys.tuf.signers.snapshot.sign(bytes);
  }
  return (cpuMs() - startedAt) / REPEATED;
}

/** The system counts a thread's time in steps of milliseconds. */
const REPEATED = 10;

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** What a device of the first product downloads to see what it is assigned. */
async function followed(
  device: TrustedFiles,
  files: ReadonlyMap<string, Uint8Array>,
  program: Program,
): Promise<{ readonly files: TrustedFiles; readonly bytes: number }> {
  let trusted = device;
  let bytes = 0;
  const ports = {
    async fetch(path: string) {
      const content = files.get(path);
      bytes += content?.byteLength ?? 0;
      return content;
    },
    async keep(kept: TrustedFiles) {
      trusted = kept;
    },
    now: NOW + 2000,
  };
  await refresh(trusted, ports);
  const product = program.rollouts[0]?.candidate?.manifest.product ?? '';
  await findTarget(trusted, `manifests/${product}/x`, ports);
  await findTarget(trusted, `artifacts/${product}/x`, ports);
  return { files: trusted, bytes };
}

function programOf({ artifacts, manifests }: Size, mark: string): Program {
  const each = artifacts / manifests;
  const revisions = Array.from({ length: manifests }, (_, n) => revisionWith(n, each, mark));
  return {
    fleet: 'bench',
    rollouts: revisions.map((revision, n) => ({
      name: `rollout-${n}` as RolloutName,
      priority: 1,
      condition: '*',
      gates: [],
      kept: [],
      candidate: { ...revision, offers: true, seed: '', stages: [] },
    })),
    devices: {},
    pollIntervalMs: 60_000,
    timezone: 'UTC',
    sites: {},
    flags: [],
    knownRevisions: [],
    knownProducts: [],
  };
}

function withOneMore(program: Program): Program {
  const [first, ...rest] = program.rollouts;
  if (first === undefined) return program;
  return {
    ...program,
    rollouts: [{ ...first, knownGood: { ...revisionWith(0, 1, 'more'), condition: '*' } }, ...rest],
  };
}

function revisionWith(n: number, artifacts: number, mark: string): ProgramRevision {
  const product = `product-${n % PRODUCTS}`;
  const version = `${n}.0.0-${mark}`;
  const manifest: Manifest = {
    distributionSet: `${product}@${version}`,
    product,
    version,
    modules: [
      {
        name: 'app',
        version,
        type: 'firmware',
        status: 'running',
        restartPolicy: 'always',
        artifacts: Array.from({ length: artifacts }, (_, at) => artifactOf(`${version}-${at}`)),
      },
    ],
  };
  // As it comes from the record, which is canonical JSON.
  const read = JSON.parse(canonicalJson(manifest)) as Manifest;
  return {
    attempt: 1,
    revision: revisionOf(manifest),
    manifest: read,
    snapshot: '' as never,
    commit: '' as never,
  };
}

function artifactOf(name: string): Artifact {
  return {
    name: `${name}.swu`,
    sha256: hash('sha256', name),
    sizeBytes: 10_485_760,
    urls: [`https://cdn.example/${name}.swu`],
    securityEpoch: 3,
  };
}

function cpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

function kib(bytes: number): string {
  return `${(bytes / 1024).toFixed(1)} KiB`;
}
