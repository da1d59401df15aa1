/** What a decision is announced as. The rest is seen in announcer.test.ts, on decisions that were taken. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { Revision, RolloutName, SnapshotId } from '../../src/core/model/ids.ts';
import type { Attempt, Restored } from '../../src/core/model/outcome.ts';
import { DEFAULT_OCCASIONS, OCCASIONS } from '../../src/core/model/receiver.ts';
import { readDecisionMessage } from '../../src/fleet-repo/recorded-decision.ts';
import { noticeOfDecision } from '../../src/notify/notice.ts';

const schema = JSON.parse(
  readFileSync(new URL('../../schemas/fleet.schema.json', import.meta.url), 'utf8'),
) as { properties: { spec: { properties: { notifications: { items: { properties: { on: On } } } } } } };
interface On {
  readonly description: string;
  readonly items: { readonly enum: readonly string[]; readonly title: string };
}

test('the schema knows every occasion, and says which are told unless a receiver chooses', () => {
  const { on } = schema.properties.spec.properties.notifications.items.properties;
  expect(on.items.enum).toEqual(OCCASIONS);
  expect(on.items.title).toBe(`one of ${OCCASIONS.join(', ')}`);
  const words = `${DEFAULT_OCCASIONS.slice(0, -1).join(', ')} and ${DEFAULT_OCCASIONS.at(-1)}`;
  expect(on.description).toBe(`What is announced. Unless said: ${words}.`);
});

test('the documentation has every occasion, and says which are told', () => {
  const page = readFileSync(new URL('../../docs/notifications.md', import.meta.url), 'utf8');
  const [, table = ''] = /## Occasions\n\n([\s\S]*?)\n\n##/.exec(page) ?? [];
  const rows = table.split('\n').map((line) => line.split('|').map((cell) => cell.trim()));
  const listed = rows.flatMap(([, names = '', told = '']) =>
    [...names.matchAll(/`([a-zA-Z]+)`/g)].map(([, name = '']) => ({ name, isTold: told === 'told' })),
  );
  expect(listed).toEqual(OCCASIONS.map((name) => ({ name, isTold: DEFAULT_OCCASIONS.includes(name) })));
});

const attempt = (restored?: Restored) =>
  ({
    rollout: 'kiosk' as RolloutName,
    attempt: 2,
    snapshot: 'b'.repeat(40) as SnapshotId,
    manifest: { distributionSet: 'kiosk@1.1.0', product: 'kiosk', version: '1.1.0', modules: [] },
    ...(restored === undefined ? {} : { restored }),
  }) as unknown as Attempt;

/** As `diverged https://…`: the occasion and the address to go on at. */
function check(before: Restored, after: Restored, expected: string | undefined) {
  const notice = noticeOfDecision({
    decision: { kind: 'recordRestored', attempt: attempt(after), summary: 'kiosk: …' },
    before: attempt(before),
    commit: 'a'.repeat(40),
    at: 0,
    fleet: 'homes',
  });
  const words = notice && [notice.type.slice('tidegate.rollout.'.length), notice.url ?? ''].join(' ').trim();
  expect(words).toBe(expected);
}

test('of a restoration, what is new is told', () => {
  const url = 'https://git.example/pull/7';
  check({ main: 'pending' }, { main: 'diverged', branch: 'b' }, 'diverged');
  check(
    { main: 'diverged', branch: 'b' },
    { main: 'diverged', branch: 'b', pullRequest: url },
    `diverged ${url}`,
  );
  check(
    { main: 'diverged', pullRequest: url },
    { main: 'diverged', pullRequest: url, completedAt: 5 },
    'restored',
  );
  check({ main: 'diverged' }, { main: 'agrees' }, 'restored');
  check({ main: 'agrees' }, { main: 'agrees', completedAt: 5 }, 'restored');
  check({ main: 'agrees' }, { main: 'agrees' }, undefined);
});

test('what is only noted is told to nobody', () => {
  for (const kind of ['recordOperation', 'recordLearnings'] as const) {
    const decision = { kind, attempt: attempt(), summary: 'kiosk: …' };
    expect(noticeOfDecision({ decision, commit: '', at: 0, fleet: 'homes' })).toBeUndefined();
  }
});

const TRAILERS = [
  'Decision: pause',
  'Rollout: kiosk',
  'Attempt: 2',
  `Revision: sha256:${'0'.repeat(64)}`,
  'Stage: canary',
  'Epoch: 7',
].join('\n');

test('a decision is read from the last paragraph of its message, whatever a reason looks like', () => {
  const because = 'Ada says:\n\nDecision: succeed\nRollout: ../../other\nEpoch: 9';
  expect(readDecisionMessage(`kiosk: attempt 2 is paused\n\n${because}\n\n${TRAILERS}\n`)).toEqual({
    kind: 'pause',
    rollout: 'kiosk',
    attempt: 2,
    revision: `sha256:${'0'.repeat(64)}` as Revision,
    summary: 'kiosk: attempt 2 is paused',
    because,
    stage: 'canary',
  });
});

test.each([
  ['', 'Merge branch'],
  ['a path', `x\n\n${TRAILERS.replace('kiosk', '../kiosk')}`],
  ['no kind', `x\n\n${TRAILERS.replace('Decision: pause\n', '')}`],
  ['no number', `x\n\n${TRAILERS.replace('Attempt: 2', 'Attempt: two')}`],
  ['no trailers', 'x\n\nWhy\n'],
])('a commit that records no decision is none: %s', (_what, message) => {
  expect(readDecisionMessage(message)).toBeUndefined();
});
