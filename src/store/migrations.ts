/**
 * Numbered migrations, for every engine alike. Migration n is at index n − 1 of its engine's list; one that was released
 * is never edited, the next one mends it. They are text in the program, so that a bundle has them too.
 */
import { StoreError } from './errors.ts';

/** What an engine sees before it changes anything. */
export interface FoundSchema {
  /** The database as messages name it. */
  readonly name: string;
  readonly tables: readonly string[];
  /** The last migration that was applied, asked for only where the table `schema_version` exists. */
  readonly version: number | undefined;
}

/**
 * The version of the schema, 0 in an empty database. One that is newer than the `known` migrations, and a database with
 * tables that are not ours, are refused.
 */
export function acceptSchema({ name, tables, version }: FoundSchema, known: number): number {
  if (tables.length === 0) return 0;
  if (version === undefined) {
    throw new StoreError(
      'store-foreign',
      `${name}: expected Tidegate's database, found one with the table ${tables[0]}; ` +
        'it was left as it is; give Tidegate another one',
    );
  }
  if (version > known) {
    throw new StoreError(
      'store-newer',
      `${name}: this Tidegate knows schema versions up to ${known}, found ${version}; ` +
        'run the Tidegate that wrote it or a newer one, or give this one another database',
    );
  }
  return version;
}
