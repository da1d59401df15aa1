/** `tidegate artifact add`: what a distribution set says of a file, and the file itself where this server is to keep it. */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Artifact } from '../core/model/manifest.ts';
import { plural } from '../core/words.ts';
import type { ParsedDocument } from '../documents/document.ts';
import { readFolder } from '../documents/folder.ts';
import { readDocument } from '../documents/read.ts';
import { isAbsent } from '../durable-fs.ts';
import { type AddedArtifact, digestArtifact, openArtifactFolder } from '../store/artifact-folder.ts';
import { artifactTarget } from '../trust/tuf/content.ts';
import { targetPlace } from '../trust/tuf/repository.ts';
import { CommandError, EXIT, type ExitCode } from './errors.ts';
import type { Io } from './io.ts';
import { type Output, printable } from './output.ts';

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
const MEBIBYTE = 1024 * 1024;
/** Reading so much takes about a tenth of a second: how often progress is drawn, and the size up to which nobody waits for it. */
const PROGRESS_BYTES = 16 * MEBIBYTE;

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

  const sizeBytes = await sizeOf(file);
  const read = () => readWithProgress(file, { sizeBytes, output: io.err });
  const keeps = server !== undefined;
  const namesakes = await artifactsNamed(name, options.repo);
  // Refused before it is kept: what is kept stays. A new name, which is the rule, is read once.
  if (keeps && namesakes.length > 0)
    requireSameBytes(namesakes, { name, added: await digestArtifact(read()) });
  const added = keeps
    ? await openArtifactFolder(join(options.data, 'artifacts')).add(read())
    : await digestArtifact(read());
  requireSameBytes(namesakes, { name, added });
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

async function sizeOf(path: string): Promise<number> {
  try {
    const found = await stat(path);
    if (found.isFile()) return found.size;
  } catch (error) {
    if (!isAbsent(error)) throw error;
    throw new CommandError(`there is no file ${path}`);
  }
  throw new CommandError(`${path} is no file`);
}

/** The file's bytes, with a line on a terminal that says how far it is; nothing of the line stays. */
async function* readWithProgress(
  path: string,
  { sizeBytes, output }: { readonly sizeBytes: number; readonly output: Output },
): AsyncGenerator<Uint8Array> {
  // Opened once somebody reads: until then nobody would hear that it cannot be.
  const source = createReadStream(path);
  if (!output.isTerminal || sizeBytes <= PROGRESS_BYTES) {
    yield* source;
    return;
  }
  let readBytes = 0;
  let drawnBytes = 0;
  let width = 0;
  const draw = (line: string) => {
    // What is shorter than the line before leaves none of it.
    output.write(`\r${line.padEnd(width)}`);
    width = line.length;
    drawnBytes = readBytes;
  };
  try {
    draw(progressOf(0, sizeBytes));
    for await (const chunk of source) {
      yield chunk;
      readBytes += chunk.byteLength;
      if (readBytes - drawnBytes >= PROGRESS_BYTES) draw(progressOf(readBytes, sizeBytes));
    }
  } finally {
    draw('');
    output.write('\r');
  }
}

function progressOf(readBytes: number, sizeBytes: number): string {
  // A file that grows while it is read has more than all of it.
  const percent = Math.min(100, Math.floor((readBytes * 100) / sizeBytes));
  return `${percent} %, ${Math.floor(readBytes / MEBIBYTE)} of ${Math.floor(sizeBytes / MEBIBYTE)} MiB`;
}

interface Namesake {
  readonly file: string;
  readonly sha256: string;
}

/** What distribution sets of the working folder have under the name; nothing where there is no such folder. */
async function artifactsNamed(name: string, repo: string): Promise<readonly Namesake[]> {
  const files = await readFolder(repo).catch((error: unknown) => {
    if (isAbsent(error)) return [];
    throw error;
  });
  const found: Namesake[] = [];
  for (const file of files) {
    if (!/^fleet\/.*\.ya?ml$/.test(file.path)) continue;
    const { document } = readDocument(file);
    if (document?.kind !== 'DistributionSet') continue;
    const { spec } = (document as ParsedDocument<'DistributionSet'>).data;
    for (const artifact of spec.modules.flatMap((module) => module.artifacts ?? [])) {
      if (artifact.name === name) found.push({ file: file.path, sha256: artifact.sha256 });
    }
  }
  return found;
}

function requireSameBytes(
  namesakes: readonly Namesake[],
  { name, added }: { readonly name: string; readonly added: AddedArtifact },
): void {
  const other = namesakes.find(({ sha256 }) => sha256 !== added.sha256);
  if (other === undefined) return;
  throw new CommandError(
    `${other.file} has an artifact ${name} with other bytes (sha256 ${other.sha256.slice(0, 12)}…): one name is one content for ever; ` +
      'put the version into the name, with --name',
    EXIT.problems,
  );
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
