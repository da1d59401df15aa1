import { describe, expect, it } from 'vitest';
import { type Place, parsePlace } from '../../src/git/place.ts';

describe('what a repository is named by', () => {
  const cases: readonly (readonly [string, Place])[] = [
    ['.', { kind: 'local', path: '.' }],
    ['/srv/fleet.git', { kind: 'local', path: '/srv/fleet.git' }],
    ['./odd:name', { kind: 'local', path: './odd:name' }],
    ['file:///srv/fleet%20one.git', { kind: 'local', path: '/srv/fleet one.git' }],
    [
      'https://git.example/ada/fleet.git/',
      { kind: 'http', url: 'https://git.example/ada/fleet.git', isProtected: true },
    ],
    ['http://git.example/fleet', { kind: 'http', url: 'http://git.example/fleet', isProtected: false }],
    ['http://127.0.0.1:3000/fleet', { kind: 'http', url: 'http://127.0.0.1:3000/fleet', isProtected: true }],
    ['http://[::1]/fleet', { kind: 'http', url: 'http://[::1]/fleet', isProtected: true }],
    ['ssh://git@git.example:22/fleet.git', { kind: 'ssh', url: 'ssh://git@git.example:22/fleet.git' }],
    ['git@git.example:ada/fleet.git', { kind: 'ssh', url: 'git@git.example:ada/fleet.git' }],
    ['fleet-host:fleet.git', { kind: 'ssh', url: 'fleet-host:fleet.git' }],
  ];
  it.each(cases)('%s', (text, expected) => {
    expect(parsePlace(text)).toEqual(expected);
  });

  it.each([
    ['--upload-pack=touch /tmp/x', /begins with a dash/],
    [
      'git://git.example/fleet',
      /scheme git:\/\/, which is not supported; name a folder, or a URL with https/,
    ],
    ['ext::sh -c id', /names a helper program of git's; name a folder/],
    ['https://', /is no URL/],
    ['https://git.example/fleet?token=1', /has a \? or # behind it/],
    ['file://elsewhere/fleet', /names no folder of this machine/],
  ])('refuses %s', (text, expected) => {
    expect(() => parsePlace(text)).toThrow(expected);
  });

  it.each([
    'https://ada:secret-token@git.example/fleet',
    'https://secret-token@git.example/fleet',
    'ssh://ada:secret-token@git.example/fleet',
  ])('refuses credentials in a URL, says where they belong, and does not repeat them: %s', (text) => {
    let message = '';
    try {
      parsePlace(text);
    } catch (error) {
      message = String(error);
    }
    expect(message).toMatch(/TIDEGATE_GIT_TOKEN|ssh takes keys/);
    expect(message).not.toContain('secret-token');
  });
});
