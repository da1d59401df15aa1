/**
 * The outbox: messages that are to be delivered at least once, whatever crashes meanwhile. A message waits until it is
 * settled as delivered or given up; then its id alone is kept for a time, so that it is not put in again. Who receives
 * it and how often it is tried is not decided here.
 */
import assert from 'node:assert/strict';
import type { Instant } from '../core/model/time.ts';
import { compareText, isText, textExpected } from './text.ts';

export interface Message {
  /**
   * Stable: what is put in again under an id that is known (waiting, delivered or given up) is ignored. Up to 300
   * characters.
   */
  readonly id: string;
  /** Who gets it; opaque to the store. Up to 2,048 characters. */
  readonly receiver: string;
  /** JSON text, at most 64 KiB. */
  readonly body: string;
  /** It is due from then on. */
  readonly createdAt: Instant;
}

export interface WaitingMessage extends Message {
  /** How often it was tried in vain, by those who came to say so. */
  readonly tries: number;
  /** Since when it is due: its creation, the time set for the next try, or the end of a loan that nobody settled. */
  readonly dueAt: Instant;
  /** Of the last try; up to 1,000 characters of it. */
  readonly lastError?: string;
}

export type Outcome =
  | { readonly kind: 'delivered'; readonly at: Instant }
  | { readonly kind: 'retry'; readonly dueAt: Instant; readonly error: string }
  | { readonly kind: 'givenUp'; readonly at: Instant; readonly error: string };

export interface Outbox {
  /** All of them are on disk when this resolves, or none is. */
  put(messages: readonly Message[]): Promise<void>;
  /**
   * Up to `limit` that are due, oldest first. They are lent until `lentUntil`: nobody else gets them before that (several
   * servers share the store). Who crashes with one has it delivered by somebody else afterwards.
   */
  take(loan: Loan): Promise<readonly WaitingMessage[]>;
  /**
   * What became of it: delivered, to be tried again at `dueAt`, or given up. Does nothing where the message is unknown, or
   * settled already.
   */
  settle(id: string, outcome: Outcome): Promise<void>;
  /** When the next waiting one is due, or its loan ends; undefined where none waits. */
  nextDueAt(): Promise<Instant | undefined>;
  /** Forgets ids that were delivered or given up before. */
  forget(before: Instant): Promise<void>;
}

export interface Loan {
  readonly now: Instant;
  readonly limit: number;
  /** Later than `now`. */
  readonly lentUntil: Instant;
}

const ID_MAX = 300;
const RECEIVER_MAX = 2048;
const BODY_BYTES_MAX = 64 * 1024;
const ERROR_MAX = 1000;

/** Throws where a store could not keep the message. */
export function checkMessage({ id, receiver, body, createdAt }: Message): void {
  assert(isText(id, ID_MAX), textExpected('the id of a message', id, ID_MAX));
  assert(
    isText(receiver, RECEIVER_MAX),
    textExpected(`the receiver of message ${id}`, receiver, RECEIVER_MAX),
  );
  const sizeBytes = Buffer.byteLength(body);
  assert(
    isText(body, BODY_BYTES_MAX) && sizeBytes <= BODY_BYTES_MAX,
    `the body of message ${id}: expected JSON without NUL, of at most ${BODY_BYTES_MAX} bytes, found ${sizeBytes} bytes; mend it where it is made`,
  );
  assert(
    Number.isSafeInteger(createdAt),
    `message ${id}: expected whole milliseconds for when it was created, found ${createdAt}; round it`,
  );
}

/** What is kept of an error: its words may come from anywhere. */
export function keptError(error: string): string {
  return error.slice(0, ERROR_MAX).replaceAll('\0', '').toWellFormed();
}

/** A message as a row of a database has it. */
export interface MessageRow extends Message {
  readonly tries: number;
  readonly dueAt: Instant;
  readonly lastError: string | null;
}

export function messageIn({ lastError, ...message }: MessageRow): WaitingMessage {
  return lastError === null ? message : { ...message, lastError };
}

/** Oldest first, in an order that is the same for everybody. */
export function byAge(a: Message, b: Message): number {
  return a.createdAt - b.createdAt || compareText(a.id, b.id);
}
