import { expect, test } from 'vitest';
import { isThisMachine } from '../src/this-machine.ts';

test.each([
  ['localhost', true],
  ['127.0.0.1', true],
  ['127.5.0.255', true],
  ['::1', true],
  ['[::1]', true],
  ['127.example.org', false],
  ['127.0.0.1.example.org', false],
  ['localhost.example.org', false],
  ['0.0.0.0', false],
  ['10.0.0.1', false],
  ['', false],
])('%j is this machine: %s', (host, expected) => {
  expect(isThisMachine(host)).toBe(expected);
});
