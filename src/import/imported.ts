/** What an import comes to: documents of ours, and everything of the source that is not in them. */
import type { Kind } from '../documents/kinds.ts';
import { PLACES } from '../documents/kinds.ts';
import type { JsonPlace } from './json-place.ts';

export interface ImportedDocument {
  readonly kind: Kind;
  readonly name: string;
  /** Inside the repository: `fleet/rollouts/kiosk.yaml`. */
  readonly path: string;
  /** What it was made from, for people: `deployment kiosk-prod`. */
  readonly from: string;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly spec: Readonly<Record<string, unknown>>;
}

/**
 * How much it matters: a whole document could not be made (`refused`); the result does less, or something else, until
 * somebody acts (`act`); a difference to know of (`know`).
 */
export type Weight = 'refused' | 'act' | 'know';

/** Something of the source that is not in the documents as it stood there. No value of the source is in its words. */
export interface NotCarried {
  readonly weight: Weight;
  readonly file: string;
  readonly pointer: string;
  readonly why: string;
  /** What to do. */
  readonly next: string;
}

export interface Imported {
  readonly documents: readonly ImportedDocument[];
  readonly notCarried: readonly NotCarried[];
}

/** Collects what a translator finds on its way. */
export class ImportDesk {
  readonly #documents: ImportedDocument[] = [];
  readonly #notCarried: NotCarried[] = [];

  make(kind: Kind, name: string, document: Pick<ImportedDocument, 'from' | 'metadata' | 'spec'>): void {
    const { from, metadata, spec } = document;
    this.#documents.push({ kind, name, path: this.#pathFor(kind, name), from, metadata, spec });
  }

  /** `kiosk@1-2` and `kiosk-1@2` are two names, and would be one file. */
  #pathFor(kind: Kind, name: string): string {
    const stem = `${PLACES[kind]}${name.replaceAll('@', '-')}`;
    const taken = new Set(this.#documents.map(({ path }) => path));
    for (let count = 1; ; count++) {
      const path = `${stem}${count === 1 ? '' : `.${count}`}.yaml`;
      if (!taken.has(path)) return path;
    }
  }

  say(weight: Weight, { file, pointer }: JsonPlace, why: string, next: string): void {
    this.#notCarried.push({ weight, file, pointer, why, next });
  }

  get result(): Imported {
    return { documents: this.#documents, notCarried: this.#notCarried };
  }
}
