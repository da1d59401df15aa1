import { describe, expect, test } from 'vitest';
import { ProbeError } from '../../src/probes/errors.ts';
import { isAllowed, parseHost } from '../../src/probes/hosts.ts';

describe('a host that is listed', () => {
  test.each([
    ['checks.example.org', 'https://checks.example.org/gate', true],
    ['checks.example.org', 'https://CHECKS.example.ORG:443/gate', true],
    ['CHECKS.example.org', 'https://checks.example.org', true],
    ['checks.example.org', 'https://checks.example.org:8443', false],
    ['checks.example.org', 'http://checks.example.org', false],
    ['checks.example.org', 'http://checks.example.org:443', false],
    ['checks.example.org', 'https://a.checks.example.org', false],
    ['checks.example.org', 'https://checks.example.org.evil.example', false],
    ['checks.example.org', 'https://checks.example.org.', false],
    ['example.org', 'https://notexample.org', false],
    ['checks.example.org:443', 'https://checks.example.org', true],
    ['checks.example.org:80', 'http://checks.example.org', true],
    ['checks.example.org:80', 'https://checks.example.org', false],
    ['checks:8080', 'http://checks:8080/', true],
    ['checks:8080', 'https://checks:8080/', true],
    ['checks:8080', 'http://checks/', false],
    ['127.0.0.1:8080', 'http://127.1:8080/', true],
    ['127.0.0.1:8080', 'http://0x7f000001:8080/', true],
    ['127.0.0.1:8080', 'http://127.0.0.2:8080/', false],
    ['[::1]:8080', 'http://[0:0:0:0:0:0:0:1]:8080/', true],
    ['[::1]', 'https://[::1]/', true],
    ['münchen.example', 'https://xn--mnchen-3ya.example/', true],
    ['münchen.example', 'https://munchen.example/', false],
  ])('%s: %s is allowed: %s', (listed, url, allowed) => {
    expect(isAllowed(new URL(url), [parseHost('other.example', 'x'), parseHost(listed, 'x')])).toBe(allowed);
  });

  test.each([
    '',
    ' ',
    '*',
    '*.example.org',
    'https://checks.example.org',
    'checks.example.org/gate',
    'checks.example.org:',
    'checks.example.org:0',
    'checks.example.org:65536',
    'checks.example.org:http',
    'ada@checks.example.org',
    'a b',
    'a,b',
    '::1',
    '[::1',
    '[zz]',
    '1.2.3.4.5',
    '%2e',
    'a\\b',
    'a?b',
    'a#b',
    'a<b',
  ])('"%s" is none', (text) => {
    expect(() => parseHost(text, '--gate-webhook-host')).toThrow(ProbeError);
    expect(() => parseHost(text, '--gate-webhook-host')).toThrow(
      `--gate-webhook-host: expected HOST or HOST:PORT, found "${text}"; name each host in full, without https:// and path, for example checks.example.org`,
    );
  });
});
