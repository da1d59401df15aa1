import { randomUUID } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { DeviceRecord } from '../../src/core/model/device.ts';
import type { DeviceId } from '../../src/core/model/ids.ts';
import { openReading, openStore } from '../../src/store/open.ts';
import { openPostgresStore } from '../../src/store/postgres.ts';
import { POSTGRES_MIGRATIONS } from '../../src/store/postgres-schema.ts';
import type { Store } from '../../src/store/store.ts';
import { device, type Engine, followed, published, put, reporting, storeContract } from './contract.ts';
import { message, outboxContract } from './outbox-contract.ts';
import { PASSWORD, type PostgresServer, startPostgres } from './postgres-server.ts';
import { crash, sumsContract } from './sums-contract.ts';

let server: PostgresServer;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server.stop());

async function openAt(url: string): Promise<Store> {
  const store = await openPostgresStore(url, { epoch: randomUUID });
  onTestFinished(() => store.close());
  return store;
}

/** A connection of somebody else's, in the same schema. */
async function connectedTo(url: string): Promise<Client> {
  const client = new Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  onTestFinished(() => client.end().catch(() => undefined));
  return client;
}

/** Resolves when `count` connections to the database wait for a lock. */
async function waitingForLocks(url: string, count: number): Promise<void> {
  const waiting = `SELECT count(*)::int AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock'`;
  for (let n = 0; n !== count; ) [{ n }] = (await server.run(url, waiting)) as [{ n: number }];
}

const idOf = (name: string) => name as DeviceId;
const countUp = (before: DeviceRecord | undefined, name: string) => device(name, (before?.serial ?? 0) + 1);

describe('the PostgreSQL store', () => {
  const urls = new Map<Store, string>();
  const remember = async (url: string) => {
    const store = await openPostgresStore(url, { epoch: randomUUID });
    urls.set(store, url);
    return store;
  };
  const engine: Engine = {
    create: async () => remember(await server.createSchema()),
    async reopen(store) {
      await store.close();
      return remember(urls.get(store) ?? expect.unreachable());
    },
  };
  storeContract(engine);
  sumsContract(engine);
  outboxContract(engine);

  test('everything survives close and reopen', async () => {
    const url = await server.createSchema();
    const before = await openAt(url);
    await put(before, reporting, device('other'));
    await before.swapProgram(published(7), 0);
    await before.swapJournal({ tip: 'abc' }, 0);
    const epoch = await before.epoch();
    await before.close();

    const after = await openAt(url);
    expect(await after.epoch()).toBe(epoch);
    expect(await after.devices({ limit: 10 })).toEqual([device('other'), reporting]);
    expect(await after.program()).toEqual(published(7));
    expect(await after.journal()).toEqual({ version: 1, journal: { tip: 'abc' } });
  });

  test('is what an address of PostgreSQL means, for writing and for reading', async () => {
    const store = await openStore(await server.createSchema(), { epoch: randomUUID });
    expect(store.place?.kind).toBe('postgres');
    await put(store, device('a'));
    const reading = await openReading(store.place ?? expect.unreachable());
    expect(reading.position).toBe(1);
    await reading.close();
    await store.close();
  });

  test('a closed store says so, and may be closed again', async () => {
    const store = await openAt(await server.createSchema());
    await store.close();
    await store.close();
    await expect(store.device(idOf('a'))).rejects.toMatchObject({ code: 'store-closed' });
  });
});

describe('replicas', () => {
  test('that start together on an empty database agree on one schema and one epoch', async () => {
    const url = await server.createDatabase();
    const replicas = await Promise.all([1, 2, 3, 4].map(() => openAt(url)));
    const epochs = await Promise.all(replicas.map((store) => store.epoch()));
    expect(new Set(epochs).size).toBe(1);
  });

  test('that write the same devices in opposite orders lose no change and never wait in a circle', async () => {
    const url = await server.createSchema();
    const replicas = [await openAt(url), await openAt(url), await openAt(url)];
    const names = Array.from({ length: 30 }, (_, n) => `d${String(n).padStart(2, '0')}`);
    await Promise.all(
      replicas.flatMap((store, which) =>
        Array.from({ length: 12 }, () => {
          const mine = which % 2 === 0 ? names : names.toReversed();
          return store.updateDevices(mine.map(idOf), (before, at) => countUp(before, mine[at] ?? ''));
        }),
      ),
    );
    const stored = await replicas[0]?.devices({ limit: 100 });
    expect(stored?.map((record) => record.serial)).toEqual(names.map(() => 36));
  });

  test('that enrol the same device at once enrol it once', async () => {
    const url = await server.createSchema();
    const [one, other] = [await openAt(url), await openAt(url)];
    const holder = await connectedTo(url);
    await holder.query(`BEGIN; INSERT INTO devices (id, record) VALUES ('new', '{}')`);
    const enrolling = [one, other].map((store) =>
      store.updateDevices([idOf('new')], (before) => countUp(before, 'new')),
    );
    await waitingForLocks(url, 2);
    await holder.query('ROLLBACK');
    const changes = (await Promise.all(enrolling)).flat();
    expect(changes.map(({ before }) => before?.serial).sort()).toEqual([1, undefined]);
    expect(await one.device(idOf('new'))).toEqual(device('new', 2));
  });

  test('that add up the same sums and limits in opposite orders count each addition once, within the limits', async () => {
    const url = await server.createSchema();
    const replicas = [await openAt(url), await openAt(url), await openAt(url)];
    const names = Array.from({ length: 20 }, (_, n) => `n${n}`);
    let made = 0;
    await Promise.all(
      replicas.flatMap((store, which) =>
        Array.from({ length: 10 }, () => {
          const mine = which % 2 === 0 ? names : names.toReversed();
          return store.updateDevices(
            mine.map(idOf),
            (before, at) => countUp(before, mine[at] ?? ''),
            () => {
              made += 1;
              return mine.flatMap((name) => [
                crash(1, { name }),
                crash(2, { name, limits: [{ key: name, max: 7 }] }),
              ]);
            },
          );
        }),
      ),
    );
    expect(made).toBeGreaterThanOrEqual(30);
    const [store] = replicas;
    const counts = (await store?.sums({}))?.map(({ at, count }) => [at, count]);
    expect(counts).toEqual([...names.map(() => [1, 30]), ...names.map(() => [2, 7])]);
    expect(await store?.device(idOf('n0'))).toEqual(device('n0', 30));
  });

  test('whose transaction has to be repeated add up only what they said last', async () => {
    const url = await server.createSchema();
    const store = await openAt(url);
    const holder = await connectedTo(url);
    // Another replica is about to enrol the device: the insert waits for it, and finds its key taken.
    await holder.query(
      `BEGIN; INSERT INTO devices (id, record) VALUES ('new', '${JSON.stringify(device('new'))}')`,
    );
    let serial = 0;
    const enrolling = store.updateDevices(
      [idOf('new')],
      (before) => {
        serial = (before?.serial ?? 0) + 1;
        return device('new', serial);
      },
      () => [crash(serial)],
    );
    await waitingForLocks(url, 1);
    await holder.query('COMMIT');
    await enrolling;
    expect((await store.sums({})).map(({ at, count }) => [at, count])).toEqual([[2, 1]]);
  });

  test('that empty one outbox at once get each message once while it is lent', async () => {
    const url = await server.createSchema();
    const replicas = [await openAt(url), await openAt(url)];
    const messages = Array.from({ length: 200 }, (_, n) => message(`m${n}`, n));
    // Both noticed the same, as replicas do.
    await Promise.all(
      replicas.map(({ outbox }, which) => outbox.put(which === 0 ? messages : messages.toReversed())),
    );
    const loans = await Promise.all(
      Array.from({ length: 40 }, (_, n) =>
        replicas[n % 2]?.outbox.take({ now: 1000, limit: 7, lentUntil: 2000 }),
      ),
    );
    const taken = loans.flat().map((taking) => taking?.id);
    expect(new Set(taken).size).toBe(taken.length);
    // Who found others busy with what is due may have gone away with less than there was.
    const left = await replicas[0]?.outbox.take({ now: 1999, limit: 1000, lentUntil: 2000 });
    expect(taken.length + (left?.length ?? 0)).toBe(200);
    expect(await replicas[1]?.outbox.take({ now: 1999, limit: 1000, lentUntil: 2000 })).toEqual([]);
    expect(await replicas[1]?.outbox.take({ now: 2000, limit: 1000, lentUntil: 3000 })).toHaveLength(200);
  });

  test('are not held up by an update of another that threw', async () => {
    const url = await server.createSchema();
    const [one, other] = [await openAt(url), await openAt(url)];
    await put(one, device('a', 1));
    const failing = one.updateDevices([idOf('a')], () => {
      throw new RangeError('midway');
    });
    await expect(failing).rejects.toThrow('midway');
    await put(other, device('a', 2));
    expect(await one.device(idOf('a'))).toEqual(device('a', 2));
  });

  test('each hear every commit of the others, in one order, and arrive at the same fleet', async () => {
    const url = await server.createSchema();
    const replicas = [await openAt(url), await openAt(url), await openAt(url)];
    const feeds = await Promise.all(replicas.map(followed));
    const commits = replicas.flatMap((store, which) =>
      Array.from({ length: 25 }, (_, n) => {
        const names = [`shared-${n % 3}`, `own-${which}-${n % 5}`];
        return store.updateDevices(names.map(idOf), (before, at) =>
          before !== undefined && (n + at) % 7 === 6 ? undefined : countUp(before, names[at] ?? ''),
        );
      }),
    );
    const told = (await Promise.all(commits)).filter((changes) => changes.length > 0).length;
    for (const feed of feeds) await feed.until(told);

    const stored = await replicas[0]?.devices({ limit: 100 });
    const [first, ...others] = feeds.map((feed) => feed.told);
    for (const other of others) expect(other).toEqual(first);
    expect(first?.map(({ position }) => position)).toEqual(first?.map((_, at) => at + 1));
    const replayed = new Map<string, DeviceRecord>();
    for (const { before, after } of first?.flatMap(({ changes }) => changes) ?? []) {
      const id = (before ?? after)?.id ?? '';
      expect(replayed.get(id)).toEqual(before);
      if (after === undefined) replayed.delete(id);
      else replayed.set(id, after);
    }
    const inOrder = [...replayed.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
    expect(inOrder).toEqual(stored);
  });
});

describe('the feed under interleaved transactions', () => {
  /** Does by hand what a replica does at the end of its transaction. */
  const TAKE_POSITION = `
    WITH next AS (UPDATE feed SET position = position + 1 RETURNING position)
    INSERT INTO device_changes (position, changes) SELECT position, '[]' FROM next`;

  test('who commits late is not skipped: those behind it wait', async () => {
    const url = await server.createSchema();
    const store = await openAt(url);
    const feed = await followed(store);
    const slow = await connectedTo(url);
    await slow.query(`BEGIN; ${TAKE_POSITION}`);
    let isCommitted = false;
    const fast = put(store, device('fast')).then(() => {
      isCommitted = true;
    });
    await waitingForLocks(url, 1);
    for (let turn = 0; turn < 20; turn++) await nextTurn();
    expect({ isCommitted, told: feed.told }).toEqual({ isCommitted: false, told: [] });

    await slow.query('COMMIT');
    await fast;
    await feed.until(2);
    expect(feed.told.map(({ position, changes }) => [position, changes.length])).toEqual([
      [1, 0],
      [2, 1],
    ]);
    expect(feed.missed).toBe(0);
  });

  test('who is rolled back leaves no gap', async () => {
    const url = await server.createSchema();
    const store = await openAt(url);
    const feed = await followed(store);
    const slow = await connectedTo(url);
    await slow.query(`BEGIN; ${TAKE_POSITION}`);
    const writing = put(store, device('a'));
    await waitingForLocks(url, 1);
    await slow.query('ROLLBACK');
    await writing;
    await feed.until(1);
    expect(feed.told.map(({ position }) => position)).toEqual([1]);
    expect(feed.missed).toBe(0);
  });

  test('a reading has exactly the commits up to its position, whoever is in the middle of one', async () => {
    const url = await server.createSchema();
    const [store, other] = [await openAt(url), await openAt(url)];
    const feed = await followed(store);
    const writing = Array.from({ length: 40 }, (_, n) => put(n % 2 === 0 ? store : other, device(`d${n}`)));
    const readings = await Promise.all(
      writing.map(async (written) => {
        await written;
        const reading = await store.read();
        const ids: string[] = [];
        for await (const page of reading.pages()) ids.push(...page.map((record) => record.id));
        await reading.close();
        return { position: reading.position, ids: ids.sort() };
      }),
    );
    await feed.until(40);
    for (const { position, ids } of readings) {
      const until = feed.told.filter((entry) => entry.position <= position);
      expect(ids).toEqual(until.flatMap(({ changes }) => changes.map(({ after }) => after?.id)).sort());
    }
  });

  test('old entries are removed, new ones stay', async () => {
    const url = await server.createSchema();
    const writer = await openAt(url);
    await put(writer, device('old'));
    await server.run(url, `UPDATE device_changes SET written_at = now() - interval '3 minutes'`);
    await put(writer, device('new'));
    await followed(await openAt(url));
    const positions = async () =>
      (await server.run(url, 'SELECT position FROM device_changes')).map((row) => row['position']);
    while ((await positions()).length > 1);
    expect(await positions()).toEqual(['2']);
  });

  test('entries that are gone are said to be missed, and what follows is told', async () => {
    const url = await server.createSchema();
    const store = await openAt(url);
    const feed = await followed(store);
    await put(store, device('a'));
    await feed.until(1);
    await server.run(url, 'UPDATE feed SET position = position + 3');
    await put(store, device('b'));
    await feed.until(2);
    expect(feed.missed).toBeGreaterThan(0);
    expect(feed.told.map(({ position }) => position)).toEqual([1, 5]);
  });
});

describe('a server that goes away', () => {
  test('a connection that is cut in the middle of a transaction leaves nothing half-written', async () => {
    const url = await server.createDatabase();
    const store = await openAt(url);
    await put(store, device('a', 1), device('gone', 1));
    const feed = await followed(store);
    const holder = await connectedTo(url);
    // Devices are written by then; only the position is to come.
    await holder.query('BEGIN; SELECT FROM feed FOR UPDATE');
    const cut = store.updateDevices(['a', 'b', 'gone'].map(idOf), (_, at) =>
      at === 2 ? undefined : device(at === 0 ? 'a' : 'b', 2),
    );
    const refused = expect(cut).rejects.toMatchObject({ name: 'StoreError', code: 'store-away' });
    await waitingForLocks(url, 1);
    await server.cutWaiting(url);
    await refused;
    await holder.query('ROLLBACK');

    expect(await store.devices({ limit: 10 })).toEqual([device('a', 1), device('gone', 1)]);
    await put(store, device('a', 3));
    await feed.until(1);
    expect(feed.told.map(({ changes }) => changes)).toEqual([
      [{ before: device('a', 1), after: device('a', 3) }],
    ]);
    await feed.close();
  });

  test('requests are refused with a next step while it is away, and go on when it is back; so does the feed', async () => {
    const url = await server.createDatabase();
    const [store, other] = [await openAt(url), await openAt(url)];
    const feed = await followed(store);
    await put(store, device('a'));
    await feed.until(1);

    await server.halt();
    const away = {
      name: 'StoreError',
      code: 'store-away',
      message: expect.stringContaining('check that it runs'),
    };
    await expect(store.device(idOf('a'))).rejects.toMatchObject({ code: 'store-away' });
    await expect(put(store, device('b'))).rejects.toMatchObject(away);
    await expect(openPostgresStore(url, { epoch: randomUUID })).rejects.toMatchObject(away);
    await expect(store.read()).rejects.toMatchObject(away);

    await server.resume();
    await put(other, device('c'));
    await feed.until(2);
    expect(feed.told.at(-1)?.changes).toEqual([{ before: undefined, after: device('c') }]);
    expect(feed.missed).toBe(0);
    expect(await store.device(idOf('a'))).toEqual(device('a'));
    await feed.close();
  });
});

describe('a database that cannot be the store is refused with the next step, and without the password', () => {
  async function checkRefused(url: string, code: string, message: RegExp): Promise<void> {
    const opening = openPostgresStore(url, { epoch: randomUUID });
    const error = await opening.then(
      async (store) => {
        await store.close();
        return expect.unreachable();
      },
      (reason: unknown) => reason,
    );
    expect(error).toMatchObject({ name: 'StoreError', code, message: expect.stringMatching(message) });
    const said = String(error) + String((error as Error).cause);
    expect(said).not.toContain(PASSWORD);
    expect(said).not.toContain(encodeURIComponent(PASSWORD));
  }
  const changed = (url: string, change: (parsed: URL) => void) => {
    const parsed = new URL(url);
    change(parsed);
    return parsed.href;
  };

  test('nobody listens there', async () => {
    const url = changed(server.urlOf('x'), (parsed) => {
      parsed.port = '1';
    });
    await checkRefused(
      url,
      'store-away',
      /127\.0\.0\.1:1\/x: the server does not answer; check that it runs/,
    );
  });

  test('the host has no address', async () => {
    await checkRefused('postgres://u@no.such.host.invalid/db', 'store-away', /correct its name|name server/);
  });

  test('the password is wrong, or missing', async () => {
    const wrong = changed(server.urlOf('postgres'), (parsed) => {
      parsed.password = 'guessed';
    });
    await checkRefused(wrong, 'store-open', /the server refuses the user; check .* PGPASSWORD/);
  });

  test('there is no such database', async () => {
    await checkRefused(server.urlOf('nowhere'), 'store-open', /createdb/);
  });

  test('it takes no writes', async () => {
    const url = await server.createDatabase();
    await server.run(
      server.urlOf('postgres'),
      `ALTER DATABASE ${new URL(url).pathname.slice(1)} SET default_transaction_read_only = on`,
    );
    await checkRefused(url, 'store-open', /read-only; name the primary server/);
  });

  test('the user may not create tables', async () => {
    const url = await server.createDatabase();
    await server.run(server.urlOf('postgres'), `CREATE ROLE guest LOGIN PASSWORD 'guest'`);
    const asGuest = changed(url, (parsed) => {
      parsed.username = 'guest';
      parsed.password = 'guest';
    });
    await checkRefused(asGuest, 'store-open', /grant it CREATE on the schema/);
  });

  test('the user has no connection left', async () => {
    const url = await server.createDatabase();
    await server.run(server.urlOf('postgres'), `CREATE ROLE few LOGIN PASSWORD 'few' CONNECTION LIMIT 0`);
    const asFew = changed(url, (parsed) => {
      parsed.username = 'few';
      parsed.password = 'few';
    });
    await checkRefused(asFew, 'store-busy', /no connection left; raise/);
  });

  test('its characters are not UTF-8', async () => {
    await checkRefused(
      await server.createDatabase(`ENCODING 'LATIN1'`),
      'store-open',
      /UTF8, found LATIN1.*createdb/,
    );
  });

  test('it is another program’s, which stays as it is', async () => {
    const url = await server.createDatabase();
    await server.run(url, 'CREATE TABLE invoices (number integer)');
    await checkRefused(url, 'store-foreign', /found one with the table invoices/);
    const tables = await server.run(url, `SELECT tablename FROM pg_tables WHERE schemaname = 'public'`);
    expect(tables).toEqual([{ tablename: 'invoices' }]);
  });

  test('a newer Tidegate has written it', async () => {
    const url = await server.createDatabase();
    await (await openPostgresStore(url, { epoch: randomUUID })).close();
    await server.run(url, 'INSERT INTO schema_version (version) VALUES (99)');
    const known = new RegExp(`up to ${POSTGRES_MIGRATIONS.length}, found 99; run the Tidegate`);
    await checkRefused(url, 'store-newer', known);
  });

  test('the address is none, or somebody mistyped the password into it', async () => {
    const next = /expected postgres:\/\/USER@HOST:PORT\/DATABASE/;
    await checkRefused(`postgres://u:${PASSWORD}#@host:port/db`, 'store-open', next);
    await checkRefused(`postgres://u:${PASSWORD}@host:5432/db`, 'store-open', next);
    await checkRefused(`mysql://u:${encodeURIComponent(PASSWORD)}@host/db`, 'store-open', next);
  });

  test('a row that is no JSON is damage', async () => {
    const url = await server.createSchema();
    const store = await openAt(url);
    await put(store, device('a'));
    await server.run(url, `UPDATE devices SET record = '{"id":'`);
    await expect(store.device(idOf('a'))).rejects.toMatchObject({ code: 'store-corrupt' });
  });
});
