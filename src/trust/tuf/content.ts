/**
 * What the TUF repository says of a program: the manifests that it may give, and the artifacts that they name. A target's name has its digest in it, so that no two contents ever meet under one name.
 */
import { hash } from 'node:crypto';
import type { Revision } from '../../core/model/ids.ts';
import { type Artifact, canonicalJson, type Manifest } from '../../core/model/manifest.ts';
import type { Program, ProgramRevision } from '../../core/model/program.ts';
import type { TargetFile } from './metadata.ts';
import type { Content, ManifestFile, Target } from './repository.ts';

/** The JWK set of the keys that assignments and flags are signed with: a target of the top-level role. */
export const ASSIGNMENT_KEYS = 'assignment-keys.json';

/** Hex digits of a digest in a name. */
const DIGEST_DIGITS = 12;

/** `manifests/<product>/<version>-<first digits of the revision>.json` */
export function manifestTarget({ product, version }: Manifest, revision: Revision): string {
  const digest = revision.replace(/^sha256:/, '').slice(0, DIGEST_DIGITS);
  return `manifests/${product}/${version}-${digest}.json`;
}

/** `artifacts/<product>/<first digits of the sha256>-<name>` */
export function artifactTarget(product: string, { name, sha256 }: Pick<Artifact, 'name' | 'sha256'>): string {
  return `artifacts/${product}/${sha256.slice(0, DIGEST_DIGITS)}-${name}`;
}

/** Leave that people give to go below a device's floors. */
export function permitsTarget(product: string): string {
  return `permits/${product}.json`;
}

/** The manifest's bytes as a target: those that its revision digests. */
export function manifestBytes(manifest: Manifest): Uint8Array {
  let bytes = knownBytes.get(manifest);
  if (bytes === undefined) {
    bytes = Buffer.from(canonicalJson(manifest));
    knownBytes.set(manifest, bytes);
  }
  return bytes;
}

/** Most manifests are the same from one publication to the next. */
function manifestFile(manifest: Manifest, path: string): ManifestFile {
  let file = knownFiles.get(manifest);
  if (file?.path !== path) {
    const bytes = manifestBytes(manifest);
    file = { path, bytes, sha256: hash('sha256', bytes), artifacts: artifactTargets(manifest) };
    knownFiles.set(manifest, file);
  }
  return file;
}

const knownBytes = new WeakMap<Manifest, Uint8Array>();
const knownFiles = new WeakMap<Manifest, ManifestFile>();

export function contentOf(program: Program): Content {
  const manifests = new Map<string, Map<string, ManifestFile>>();
  for (const { manifest, revision } of revisionsIn(program)) {
    const { product } = manifest;
    const path = manifestTarget(manifest, revision);
    const ofProduct = manifests.get(product) ?? new Map<string, ManifestFile>();
    manifests.set(product, ofProduct);
    ofProduct.set(path, manifestFile(manifest, path));
  }
  return {
    products: [...new Set([...program.knownProducts, ...manifests.keys()])].sort(),
    manifests: new Map(Array.from(manifests, ([product, files]) => [product, [...files.values()]])),
  };
}

/** What the manifest installs, by target path. */
export function artifactTargets({ product, modules }: Manifest): readonly Target[] {
  return modules.flatMap(({ artifacts = [] }) =>
    artifacts.map((artifact) => [artifactTarget(product, artifact), artifactFile(artifact)] as const),
  );
}

/** What the program may give to some device. */
export function revisionsIn({ rollouts }: Program): readonly ProgramRevision[] {
  return rollouts.flatMap(({ candidate, knownGood, olderKnownGood, kept, withdrawn }) => [
    ...(candidate === undefined ? [] : [candidate]),
    ...(knownGood === undefined ? [] : [knownGood]),
    ...(olderKnownGood ?? []),
    ...(withdrawn === undefined ? [] : [withdrawn]),
    ...kept,
  ]);
}

/** The floors are part of what is signed: who may change a manifest may not lower them. */
export function artifactFile({ sizeBytes, sha256, securityEpoch, hardwareIds }: Artifact): TargetFile {
  const custom = {
    ...(hardwareIds === undefined || hardwareIds.length === 0
      ? {}
      : { hardwareIds: [...hardwareIds].sort() }),
    ...(securityEpoch === undefined ? {} : { securityEpoch }),
  };
  return {
    ...(Object.keys(custom).length === 0 ? {} : { custom }),
    hashes: { sha256 },
    length: sizeBytes,
  };
}
