/** `tidegate artifact add`: what a distribution set says of a file, and the file itself where this server is to keep it. */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Artifact } from '../core/model/manifest.ts';
import type { ParsedDocument } from '../documents/document.ts';
import { readFolder } from '../documents/folder.ts';
import { readDocument } from '../documents/read.ts';
import { isAbsent } from '../git/durable-fs.ts';
import { type AddedArtifact, digestArtifact, openArtifactFolder } from '../store/artifact-folder.ts';
import { artifactTarget } from '../trust/tuf/content.ts';
import { targetPlace } from '../trust/tuf/repository.ts';
import { CommandError, EXIT, type ExitCode } from './errors.ts';
import type { Io } from './io.ts';
import { plural, printable } from './output.ts';

export interface ArtifactAddOptions {
  readonly file: string;
  readonly name?: string;
  /** Mirrors, in the order in which devices try them. */
  readonly url?: readonly string[];
  /** Where devices reach the server that is to keep it. */
  readonly server?: string;
  readonly product?: string;
  /** The server's data folder. */
  readonly data: string;
  /** The working folder of the fleet's repository. */
  readonly repo: string;
  readonly securityEpoch?: string;
  readonly hardware?: readonly string[];
  readonly format: 'text' | 'json';
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$/;
const PRODUCT = /^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/;

export async function run(options: ArtifactAddOptions, io: Io): Promise<ExitCode> {
  const { file, url: mirrors = [], server, product } = options;
  const name = options.name ?? basename(file);
  if (!NAME.test(name)) {
    const expected = 'letters, digits and . _ + -, the first a letter or digit';
    throw new CommandError(
      `the name of an artifact must be ${expected}; found "${name}", say another with --name`,
    );
  }
  if (mirrors.length === 0 && server === undefined) {
    throw new CommandError(
      'say where devices get it: --url names a mirror, --server and --product have this server keep it; tidegate artifact add --help',
    );
  }
  if (server !== undefined && (product === undefined || !PRODUCT.test(product)))
    throw new CommandError(
      '--server needs --product, the product of the distribution sets that name the artifact',
    );
  const epoch = options.securityEpoch === undefined ? undefined : Number(options.securityEpoch);
  if (epoch !== undefined && (!Number.isSafeInteger(epoch) || epoch < 0))
    throw new CommandError(
      `--security-epoch must be a whole number from 0, found "${options.securityEpoch}"`,
    );

  await requireFile(file);
  const source = createReadStream(file);
  const keeps = server !== undefined;
  const added = keeps
    ? await openArtifactFolder(join(options.data, 'artifacts')).add(source)
    : await digestArtifact(source);
  const other = await sameNameElsewhere(options.repo, { name, added });
  if (other !== undefined) {
    throw new CommandError(
      `${other.file} has an artifact ${name} with other bytes (sha256 ${other.sha256.slice(0, 12)}…): one name is one content for ever; ` +
        'put the version into the name, with --name',
      EXIT.problems,
    );
  }
  const own =
    server === undefined || product === undefined
      ? []
      : [
          `${server.replace(/\/$/, '')}/tuf/${targetPlace(artifactTarget(product, { name, sha256: added.sha256 }), added.sha256)}`,
        ];
  const artifact = {
    name,
    sha256: added.sha256,
    sizeBytes: added.sizeBytes,
    urls: [...mirrors, ...own],
    ...(epoch === undefined ? {} : { securityEpoch: epoch }),
    ...(options.hardware === undefined ? {} : { hardwareIds: options.hardware }),
  };
  if (options.format === 'json') {
    io.out.write(`${JSON.stringify({ ...artifact, sha1: added.sha1, md5: added.md5 }, null, 2)}\n`);
    return EXIT.fine;
  }
  io.out.write(yamlOf(artifact));
  const kept = keeps ? ` and is kept in ${join(options.data, 'artifacts')}` : '';
  io.err.lines([
    `${printable(name)} has ${plural(added.sizeBytes, 'byte')}${kept}; put this under artifacts of a module in its distribution set`,
  ]);
  return EXIT.fine;
}

async function requireFile(path: string): Promise<void> {
  try {
    if ((await stat(path)).isFile()) return;
  } catch (error) {
    if (!isAbsent(error)) throw error;
    throw new CommandError(`there is no file ${path}`);
  }
  throw new CommandError(`${path} is no file`);
}

/** A distribution set of the working folder that has other bytes under the name; none where there is no such folder. */
async function sameNameElsewhere(
  repo: string,
  { name, added }: { readonly name: string; readonly added: AddedArtifact },
): Promise<{ readonly file: string; readonly sha256: string } | undefined> {
  const files = await readFolder(repo).catch((error: unknown) => {
    if (isAbsent(error)) return [];
    throw error;
  });
  for (const file of files) {
    if (!/^fleet\/.*\.ya?ml$/.test(file.path)) continue;
    const { document } = readDocument(file);
    if (document?.kind !== 'DistributionSet') continue;
    const { spec } = (document as ParsedDocument<'DistributionSet'>).data;
    for (const artifact of spec.modules.flatMap((module) => module.artifacts ?? [])) {
      if (artifact.name === name && artifact.sha256 !== added.sha256)
        return { file: file.path, sha256: artifact.sha256 };
    }
  }
  return undefined;
}

/** As it stands in a distribution set; every value is plain enough to stand without quotes, but for addresses. */
function yamlOf(artifact: Artifact): string {
  const { name, sha256, sizeBytes, urls, securityEpoch, hardwareIds } = artifact;
  return [
    `- name: ${JSON.stringify(name)}`,
    `  sha256: ${JSON.stringify(sha256)}`,
    `  sizeBytes: ${sizeBytes}`,
    `  urls: [${urls.map((url) => JSON.stringify(url)).join(', ')}]`,
    ...(securityEpoch === undefined ? [] : [`  securityEpoch: ${securityEpoch}`]),
    ...(hardwareIds === undefined
      ? []
      : [`  hardwareIds: [${hardwareIds.map((id) => JSON.stringify(id)).join(', ')}]`]),
    '',
  ].join('\n');
}
