import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { desiredOf, FLEET, load, problemsOf, replaced } from './sources.ts';

const loadWith = (entry: string) =>
  load({ 'fleet/fleet.yaml': replaced(FLEET, 'spec: {}', `spec: {notifications: [${entry}]}`) });
const HOOK = 'urlFrom: {env: TIDEGATE_HOOK_ONCALL}';

test('an entry names an address, or where the server has it', () => {
  const { notifications } = desiredOf(
    loadWith(`{url: https://hooks.example/x}, {${HOOK}, format: slack, on: [paused, deadline]}`),
  ).fleet;
  expect(notifications).toEqual([
    {
      address: { url: 'https://hooks.example/x' },
      format: 'cloudevents',
      on: [
        'approvalNeeded',
        'paused',
        'succeeded',
        'stopped',
        'superseded',
        'rolledBack',
        'diverged',
        'concern',
        'cohortReturned',
        'deadline',
      ],
    },
    { address: { env: 'TIDEGATE_HOOK_ONCALL' }, format: 'slack', on: ['paused', 'deadline'] },
  ]);
  expect(desiredOf(load()).fleet).not.toHaveProperty('notifications');
});

test('the example of the documentation is valid', () => {
  const page = readFileSync(new URL('../../docs/notifications.md', import.meta.url), 'utf8');
  const [, example = ''] = /```yaml\n([\s\S]*?)```/.exec(page) ?? [];
  const loaded = load({ 'fleet/fleet.yaml': example });
  expect(problemsOf(loaded)).toEqual([]);
  expect(desiredOf(loaded).fleet.notifications).toHaveLength(2);
});

describe('an entry is refused', () => {
  /** `message` is all or part of the one problem; nothing of the address may be in it. */
  function check(entry: string, message: string) {
    const loaded = loadWith(entry);
    expect(loaded.desired).toBeUndefined();
    expect(problemsOf(loaded)).toEqual([expect.stringContaining(message)]);
    expect(problemsOf(loaded).join()).not.toContain('verysecret');
  }

  test('that names no address, or two', () => {
    check('{format: slack}', 'needs either url or urlFrom, found neither');
    check(`{url: https://hooks.example/x, ${HOOK}}`, 'needs either url or urlFrom, found both');
  });

  test('that has a secret in it', () => {
    const slack = 'whoever can read it in the repository can post to your Slack; revoke it';
    check('{url: https://hooks.slack.com/services/T0/B0/verysecret}', slack);
    check('{url: https://HOOKS.SLACK.COM./services/T0/B0/verysecret}', slack);
    check('{url: https://ada:verysecret@hooks.example/x}', 'it has credentials in it');
  });

  test('that is no address', () => {
    check('{url: "https://["}', 'it is no address that can be asked');
  });

  test.each(['PATH', 'TIDEGATE_GIT_TOKEN', 'TIDEGATE_HOOK_', 'tidegate_hook_x', 'TIDEGATE_HOOK_x'])(
    'that wants to read the variable %s',
    (env) => check(`{urlFrom: {env: ${env}}}`, 'must be TIDEGATE_HOOK_ and up to 50 capital letters'),
  );

  test('that waits for what never happens', () =>
    check(`{${HOOK}, on: [exploded]}`, 'must be one of created'));
});
