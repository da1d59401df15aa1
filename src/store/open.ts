/** Which store an address means. PostgreSQL's driver is loaded only where it is used. */
import { openSqliteStore } from './sqlite.ts';
import { openSqliteReading } from './sqlite-reading.ts';
import type { Reading, Store, StorePlace } from './store.ts';

/** A PostgreSQL database, `postgres://…`, or else a SQLite file; `epoch` draws the epoch of a new one. */
export async function openStore(address: string, options: { readonly epoch: () => string }): Promise<Store> {
  if (!/^postgres(ql)?:/i.test(address)) return await openSqliteStore(address, options);
  const { openPostgresStore } = await import('./postgres.ts');
  return await openPostgresStore(address, options);
}

/** The devices of the store at `place`, as they are now. */
export async function openReading(place: StorePlace): Promise<Reading> {
  if (place.kind === 'sqlite') return openSqliteReading(place.path);
  const { openPostgresReading } = await import('./postgres-reading.ts');
  return await openPostgresReading(place.url);
}
