/** `tidegate trust init`: the first trust of people's own, as a proposal that they sign before it is merged. */

import { readTrustIn } from '../fleet-repo/working-trust.ts';
import { openDevelopmentKeys } from '../trust/keys.ts';
import { countersigned, initialTrust, type PublishedTrust } from '../trust/tuf/ceremony.ts';
import { ASSIGNMENT_KEYS } from '../trust/tuf/content.ts';
import { readTrustFolder, TRUST_FOLDER } from '../trust/tuf/folder.ts';
import type { TufKey } from '../trust/tuf/metadata.ts';
import { LENGTH_MAX, MetadataError, parseMetadata } from '../trust/tuf/metadata.ts';
import { rootPlace } from '../trust/tuf/repository.ts';
import type { Signer } from '../trust/tuf/signer.ts';
import { downloadTarget, findTarget, httpFetch, refresh, type TrustedFiles } from '../verify/index.ts';
import { CommandError, EXIT, type ExitCode } from './errors.ts';
import type { Io } from './io.ts';
import { serverUrl, unreachable } from './server.ts';
import { keyFiles, type NamedKey, publicKeys, requireFleet, wantedIn, writeTrust } from './trust-folder.ts';

export interface TrustInitOptions {
  readonly repo: string;
  readonly server?: string;
  /** Whose keys sign for root, by name or file. */
  readonly root?: readonly string[];
  readonly rootThreshold?: number;
  /** Whose keys vouch for artifacts, and for who does. */
  readonly products?: readonly string[];
  readonly productsThreshold?: number;
  /** A folder for keys that are made here, in place of people's. */
  readonly development?: string;
}

export async function run(options: TrustInitOptions, io: Io): Promise<ExitCode> {
  const { repo, development } = options;
  await requireFleet(repo);
  const folder = await readTrustIn(repo);
  if (folder.roots.length > 0 || folder.roles.size > 0)
    throw new CommandError(
      `${repo}/${TRUST_FOLDER} has trust of people's own already; tidegate trust status shows it, tidegate trust rotate changes it`,
    );
  const made = development === undefined ? undefined : await openDevelopmentKeys(development, io.env);
  const people = made === undefined ? await peoplesKeys(options, folder) : developmentKeys(made);
  const server = serverUrl(options.server, io);
  const published = await publishedTrust(server, io.clock.now());
  const changes = initialTrust({
    published,
    root: { keys: people.root.map(({ key }) => key), threshold: people.rootThreshold },
    targets: { keys: people.products.map(({ key }) => key), threshold: people.productsThreshold },
    artifacts: { keys: people.products.map(({ key }) => key), threshold: people.productsThreshold },
    wanted: await wantedIn(repo),
    now: io.clock.now(),
  });
  const all = new Map([...keyFiles([...people.root, ...people.products], folder), ...changes]);
  const signed =
    made === undefined ? new Map() : await countersigned(readTrustFolder(all), Object.values(made));
  await writeTrust(repo, new Map([...all, ...signed]), io);
  io.err.lines(nextSteps(published, development, io));
  return EXIT.fine;
}

interface People {
  readonly root: readonly NamedKey[];
  readonly rootThreshold: number;
  readonly products: readonly NamedKey[];
  readonly productsThreshold: number;
}

async function peoplesKeys(
  { root = [], rootThreshold, products = [], productsThreshold }: TrustInitOptions,
  folder: Parameters<typeof publicKeys>[0],
): Promise<People> {
  if (root.length === 0 || products.length === 0)
    throw new CommandError(
      'say whose keys sign: --root for root metadata, --products for what is installed; or --development FOLDER to try it with keys that are made here',
    );
  const people = {
    root: await publicKeys(folder, root),
    rootThreshold: rootThreshold ?? majority(root.length),
    products: await publicKeys(folder, products),
    productsThreshold: productsThreshold ?? majority(products.length),
  };
  for (const [option, keys, threshold] of [
    ['--root-threshold', people.root, people.rootThreshold],
    ['--products-threshold', people.products, people.productsThreshold],
  ] as const)
    if (threshold > keys.length)
      throw new CommandError(
        `${option} must be at most ${keys.length}, the number of keys; found ${threshold}`,
      );
  return people;
}

function majority(count: number): number {
  return Math.floor(count / 2) + 1;
}

function developmentKeys(made: Readonly<Record<'root' | 'products', Signer>>): People {
  const named = (name: string, key: TufKey): readonly NamedKey[] => [{ name, key }];
  return {
    root: named('development-root', made.root.key),
    rootThreshold: 1,
    products: named('development-products', made.products.key),
    productsThreshold: 1,
  };
}

/** What the server publishes by itself, as any device would see it. */
async function publishedTrust(server: URL, now: number): Promise<PublishedTrust> {
  const fetch = httpFetch(server.href);
  try {
    const roots = [];
    for (let version = 1; ; version += 1) {
      const bytes = await fetch(rootPlace(version), LENGTH_MAX.root);
      if (bytes === undefined) break;
      roots.push(parseMetadata(bytes, 'root', rootPlace(version)));
    }
    const [first] = roots;
    if (first === undefined)
      throw new CommandError(
        `the server at ${server.origin} has published no metadata yet; it does with its first valid snapshot`,
      );
    const keep = async (files: TrustedFiles) => {
      trusted = files;
    };
    let trusted: TrustedFiles = { root: JSON.stringify(first), roles: {} };
    const ports = { fetch, keep, now };
    trusted = await refresh(trusted, ports);
    const { target } = await findTarget(trusted, ASSIGNMENT_KEYS, ports);
    if (target === undefined) throw new MetadataError('absent', `${ASSIGNMENT_KEYS} is not listed`);
    const { keys } = JSON.parse(Buffer.from(await downloadTarget(ASSIGNMENT_KEYS, target, ports)).toString());
    const targets = parseMetadata(
      Buffer.from(trusted.roles['targets'] ?? ''),
      'targets',
      'targets.json',
    ).signed;
    return { roots, targets, assignmentKeys: keys };
  } catch (error) {
    if (error instanceof MetadataError)
      throw new CommandError(
        `what the server at ${server.origin} publishes cannot be taken: ${error.message}`,
      );
    if (error instanceof CommandError) throw error;
    throw unreachable(server, error);
  }
}

function nextSteps(published: PublishedTrust, development: string | undefined, io: Io): string[] {
  const version = published.roots.length;
  const handOver = `- the server's own root key signs that it hands over: tidegate trust sign --key DATA/keys/root.pem, where DATA is the server's data folder (root version ${version} wants it)`;
  if (development !== undefined)
    return [
      io.err.paint(
        'yellow',
        `! ${development} holds keys that were made here for trying things out: whoever reads that folder has the fleet. Never use them for devices that matter.`,
      ),
      'Then:',
      handOver,
      '- tidegate trust status; commit, and merge',
    ];
  return [
    'Next, on a branch:',
    '- commit, and push; tidegate trust status shows who has to sign',
    '- everybody who has a key signs, commits and pushes: tidegate trust sign --key my.pem',
    handOver,
    '- when tidegate validate finds nothing missing, merge',
  ];
}
