/** The headers that every answer has, whichever way it takes to the socket. */
import type { Instant } from '../core/model/time.ts';
import { SECOND } from '../core/model/time.ts';

/** A page that needs more than nothing says so itself. */
export const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
};

/** What a client may call its request: short enough for a log, and nothing that could end a line of it. */
const REQUEST_ID = /^[A-Za-z0-9._=-]{1,128}$/;

/** The client's own id for its request, where it has a usable one. */
export function requestIdOf(given: string | undefined, fresh: () => string): string {
  return given !== undefined && REQUEST_ID.test(given) ? given : fresh();
}

/**
 * Ids that no other request has, in this process or another. They need not be hard to guess: nothing can be asked with
 * one, so one draw of randomness does for all of them.
 */
export function createRequestIds(randomHex: () => string): () => string {
  const process = randomHex();
  let count = 0;
  return () => {
    count += 1;
    return `${process}-${count}`;
  };
}

let printed = { second: Number.NaN, date: '' };

/** RFC 9110 §5.6.7, in whole seconds: printed once a second, not once per answer. */
export function httpDate(now: Instant): string {
  const second = Math.floor(now / SECOND);
  if (second !== printed.second) printed = { second, date: new Date(now).toUTCString() };
  return printed.date;
}
