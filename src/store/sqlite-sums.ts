/** Sums in SQLite: every statement runs in whatever transaction its caller has begun. */
import type { DatabaseSync } from 'node:sqlite';
import type { Instant } from '../core/model/time.ts';
import { type Addition, addedUp, EXTERNAL_SERIES, type Sum } from './sums.ts';

export interface SqliteSums {
  /** Per addition whether it was counted. */
  add(additions: readonly Addition[]): readonly boolean[];
  read(given: { readonly series?: string; readonly since?: Instant }): readonly Sum[];
  forget(given: { readonly keep: (series: string) => boolean; readonly before: Instant }): void;
}

export function sumsIn(db: DatabaseSync): SqliteSums {
  const selectLimit = db.prepare(
    'SELECT used, touched_at FROM sum_limits WHERE series = ? AND limit_key = ?',
  );
  const upsertLimit = db.prepare(`
    INSERT INTO sum_limits (series, limit_key, used, touched_at) VALUES (?, ?, ?, ?)
    ON CONFLICT (series, limit_key) DO UPDATE SET used = excluded.used, touched_at = excluded.touched_at`);
  const upsertSum = db.prepare(`
    INSERT INTO sums (series, began_at, name, sum, count) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (series, began_at, name) DO UPDATE SET sum = sum + excluded.sum, count = count + excluded.count`);
  const selectSums = db.prepare('SELECT * FROM sums WHERE began_at >= ? ORDER BY series, began_at, name');
  const selectSeries = db.prepare(
    'SELECT * FROM sums WHERE series = ? AND began_at >= ? ORDER BY series, began_at, name',
  );
  const selectNextSeries = db.prepare(`
    SELECT min(series) AS series FROM (
      SELECT min(series) AS series FROM sums WHERE series > ?1
      UNION ALL SELECT min(series) FROM sum_limits WHERE series > ?1)`);
  const deleteSums = db.prepare('DELETE FROM sums WHERE series = ? AND began_at < ?');
  const deleteLimits = db.prepare('DELETE FROM sum_limits WHERE series = ? AND touched_at < ?');

  /** Each once: rows are many and series few, so this goes from one to the next instead of through all rows. */
  function* knownSeries(): Generator<string> {
    for (let after = ''; ; ) {
      const next = selectNextSeries.get(after)?.['series'];
      if (typeof next !== 'string') return;
      yield next;
      after = next;
    }
  }

  return {
    add(additions) {
      const { sums, limits, counted } = addedUp(additions, (series, key) => {
        const row = selectLimit.get(series, key);
        if (row === undefined) return undefined;
        return { series, key, used: Number(row['used']), touchedAt: Number(row['touched_at']) };
      });
      for (const { series, key, used, touchedAt } of limits) upsertLimit.run(series, key, used, touchedAt);
      for (const { series, at, name, sum, count } of sums) upsertSum.run(series, at, name, sum, count);
      return counted;
    },

    read({ series, since = Number.MIN_SAFE_INTEGER }) {
      const rows = series === undefined ? selectSums.all(since) : selectSeries.all(series, since);
      return rows.map((row) => ({
        series: String(row['series']),
        name: String(row['name']),
        at: Number(row['began_at']),
        sum: Number(row['sum']),
        count: Number(row['count']),
      }));
    },

    forget({ keep, before }) {
      for (const series of knownSeries()) {
        if (keep(series) && series !== EXTERNAL_SERIES) continue;
        const until = keep(series) ? before : Number.MAX_SAFE_INTEGER;
        deleteSums.run(series, until);
        deleteLimits.run(series, until);
      }
    },
  };
}
