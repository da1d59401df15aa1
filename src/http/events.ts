/**
 * What happens, as server-sent events: decisions, snapshots, restorations and failures, as the reconciler announces
 * them. Events say that something happened and where to look; what is true now is the operators' API's to say. Nothing
 * here waits for a reader: one that does not keep up is let go, and comes back with its Last-Event-ID.
 *
 * https://html.spec.whatwg.org/multipage/server-sent-events.html
 */
import { Hono } from 'hono';
import type { Clock } from '../clock.ts';
import { formatInstant, SECOND } from '../core/model/time.ts';
import { formatProblem } from '../documents/problem.ts';
import type { ReconcileEvent } from '../reconcile/event.ts';
import { problem } from './problem.ts';

export interface EventHub {
  /** Tells every listener. Never waits and never throws. */
  publish(event: ReconcileEvent): void;
  readonly app: Hono;
  /** Ends every stream, so that a server can close. */
  close(): void;
}

/** Events kept for listeners that come back. */
const KEPT = 256;
export const LISTENERS_MAX = 64;
/** Messages that one listener may leave unread: a whole replay, and as many again. Listeners share their bytes. */
const UNREAD_MAX = 2 * KEPT;
const HEARTBEAT_MS = 15 * SECOND;
const PROBLEMS_SHOWN = 20;

interface Kept {
  readonly number: number;
  readonly bytes: Uint8Array;
}

type Listener = ReadableStreamDefaultController<Uint8Array>;

/** The HTTP server prints what a stream ends with: a person finds a sentence there and no stack. */
function tooSlow(): Error {
  const error = new Error(`a listener of /api/events left ${UNREAD_MAX} messages unread and was cut off`);
  error.stack = error.message;
  return error;
}

export function createEventHub(clock: Clock): EventHub {
  // Numbers start again with the process; its start tells them apart.
  const startedAt = clock.now();
  const kept: Kept[] = [];
  const listeners = new Set<Listener>();
  let number = 0;
  let heart: AbortController | undefined;

  function send(bytes: Uint8Array): void {
    for (const listener of listeners) {
      if ((listener.desiredSize ?? 0) > 0) listener.enqueue(bytes);
      else remove(listener, tooSlow());
    }
  }

  function remove(listener: Listener, error?: Error): void {
    if (!listeners.delete(listener)) return;
    if (error === undefined) listener.close();
    else listener.error(error);
    rest();
  }

  /** With nobody left to hear it, the heart stops. */
  function rest(): void {
    if (listeners.size > 0) return;
    heart?.abort();
    heart = undefined;
  }

  async function beat(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await clock.sleep(HEARTBEAT_MS, signal);
      if (!signal.aborted) send(HEARTBEAT);
    }
  }

  function listen(lastEventId: string | undefined): ReadableStream<Uint8Array> {
    let self: Listener;
    return new ReadableStream<Uint8Array>(
      {
        start(listener) {
          self = listener;
          listeners.add(listener);
          listener.enqueue(WELCOME);
          for (const bytes of missedSince(lastEventId)) listener.enqueue(bytes);
          if (heart !== undefined) return;
          heart = new AbortController();
          void beat(heart.signal);
        },
        cancel() {
          listeners.delete(self);
          rest();
        },
      },
      { highWaterMark: UNREAD_MAX },
    );
  }

  /** What came after the event that the listener had last; a reset where that can no longer be told. */
  function missedSince(lastEventId: string | undefined): readonly Uint8Array[] {
    if (lastEventId === undefined) return [];
    const [start, last] = lastEventId.split('-').map(Number);
    const oldest = kept[0]?.number ?? number + 1;
    const isKnown = start === startedAt && last !== undefined && last >= oldest - 1 && last <= number;
    if (!isKnown) return [RESET, ...kept.map(({ bytes }) => bytes)];
    return kept.filter((event) => event.number > last).map(({ bytes }) => bytes);
  }

  const app = new Hono();
  app.get('/api/events', (c) => {
    const headers = {
      'Content-Type': 'text/event-stream',
      'Cache-Control': 'no-store, no-transform',
      // nginx collects an answer before it passes it on, unless told.
      'X-Accel-Buffering': 'no',
    };
    if (c.req.raw.method === 'HEAD') return new Response(null, { headers });
    if (listeners.size >= LISTENERS_MAX) {
      const detail = `${listeners.size} listeners are connected`;
      const next = 'try again later, or poll GET /api/status';
      return problem('too-many-listeners', { detail, next, headers: { 'Retry-After': '15' } });
    }
    return new Response(listen(c.req.header('Last-Event-ID')), { headers });
  });

  return {
    app,
    publish(event) {
      const { kind, at } = event;
      const data = JSON.stringify({ at: formatInstant(at), ...dataOf(event) });
      // Passes follow each other all the time: keeping them would push out what matters.
      if (kind === 'pass') return send(encode(`event: ${kind}\ndata: ${data}\n\n`));
      number += 1;
      const bytes = encode(`id: ${startedAt}-${number}\nevent: ${kind}\ndata: ${data}\n\n`);
      kept.push({ number, bytes });
      if (kept.length > KEPT) kept.shift();
      send(bytes);
    },
    close() {
      for (const listener of listeners) remove(listener);
    },
  };
}

/** What listeners are told of it: no manifests, and nothing that names a device. */
function dataOf(event: ReconcileEvent): Readonly<Record<string, unknown>> {
  switch (event.kind) {
    case 'snapshot': {
      const { desired, head } = event.wanted;
      return { snapshot: desired?.snapshot, commit: desired?.commit, head };
    }
    case 'problems': {
      const { head, problems } = event.wanted;
      const errors = problems.filter(({ severity }) => severity === 'error').length;
      return {
        head,
        errors,
        warnings: problems.length - errors,
        problems: problems.slice(0, PROBLEMS_SHOWN).map(formatProblem),
      };
    }
    case 'decision': {
      const { kind, effect, attempt, summary, because, stage, verdict } = event.decision;
      const { rollout, attempt: number, revision, state, cause } = attempt;
      return {
        decision: kind,
        effect,
        rollout,
        attempt: number,
        revision,
        state,
        cause,
        stage,
        verdict,
        summary,
        because,
        commit: event.commit,
      };
    }
    case 'restored': {
      const { attempt, commit, subject } = event;
      return { rollout: attempt.rollout, attempt: attempt.attempt, commit, subject };
    }
    case 'diverged': {
      const { attempt, reason, pullRequest } = event;
      return { rollout: attempt.rollout, attempt: attempt.attempt, reason, pullRequest };
    }
    case 'held':
      return event.reason === undefined ? {} : { reason: event.reason };
    case 'failed':
      return { message: event.message };
    case 'pass':
      return {};
  }
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

const WELCOME = encode('retry: 3000\n\n');
const HEARTBEAT = encode(': still here\n\n');
/** The listener has missed events for good: what it knows is to be read again. */
const RESET = encode('event: reset\ndata: {}\n\n');
