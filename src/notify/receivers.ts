/** Receivers, by the key under which their messages wait, and where each is to be found. */

import type { Receiver } from '../core/model/receiver.ts';
import { HOOK_PREFIX } from '../core/model/receiver.ts';
import type { DurationMs, Instant } from '../core/model/time.ts';
import type { Message } from '../store/outbox.ts';
import type { Posted } from './post.ts';

/** The variables that a commit may name, and their values: URLs that are secrets. */
export type Hooks = ReadonlyMap<string, string>;

export interface ResolvedReceiver {
  readonly format: Receiver['format'];
  /** For messages: never more of a URL than its host. */
  readonly name: string;
  readonly target: { readonly url: string } | { readonly trouble: string };
}

/** One that no Fleet document names: it knows itself how to tell what a message is about. */
export interface BuiltInReceiver {
  readonly name: string;
  /** For one try. */
  readonly timeoutMs: DurationMs;
  tell(
    message: Pick<Message, 'id' | 'body'>,
    given: { readonly signal: AbortSignal; readonly now: Instant },
  ): Promise<Posted>;
}

/** Of an environment only what commits may name: whatever else is in there is out of their reach. */
export function hooksIn(env: Readonly<Record<string, string | undefined>>): Hooks {
  return new Map(
    Object.entries(env).flatMap(([name, value]) =>
      name.startsWith(HOOK_PREFIX) && value !== undefined ? [[name, value] as const] : [],
    ),
  );
}

/** Says everything about where a message goes and in which form; no secret is in it. */
export function receiverKey({ format, address }: Pick<Receiver, 'format' | 'address'>): string {
  return `${format} ${'url' in address ? address.url : `env:${address.env}`}`;
}

export function resolveReceiver({ format, address }: Receiver, hooks: Hooks): ResolvedReceiver {
  if ('url' in address) return { format, name: hostOf(address.url) ?? 'a receiver', target: address };
  const { env } = address;
  const url = hooks.get(env)?.trim();
  if (url === undefined || url === '') {
    const trouble = `${env} is not set in the environment of the server; set it to the receiver's URL, and start the server again`;
    return { format, name: env, target: { trouble } };
  }
  const host = hostOf(url);
  if (host === undefined) {
    const trouble = `${env} holds no http or https URL without credentials; correct it, and start the server again`;
    return { format, name: env, target: { trouble } };
  }
  return { format, name: `${host} (${env})`, target: { url } };
}

/** Undefined for what cannot be asked: fetch refuses credentials in URLs with a message that shows them. */
function hostOf(text: string): string | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isAskable = url !== undefined && /^https?:$/.test(url.protocol) && url.username + url.password === '';
  return isAskable ? url.host : undefined;
}
