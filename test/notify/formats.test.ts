/** What receivers are sent. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { RolloutName } from '../../src/core/model/ids.ts';
import { cloudEvent } from '../../src/notify/cloud-event.ts';
import type { Notice } from '../../src/notify/notice.ts';
import { slackMessage } from '../../src/notify/slack-message.ts';

const NOTICE: Notice = {
  id: 'a'.repeat(40),
  type: 'tidegate.rollout.paused',
  at: Date.UTC(2026, 0, 1, 12),
  fleet: 'homes',
  rollout: 'kiosk' as RolloutName,
  attempt: 3,
  stage: 'canary',
  subject: 'kiosk: attempt 3 is paused',
  because: 'p95 < 10 & <!channel> said so',
  owner: 'kiosk-oncall',
  runbook: 'https://wiki.example/kiosk?a=1&b=2|<x>',
  deadlineAt: Date.UTC(2026, 0, 2),
  severity: 'critical',
  commit: 'a'.repeat(40),
  snapshot: 'b'.repeat(40),
  distributionSet: 'kiosk@1.1.0',
  url: 'https://git.example/fleet/pull/7',
};

interface SlackText {
  readonly type: string;
  readonly text: string;
  readonly verbatim: boolean;
}

interface SlackMessage {
  readonly text: string;
  readonly blocks: readonly {
    readonly type: string;
    readonly text?: SlackText;
    readonly elements?: readonly SlackText[];
  }[];
}

const textsOf = ({ text, blocks }: SlackMessage) => [
  { text, max: 4000 },
  ...blocks.flatMap((block) =>
    [...(block.text === undefined ? [] : [block.text]), ...(block.elements ?? [])].map(({ text: each }) => ({
      text: each,
      max: 3000,
    })),
  ),
];

test('Slack is sent text and blocks, escaped as it asks, and only our own links are links', () => {
  expect(JSON.parse(slackMessage(NOTICE))).toEqual({
    text: 'kiosk: attempt 3 is paused\np95 &lt; 10 &amp; &lt;!channel&gt; said so',
    blocks: [
      { type: 'section', text: { type: 'mrkdwn', verbatim: true, text: '*kiosk: attempt 3 is paused*' } },
      {
        type: 'section',
        text: { type: 'mrkdwn', verbatim: true, text: 'p95 &lt; 10 &amp; &lt;!channel&gt; said so' },
      },
      {
        type: 'context',
        elements: [
          {
            type: 'mrkdwn',
            verbatim: true,
            text: 'homes, kiosk, attempt 3 · kiosk@1.1.0 · critical · owner kiosk-oncall · deadline 2026-01-02T00:00:00Z · outcomes aaaaaaaa',
          },
          {
            type: 'mrkdwn',
            verbatim: true,
            text: '<https://wiki.example/kiosk?a=1&amp;b=2%7C&lt;x&gt;|runbook>',
          },
          { type: 'mrkdwn', verbatim: true, text: '<https://git.example/fleet/pull/7|pull request>' },
        ],
      },
    ],
  });
});

test('whatever a notice says, Slack is sent no more than it takes, and no character that it would act on', () => {
  const words = fc.string({ unit: fc.constantFrom('&', '<', '>', 'a', '🌊', '*', '\n'), maxLength: 5000 });
  fc.assert(
    fc.property(words, words, words, (subject, because, owner) => {
      const { runbook: _, url: __, ...rest } = NOTICE;
      const message = JSON.parse(slackMessage({ ...rest, subject, because, owner })) as SlackMessage;
      for (const { text, max } of textsOf(message)) {
        expect(text.length).toBeLessThanOrEqual(max);
        expect(text.replaceAll(/&(amp|lt|gt);/g, '')).not.toMatch(/[&<>]/);
        expect(text.isWellFormed()).toBe(true);
      }
    }),
    { numRuns: 60 },
  );
});

test('a CloudEvent has the attributes that the specification asks for, and nothing undefined', () => {
  const { stage: _, because: __, deadlineAt: ___, ...rest } = NOTICE;
  const event = JSON.parse(cloudEvent({ ...rest, fleet: 'homes' }));
  expect(event).toMatchObject({
    specversion: '1.0',
    id: NOTICE.id,
    source: 'tidegate:fleet:homes',
    type: 'tidegate.rollout.paused',
    subject: 'kiosk/3',
    time: '2026-01-01T12:00:00Z',
    datacontenttype: 'application/json',
  });
  expect(Object.keys(event.data)).not.toContain('stage');
  // "Naming conventions": lower-case letters and digits.
  for (const name of Object.keys(event)) expect(name).toMatch(/^[a-z0-9]{1,20}$/);
});
