/**
 * A notice as a message for Slack's incoming webhooks, which Mattermost, Rocket.Chat and others understand, too.
 *
 * https://docs.slack.dev/messaging/formatting-message-text#escaping
 * https://docs.slack.dev/reference/block-kit/blocks/section-block, `context-block`; `composition-objects/text-object`
 */
import { formatInstant } from '../core/model/time.ts';
import type { Notice } from './notice.ts';

export const SLACK_MESSAGE_TYPE = 'application/json; charset=utf-8';

/** "text": longer ones are cut at 40,000; Slack asks for at most 4,000, above which it may split them. */
const TEXT_LENGTH_MAX = 4000;
/** A section's text. A message with a longer one is refused. */
const SECTION_LENGTH_MAX = 3000;
/** A context's element has no limit of its own: that of every text object. */
const ELEMENT_LENGTH_MAX = 3000;

export function slackMessage(notice: Notice): string {
  const { subject, because, deadlineAt, owner, runbook, url, severity } = notice;
  const head = `*${escaped(subject, SECTION_LENGTH_MAX - 2)}*`;
  const body = because === undefined ? [] : [section(escaped(because, SECTION_LENGTH_MAX))];
  const facts = [
    escaped(`${notice.fleet}, ${notice.rollout}, attempt ${notice.attempt}`, 400),
    escaped(notice.distributionSet, 400),
    ...(severity === 'info' ? [] : [severity]),
    ...(owner === undefined ? [] : [`owner ${escaped(owner, 400)}`]),
    ...(deadlineAt === undefined ? [] : [`deadline ${formatInstant(deadlineAt)}`]),
    ...(notice.commit === undefined ? [] : [`outcomes ${notice.commit.slice(0, 8)}`]),
  ].join(' · ');
  const links = [
    ...(runbook === undefined ? [] : [link(runbook, 'runbook')]),
    ...(url === undefined ? [] : [link(url, 'pull request')]),
  ].filter((text) => text.length <= ELEMENT_LENGTH_MAX);
  return JSON.stringify({
    // What is shown where blocks are not: on a locked phone, to a screen reader.
    text: escaped([subject, ...(because === undefined ? [] : [because])].join('\n'), TEXT_LENGTH_MAX),
    blocks: [section(head), ...body, context([facts, ...links])],
  });
}

/** `verbatim`: nothing in it becomes a mention or a link but what we make one. */
function mrkdwn(text: string) {
  return { type: 'mrkdwn', text, verbatim: true };
}

function section(text: string) {
  return { type: 'section', text: mrkdwn(text) };
}

function context(texts: readonly string[]) {
  return { type: 'context', elements: texts.map(mrkdwn) };
}

function link(url: string, words: string): string {
  return `<${escaped(url, Infinity).replaceAll('|', '%7C')}|${words}>`;
}

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;' };

/** These three characters and no others; cut between characters, never inside an entity. */
function escaped(text: string, length: number): string {
  const pieces: string[] = [];
  let rest = length - 1; // For the mark that says that something is missing.
  for (const character of text) {
    const piece = ENTITIES[character] ?? character;
    rest -= piece.length;
    if (rest < 0) return `${pieces.join('')}…`;
    pieces.push(piece);
  }
  return pieces.join('');
}
