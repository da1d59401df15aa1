/**
 * Sums in PostgreSQL. Whoever adds takes first the lock on limits, if it has any, and then the rows of sums in one order,
 * so replicas wait for each other and never in a circle.
 */
import type { Connection } from './postgres-connection.ts';
import type { Store } from './store.ts';
import { type Addition, addedUp, checkAddition, EXTERNAL_SERIES, type LimitUse, type Sum } from './sums.ts';

/**
 * Whoever counts against limits holds this advisory lock until it has committed. A limit that nobody has used yet has no
 * row to lock, and replicas commit reports one after another anyway.
 */
const LIMITS_LOCK = 0x7469_6466;

/** Adds within the transaction that `connection` is in. Per addition whether it was counted. */
export async function addIn(
  connection: Connection,
  additions: readonly Addition[],
): Promise<readonly boolean[]> {
  if (additions.length === 0) return [];
  const stored = await storedLimits(connection, additions);
  const { sums, limits, counted } = addedUp(additions, (series, key) => stored.get(`${series}\0${key}`));
  if (limits.length > 0) await writeLimits(connection, limits);
  if (sums.length > 0) await writeSums(connection, sums);
  return counted;
}

async function storedLimits(
  connection: Connection,
  additions: readonly Addition[],
): Promise<ReadonlyMap<string, LimitUse>> {
  const asked = new Map<string, { readonly series: string; readonly key: string }>();
  for (const addition of additions) {
    const { series, limits = [] } = addition;
    if (limits.length > 0) checkAddition(addition);
    for (const { key } of limits) asked.set(`${series}\0${key}`, { series, key });
  }
  if (asked.size === 0) return new Map();
  await connection.query('SELECT pg_advisory_xact_lock($1)', [LIMITS_LOCK]);
  const limits = [...asked.values()];
  const { rows } = await connection.query<{
    series: string;
    limit_key: string;
    used: string;
    touched_at: string;
  }>(
    `SELECT series, limit_key, used, touched_at
     FROM sum_limits JOIN unnest($1::text[], $2::text[]) AS asked (series, limit_key) USING (series, limit_key)`,
    [limits.map(({ series }) => series), limits.map(({ key }) => key)],
  );
  return new Map(
    rows.map(({ series, limit_key: key, used, touched_at }) => [
      `${series}\0${key}`,
      { series, key, used: Number(used), touchedAt: Number(touched_at) },
    ]),
  );
}

async function writeLimits(connection: Connection, limits: readonly LimitUse[]): Promise<void> {
  await connection.query(
    `INSERT INTO sum_limits (series, limit_key, used, touched_at)
     SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])
     ON CONFLICT (series, limit_key) DO UPDATE SET used = excluded.used, touched_at = excluded.touched_at`,
    [
      limits.map(({ series }) => series),
      limits.map(({ key }) => key),
      limits.map(({ used }) => used),
      limits.map(({ touchedAt }) => touchedAt),
    ],
  );
}

/** They come in one order, and so their rows are locked. */
async function writeSums(connection: Connection, sums: readonly Sum[]): Promise<void> {
  await connection.query(
    `INSERT INTO sums (series, began_at, name, sum, count)
     SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::float8[], $5::bigint[])
     ON CONFLICT (series, began_at, name) DO UPDATE
     SET sum = sums.sum + excluded.sum, count = sums.count + excluded.count`,
    [
      sums.map(({ series }) => series),
      sums.map(({ at }) => at),
      sums.map(({ name }) => name),
      sums.map(({ sum }) => sum),
      sums.map(({ count }) => count),
    ],
  );
}

export async function readSums(
  connection: Connection,
  { series, since = Number.MIN_SAFE_INTEGER }: Parameters<Store['sums']>[0],
): Promise<readonly Sum[]> {
  const { rows } = await connection.query<{
    series: string;
    name: string;
    began_at: string;
    sum: number;
    count: string;
  }>(
    `SELECT series, name, began_at, sum, count FROM sums
     WHERE began_at >= $1 ${series === undefined ? '' : 'AND series = $2'} ORDER BY series, began_at, name`,
    series === undefined ? [since] : [since, series],
  );
  return rows.map(({ series, name, began_at, sum, count }) => ({
    series,
    name,
    at: Number(began_at),
    sum,
    count: Number(count),
  }));
}

/** Each series is forgotten by itself: one that is forgotten later is in nobody's way. */
export async function forgetSums(
  connection: Connection,
  { keep, before }: Parameters<Store['forgetSums']>[0],
): Promise<void> {
  for await (const series of knownSeries(connection)) {
    if (keep(series) && series !== EXTERNAL_SERIES) continue;
    const until = keep(series) ? before : Number.MAX_SAFE_INTEGER;
    await connection.query('DELETE FROM sums WHERE series = $1 AND began_at < $2', [series, until]);
    await connection.query('DELETE FROM sum_limits WHERE series = $1 AND touched_at < $2', [series, until]);
  }
}

/** Each once: rows are many and series few, so this goes from one to the next instead of through all rows. */
async function* knownSeries(connection: Connection): AsyncGenerator<string> {
  for (let after = ''; ; ) {
    const { rows } = await connection.query<{ series: string | null }>(
      `SELECT min(series) AS series FROM (
         SELECT min(series) AS series FROM sums WHERE series > $1
         UNION ALL SELECT min(series) FROM sum_limits WHERE series > $1) AS next`,
      [after],
    );
    const next = rows[0]?.series ?? undefined;
    if (next === undefined) return;
    yield next;
    after = next;
  }
}
