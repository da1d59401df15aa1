/** What the distribution sets of a folder release, whether or not a rollout wants them. */
import type { Artifact, Manifest } from '../core/model/manifest.ts';
import type { ParsedDocument, SourceDocument } from './document.ts';
import type { SourceFile } from './load.ts';
import { releaseOf } from './normalise.ts';
import type { Position } from './problem.ts';
import { readDocument } from './read.ts';

export interface ReleaseDocument {
  readonly file: string;
  readonly manifest: Manifest;
  /** Where an artifact stands in the file. */
  placeOf(artifact: Artifact): Position;
}

/** Documents that are not right are left out: what is wrong with them is said by whoever loads them. */
export function releasesIn(files: readonly SourceFile[]): readonly ReleaseDocument[] {
  return files.flatMap((file) => {
    if (!/^fleet\/.*\.ya?ml$/.test(file.path)) return [];
    const { document } = readDocument(file);
    if (document?.kind !== 'DistributionSet') return [];
    const set: SourceDocument<'DistributionSet'> = {
      ...(document as ParsedDocument<'DistributionSet'>),
      file: file.path,
    };
    const { manifest } = releaseOf(set);
    return [{ file: file.path, manifest, placeOf: ({ name }) => set.yaml.at(pathOf(set, name)) }];
  });
}

function pathOf({ data }: SourceDocument<'DistributionSet'>, name: string): (string | number)[] {
  for (const [at, { artifacts = [] }] of data.spec.modules.entries()) {
    const index = artifacts.findIndex((artifact) => artifact.name === name);
    if (index >= 0) return ['spec', 'modules', at, 'artifacts', index];
  }
  return ['spec', 'modules'];
}
