import { setImmediate } from 'node:timers/promises';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Clock } from '../../src/clock.ts';
import { systemClock } from '../../src/clock.ts';
import type { Answer, Probe } from '../../src/core/gates/probe.ts';
import { DAY, HOUR, MINUTE, SECOND } from '../../src/core/model/time.ts';
import { createAsk, readAskConfig } from '../../src/probes/ask.ts';
import { createProber, type Prober } from '../../src/probes/prober.ts';
import { createVirtualClock, type VirtualClock } from '../../src/simulate/virtual-clock.ts';
import { startAnswering } from './answering-server.ts';

const START = Date.UTC(2026, 10, 21, 8);

interface Pending {
  readonly key: string;
  readonly signal: AbortSignal;
  answer(answer: Answer): Promise<void>;
}

interface Bench {
  readonly clock: VirtualClock;
  readonly prober: Prober;
  /** What is under way, the oldest first. */
  readonly pending: readonly Pending[];
  /** Keys in the order of asking. */
  readonly asked: string[];
  /** How often the reader was woken. */
  woken(): number;
  pass(ms: number): Promise<void>;
  /** Answers all that is asked, until nothing more is. */
  answerAll(answer?: Answer): Promise<void>;
}

const value = (number: number): Answer => ({ kind: 'value', value: number });
const trouble = (because: string): Answer => ({ kind: 'trouble', because });

function probe(key: string, over: Partial<Probe> = {}): Probe {
  return { key, everyMs: MINUTE, keepMs: HOUR, question: { kind: 'prometheus', query: key }, ...over };
}

/** What is asked waits for the test to answer it; one that is aborted ends by itself. Chance is in the middle. */
function createBench({ random = (): number => 0.5 } = {}): Bench {
  const clock = createVirtualClock(START);
  const pending: Pending[] = [];
  const asked: string[] = [];
  let woken = 0;
  const prober = createProber({
    clock,
    random,
    onSample: () => {
      woken += 1;
    },
    ask: (question, signal) => {
      const key = question.kind === 'prometheus' ? question.query : question.url;
      asked.push(key);
      return new Promise((resolve) => {
        const end = (answer: Answer) => {
          pending.splice(pending.indexOf(entry), 1);
          resolve(answer);
        };
        const entry: Pending = {
          key,
          signal,
          async answer(answer) {
            end(answer);
            await setImmediate();
          },
        };
        pending.push(entry);
        signal.addEventListener('abort', () => end(trouble('aborted')));
      });
    },
  });
  return {
    clock,
    prober,
    pending,
    asked,
    woken: () => woken,
    async pass(ms) {
      clock.advance(ms);
      await setImmediate();
    },
    async answerAll(answer = value(1)) {
      for (let next = pending[0]; next !== undefined; next = pending[0]) await next.answer(answer);
    },
  };
}

const samplesOf = ({ prober }: Bench, key: string) => prober.samples().get(key);

describe('a probe', () => {
  test('is asked at once, and again after its interval', async () => {
    const bench = createBench();
    bench.prober.follow([probe('a')]);
    expect(bench.asked).toEqual(['a']);
    expect(samplesOf(bench, 'a')).toEqual([]);
    await bench.answerAll(value(7));
    expect(samplesOf(bench, 'a')).toEqual([{ at: START, kind: 'value', value: 7 }]);
    await bench.pass(MINUTE - 1);
    expect(bench.asked).toEqual(['a']);
    await bench.pass(1);
    expect(bench.asked).toEqual(['a', 'a']);
  });

  test('has samples of when it was asked, however late they came', async () => {
    const bench = createBench();
    bench.prober.follow([probe('a')]);
    await bench.pass(9 * SECOND);
    await bench.answerAll(value(7));
    expect(samplesOf(bench, 'a')).toEqual([{ at: START, kind: 'value', value: 7 }]);
  });

  test('is never asked twice at once, however long an answer takes', async () => {
    const bench = createBench();
    bench.prober.follow([probe('a')]);
    await bench.pass(HOUR);
    bench.prober.follow([probe('a')]);
    expect(bench.asked).toEqual(['a']);
    await bench.pending[0]?.answer(value(1));
    expect(bench.asked).toEqual(['a', 'a']);
    expect(samplesOf(bench, 'a')).toHaveLength(1);
  });

  test.each([
    ['5 s', 1, 0, 5 * SECOND],
    ['the least of its jitter', MINUTE, 0, 57 * SECOND],
    ['the most of its jitter', MINUTE, 1, 63 * SECOND],
    ['a month', 30 * DAY, 0.5, 30 * DAY],
  ])('waits for %s', async (_, everyMs, lot, expected) => {
    const bench = createBench({ random: () => lot });
    bench.prober.follow([probe('a', { everyMs })]);
    await bench.answerAll();
    await bench.pass(expected - 1);
    expect(bench.asked).toHaveLength(1);
    await bench.pass(1);
    expect(bench.asked).toHaveLength(2);
  });

  test('whose interval becomes shorter is asked by the new one', async () => {
    const bench = createBench();
    bench.prober.follow([probe('a', { everyMs: HOUR })]);
    await bench.answerAll();
    await bench.pass(MINUTE);
    bench.prober.follow([probe('a', { everyMs: MINUTE })]);
    expect(bench.asked).toHaveLength(2);
  });

  test('never sleeps longer than a timer can', async () => {
    const virtual = createVirtualClock(START);
    const slept: number[] = [];
    const sleep: Clock['sleep'] = (duration, signal) => {
      slept.push(duration);
      return virtual.sleep(duration, signal);
    };
    const clock = { now: virtual.now, sleep };
    const ask = async () => value(1);
    const prober = createProber({ clock, random: () => 0.5, ask, onSample: () => undefined });
    prober.follow([probe('a', { everyMs: 30 * DAY })]);
    await setImmediate();
    expect(slept).toHaveLength(1);
    expect(slept[0]).toBeLessThan(2 ** 31);
    await prober.close();
  });

  test('goes on when the clock was set back', async () => {
    let now = START + DAY;
    const virtual = createVirtualClock(START);
    const clock: Clock = { now: () => now, sleep: virtual.sleep };
    const asked: number[] = [];
    const ask = async () => {
      asked.push(now);
      return value(1);
    };
    const prober = createProber({ clock, random: () => 0.5, ask, onSample: () => undefined });
    prober.follow([probe('a')]);
    await setImmediate();
    now = START;
    virtual.advance(MINUTE);
    await setImmediate();
    expect(asked).toEqual([START + DAY, START]);
    // The sample of a time that has not been yet is none.
    expect(prober.samples().get('a')).toEqual([{ at: START, kind: 'value', value: 1 }]);
    await prober.close();
  });
});

describe('following', () => {
  test('keeps the samples of a key that stays, and forgets one that is gone', async () => {
    const bench = createBench();
    bench.prober.follow([probe('a'), probe('b')]);
    await bench.answerAll();
    bench.prober.follow([probe('b'), probe('c')]);
    expect([...bench.prober.samples()].map(([key, samples]) => [key, samples.length])).toEqual([
      ['b', 1],
      ['c', 0],
    ]);
    bench.prober.follow([probe('a'), probe('b')]);
    expect(samplesOf(bench, 'a')).toEqual([]);
    await bench.pass(0);
    expect(bench.asked).toEqual(['a', 'b', 'c', 'a']);
  });

  test('ends the request of a key that is gone, whose answer counts for nothing', async () => {
    const bench = createBench();
    bench.prober.follow([probe('a')]);
    const [request] = bench.pending;
    bench.prober.follow([]);
    expect(request?.signal.aborted).toBe(true);
    await bench.pass(HOUR);
    expect([bench.asked, bench.woken(), [...bench.prober.samples()]]).toEqual([['a'], 0, []]);
  });

  test('a key that comes back is asked when its old request has ended', async () => {
    const bench = createBench();
    bench.prober.follow([probe('a')]);
    bench.prober.follow([]);
    bench.prober.follow([probe('a')]);
    expect(bench.asked).toEqual(['a']);
    await bench.pass(0);
    expect(bench.asked).toEqual(['a', 'a']);
    expect(samplesOf(bench, 'a')).toEqual([]);
  });

  test('what a reader was given stays as it was', async () => {
    const bench = createBench();
    bench.prober.follow([probe('a')]);
    await bench.answerAll();
    const read = bench.prober.samples();
    await bench.pass(MINUTE);
    await bench.answerAll();
    bench.prober.follow([]);
    expect([...read].map(([key, samples]) => [key, samples.length])).toEqual([['a', 1]]);
  });
});

describe('a thousand probes', () => {
  const many = Array.from({ length: 1000 }, (_, index) => probe(`p${index}`));

  test('are asked eight at a time, in order', async () => {
    const bench = createBench();
    bench.prober.follow(many);
    expect(bench.pending.map(({ key }) => key)).toEqual(many.slice(0, 8).map(({ key }) => key));
    let most = 0;
    for (let next = bench.pending[0]; next !== undefined; next = bench.pending[0]) {
      most = Math.max(most, bench.pending.length);
      await next.answer(value(1));
    }
    expect(most).toBe(8);
    expect(bench.asked).toEqual(many.map(({ key }) => key));
    expect(bench.woken()).toBe(1000);
  });

  test('cost one timer between their times', async () => {
    const virtual = createVirtualClock(START);
    let sleeping = 0;
    let slept = 0;
    const clock: Clock = {
      now: virtual.now,
      async sleep(duration, signal) {
        sleeping += 1;
        slept += 1;
        await virtual.sleep(duration, signal);
        sleeping -= 1;
      },
    };
    let asked = 0;
    const ask = async () => {
      asked += 1;
      return value(1);
    };
    const prober = createProber({ clock, random: () => 0.5, ask, onSample: () => undefined });
    prober.follow(many);
    await setImmediate();
    expect([asked, sleeping]).toEqual([1000, 1]);
    for (let seconds = 1; seconds < 60; seconds += 1) virtual.advance(SECOND);
    await setImmediate();
    expect([asked, sleeping]).toEqual([1000, 1]);
    expect(slept).toBeLessThan(10);
    virtual.advance(SECOND);
    await setImmediate();
    expect(asked).toBe(2000);
    // Another time to wake is another timer, in place of the last.
    prober.follow([probe('often', { everyMs: 10 * SECOND }), ...many]);
    await setImmediate();
    prober.follow(many);
    await setImmediate();
    expect(sleeping).toBe(1);
    await prober.close();
    expect(sleeping).toBe(0);
  });

  test('of which most ask somebody who does not answer hold up nobody else', async () => {
    const bench = createBench();
    const dead = many.slice(0, 100);
    bench.prober.follow(dead);
    await bench.answerAll(trouble('no whole answer within 10 s'));
    await bench.pass(MINUTE);
    expect(bench.pending.map(({ key }) => key)).toEqual(['p0', 'p1', 'p2', 'p3']);
    bench.prober.follow([...dead, probe('alive')]);
    expect(bench.pending.map(({ key }) => key)).toContain('alive');
    await bench.pending.at(-1)?.answer(value(1));
    expect(samplesOf(bench, 'alive')).toHaveLength(1);
    await bench.answerAll(trouble('still'));
    expect(bench.asked).toHaveLength(201);
  });
});

describe('samples', () => {
  test('that are too old are forgotten, but for the last', async () => {
    const bench = createBench();
    bench.prober.follow([probe('a', { keepMs: 2 * MINUTE })]);
    for (let minute = 0; minute < 5; minute += 1) {
      await bench.answerAll(value(minute));
      await bench.pass(MINUTE);
    }
    const values = () =>
      samplesOf(bench, 'a')?.map((sample) => (sample.kind === 'value' ? sample.value : sample));
    // It is minute five: that question is under way.
    expect(values()).toEqual([3, 4]);
    await bench.pass(DAY);
    expect(values()).toEqual([4]);
  });

  test('are a thousand at most', async () => {
    const bench = createBench();
    bench.prober.follow([probe('a', { everyMs: 5 * SECOND, keepMs: DAY })]);
    for (let count = 0; count < 1010; count += 1) {
      await bench.answerAll(value(count));
      await bench.pass(5 * SECOND);
    }
    const samples = samplesOf(bench, 'a');
    expect(samples).toHaveLength(1000);
    expect(samples?.[0]).toMatchObject({ value: 10 });
    expect(samples?.at(-1)).toMatchObject({ value: 1009 });
  });

  test('wake the reader, but not the same trouble again', async () => {
    const bench = createBench();
    bench.prober.follow([probe('a')]);
    const woken: number[] = [];
    const verdict: Answer = { kind: 'verdict', verdict: 'wait', because: 'x' };
    for (const answer of [
      ...[value(1), value(1), trouble('x'), trouble('x'), trouble('y'), verdict, verdict, trouble('y')],
    ]) {
      await bench.answerAll(answer);
      woken.push(bench.woken());
      await bench.pass(MINUTE);
    }
    expect(woken).toEqual([1, 2, 3, 3, 4, 5, 6, 7]);
    // It is kept all the same.
    expect(samplesOf(bench, 'a')).toHaveLength(8);
  });

  test('say that asking failed where that is a bug', async () => {
    const clock = createVirtualClock(START);
    const ask = () => Promise.reject(new TypeError('x is not a function'));
    const prober = createProber({ clock, random: () => 0.5, ask, onSample: () => undefined });
    prober.follow([probe('a')]);
    await setImmediate();
    expect(prober.samples().get('a')).toEqual([
      { at: START, ...trouble('it could not be asked: x is not a function; this is a bug, report it') },
    ]);
    await prober.close();
  });
});

describe('closing', () => {
  test('ends what is under way, and nothing happens afterwards', async () => {
    const bench = createBench();
    bench.prober.follow([probe('a'), probe('b')]);
    await bench.pending[0]?.answer(value(1));
    const [request] = bench.pending;
    await bench.prober.close();
    expect(request?.signal.aborted).toBe(true);
    bench.prober.follow([probe('c')]);
    await bench.pass(HOUR);
    expect([bench.asked, bench.woken()]).toEqual([['a', 'b'], 1]);
    await bench.prober.close();
  });

  test('ends real requests, too', async () => {
    const server = await startAnswering(() => undefined);
    const config = readAskConfig({ gateWebhookHost: [server.host] }, {});
    const ask = createAsk(config, { fetch, clock: systemClock, randomHex: () => '00' });
    const prober = createProber({ clock: systemClock, random: Math.random, ask, onSample: () => undefined });
    const question = { kind: 'webhook', url: `http://${server.host}/`, about: {} } as const;
    prober.follow([probe('a', { question })]);
    await expect.poll(() => server.requests.length).toBe(1);
    await prober.close();
    await expect.poll(() => server.connections()).toBe(0);
  });

  test('leaves no timer behind', async () => {
    const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
    const before = timers();
    const ask = async () => value(1);
    const prober = createProber({ clock: systemClock, random: () => 0.5, ask, onSample: () => undefined });
    prober.follow([probe('a')]);
    await setImmediate();
    expect(timers()).toBe(before + 1);
    await prober.close();
    expect(timers()).toBe(before);
  });
});

test('whatever is followed and answered, no key is asked twice at once, nor too early, nor more than eight', async () => {
  const step = fc.oneof(
    fc.record({ do: fc.constant('follow' as const), keys: fc.uniqueArray(fc.integer({ min: 0, max: 20 })) }),
    fc.record({ do: fc.constant('pass' as const), ms: fc.integer({ min: 0, max: 2 * MINUTE }) }),
    fc.record({
      do: fc.constant('answer' as const),
      which: fc.nat(),
      answer: fc.constantFrom(value(1), trouble('x'), trouble('y')),
    }),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 60 }),
      fc.infiniteStream(fc.double({ min: 0, max: 0.99 })),
      async (steps, lots) => {
        const bench = createBench({ random: () => lots.next().value ?? 0 });
        let followed = new Set<string>();
        const lastAt = new Map<string, number>();
        let seen = 0;
        for (const each of steps) {
          if (each.do === 'follow') {
            followed = new Set(each.keys.map((key) => `k${key}`));
            bench.prober.follow([...followed].map((key) => probe(key)));
            for (const key of lastAt.keys()) if (!followed.has(key)) lastAt.delete(key);
          } else if (each.do === 'pass') await bench.pass(each.ms);
          else await bench.pending[each.which % (bench.pending.length || 1)]?.answer(each.answer);
          await setImmediate();
          const keys = bench.pending.map(({ key }) => key);
          expect(new Set(keys).size).toBe(keys.length);
          expect(keys.length).toBeLessThanOrEqual(8);
          for (const key of bench.asked.slice(seen)) {
            const now = bench.clock.now();
            expect(now - (lastAt.get(key) ?? Number.NEGATIVE_INFINITY)).toBeGreaterThanOrEqual(0.95 * MINUTE);
            if (followed.has(key)) lastAt.set(key, now);
          }
          seen = bench.asked.length;
          expect(new Set(bench.prober.samples().keys())).toEqual(followed);
        }
        await bench.prober.close();
        expect(bench.pending).toEqual([]);
      },
    ),
    { numRuns: 100 },
  );
});
