/** What every store engine promises about the outbox. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Message } from '../../src/store/outbox.ts';
import type { Store } from '../../src/store/store.ts';
import type { Engine } from './contract.ts';

export function outboxContract(engine: Engine): void {
  let store: Store;
  beforeEach(async () => {
    store = await engine.create();
  });
  afterEach(async () => {
    await store.close();
  });

  const take = async (now: number, over: { limit?: number; lentUntil?: number } = {}) =>
    (await store.outbox.take({ now, limit: 100, lentUntil: now + 50, ...over })).map(({ id }) => id);

  describe('the outbox', () => {
    test('a message is taken as it was put in', async () => {
      const body = JSON.stringify({ text: 'ä "\u2028\n\\', deep: [null] });
      await store.outbox.put([message('m', 1_790_000_000_000, { receiver: 'https://x/?a=1', body })]);
      expect(
        await store.outbox.take({ now: 1_790_000_000_000, limit: 1, lentUntil: 1_790_000_000_001 }),
      ).toEqual([
        {
          id: 'm',
          receiver: 'https://x/?a=1',
          body,
          createdAt: 1_790_000_000_000,
          tries: 0,
          dueAt: 1_790_000_000_000,
        },
      ]);
    });

    test('the oldest that are due come first, up to the limit', async () => {
      await store.outbox.put([message('late', 30), message('b', 20), message('a', 20), message('first', 10)]);
      await store.outbox.put([]);
      expect(await take(9)).toEqual([]);
      expect(await take(29, { limit: 2 })).toEqual(['first', 'a']);
      expect(await take(29)).toEqual(['b']);
      expect(await take(30, { limit: 0 })).toEqual([]);
      expect(await take(30)).toEqual(['late']);
    });

    test('what is lent is not taken again before the loan ends', async () => {
      await store.outbox.put([message('m', 0)]);
      expect(await take(5, { lentUntil: 40 })).toEqual(['m']);
      expect(await take(39)).toEqual([]);
      expect(await store.outbox.take({ now: 40, limit: 1, lentUntil: 80 })).toEqual([
        { ...message('m', 0), tries: 0, dueAt: 40 },
      ]);
      expect(await take(79)).toEqual([]);
    });

    test('of many that take at once, one gets it', async () => {
      const ids = Array.from({ length: 30 }, (_, n) => `m${String(n).padStart(2, '0')}`);
      await store.outbox.put(ids.map((id, n) => message(id, n)));
      const taken = await Promise.all(Array.from({ length: 10 }, () => take(100, { limit: 5 })));
      const rest = await take(100);
      expect([...taken.flat(), ...rest].sort()).toEqual(ids);
    });

    test('what was delivered does not come again, however long one waits', async () => {
      await store.outbox.put([message('m', 0), message('n', 0)]);
      await take(0);
      await store.outbox.settle('m', { kind: 'delivered', at: 1 });
      expect(await take(1_000_000)).toEqual(['n']);
    });

    test('what is to be tried again is due when it was said, also within the loan, with its error', async () => {
      await store.outbox.put([message('m', 0)]);
      await take(0, { lentUntil: 1000 });
      await store.outbox.settle('m', { kind: 'retry', dueAt: 20, error: 'timed out' });
      expect(await take(19)).toEqual([]);
      expect(await store.outbox.take({ now: 20, limit: 1, lentUntil: 30 })).toEqual([
        { ...message('m', 0), tries: 1, dueAt: 20, lastError: 'timed out' },
      ]);
      const error = `a\0\uD800${'x'.repeat(2000)}`;
      await store.outbox.settle('m', { kind: 'retry', dueAt: 25, error });
      const [again] = await store.outbox.take({ now: 25, limit: 1, lentUntil: 30 });
      expect(again).toMatchObject({ tries: 2, dueAt: 25, lastError: `a\uFFFD${'x'.repeat(997)}` });
    });

    test('what was given up does not come again', async () => {
      await store.outbox.put([message('m', 0)]);
      await store.outbox.settle('m', { kind: 'givenUp', at: 5, error: 'gone' });
      expect(await take(1_000_000)).toEqual([]);
    });

    test('the first outcome stands, and a message that is unknown has none', async () => {
      await store.outbox.put([message('m', 0)]);
      await store.outbox.settle('m', { kind: 'delivered', at: 1 });
      await store.outbox.settle('m', { kind: 'retry', dueAt: 2, error: 'late' });
      await store.outbox.settle('nobody', { kind: 'retry', dueAt: 2, error: 'late' });
      await store.outbox.settle('nobody', { kind: 'delivered', at: 2 });
      expect(await take(100)).toEqual([]);
      expect(await store.outbox.nextDueAt()).toBeUndefined();
    });

    test('an id that is known is ignored: while it waits, within one call, delivered or given up', async () => {
      const { outbox } = store;
      await outbox.put([message('m', 0, { body: '1' }), message('m', 0, { body: '2' }), message('n', 0)]);
      await outbox.put([message('m', 0, { body: '3' })]);
      const taken = await outbox.take({ now: 0, limit: 10, lentUntil: 50 });
      expect(taken.map(({ id, body }) => [id, body])).toEqual([
        ['m', '1'],
        ['n', '{}'],
      ]);
      await outbox.settle('m', { kind: 'delivered', at: 1 });
      await outbox.settle('n', { kind: 'givenUp', at: 1, error: 'gone' });
      await outbox.put([message('m', 2), message('n', 2), message('o', 2)]);
      expect(await take(100)).toEqual(['o']);
    });

    test('ids are forgotten some time after they were settled; what waits never is', async () => {
      await store.outbox.put([message('m', 0), message('n', 0), message('o', 0)]);
      await store.outbox.settle('m', { kind: 'delivered', at: 9 });
      await store.outbox.settle('n', { kind: 'givenUp', at: 10, error: 'gone' });
      await store.outbox.forget(10);
      await store.outbox.put([message('m', 20), message('n', 20)]);
      expect(await take(100)).toEqual(['o', 'm']);
    });

    test('the next time at which one is due is told, ends of loans among them', async () => {
      expect(await store.outbox.nextDueAt()).toBeUndefined();
      await store.outbox.put([message('m', 10), message('n', 1_790_000_000_000)]);
      expect(await store.outbox.nextDueAt()).toBe(10);
      await take(10, { lentUntil: 70 });
      expect(await store.outbox.nextDueAt()).toBe(70);
      await store.outbox.settle('m', { kind: 'retry', dueAt: 30, error: 'busy' });
      expect(await store.outbox.nextDueAt()).toBe(30);
      await store.outbox.settle('m', { kind: 'delivered', at: 40 });
      expect(await store.outbox.nextDueAt()).toBe(1_790_000_000_000);
    });

    test.each([
      ['no id', { id: '' }],
      ['an id that is too long', { id: 'x'.repeat(301) }],
      ['a receiver that is too long', { receiver: 'x'.repeat(2049) }],
      ['a body of more than 64 KiB', { body: `"${'ä'.repeat(32 * 1024)}"` }],
      ['a body with NUL', { body: '"\0"' }],
      ['a time within a millisecond', { createdAt: 0.5 }],
    ])('%s is refused, and nothing of that call is put in', async (_, wrong) => {
      const putting = store.outbox.put([message('good', 0), { ...message('m', 0), ...wrong }]);
      await expect(putting).rejects.toThrow(/expected .* found/);
      expect(await take(100)).toEqual([]);
    });

    test('the largest message is kept', async () => {
      const largest = message('漢'.repeat(300), 0, {
        receiver: '漢'.repeat(2048),
        body: `"${'x'.repeat(64 * 1024 - 2)}"`,
      });
      await store.outbox.put([largest]);
      expect(await store.outbox.take({ now: 0, limit: 1, lentUntil: 1 })).toEqual([
        { ...largest, tries: 0, dueAt: 0 },
      ]);
    });

    test('messages, loans and what was settled outlive a restart', async () => {
      if (engine.reopen === undefined) return;
      await store.outbox.put([message('lent', 0), message('done', 1), message('waits', 2)]);
      await take(1);
      await store.outbox.settle('done', { kind: 'delivered', at: 1 });
      store = await engine.reopen(store);
      await store.outbox.put([message('done', 3)]);
      expect(await take(50)).toEqual(['waits']);
      expect(await take(51)).toEqual(['lent']);
    });
  });
}

export function message(id: string, createdAt: number, over: Partial<Message> = {}): Message {
  return { id, receiver: 'https://example.test/hook', body: '{}', createdAt, ...over };
}
