/** Notices, from the record to their receivers: what the reconciler announces, and the delivery beside it. */
import type { Clock } from '../clock.ts';
import type { Receiver } from '../core/model/receiver.ts';
import type { Forge } from '../forge/forge.ts';
import type { Git } from '../git/git.ts';
import type { Announcer } from '../reconcile/announcer.ts';
import type { Outbox } from '../store/outbox.ts';
import type { SigningKeys } from '../trust/standard-webhooks.ts';
import { createAnnouncer } from './announcer.ts';
import { createDelivery } from './delivery.ts';
import { createPullRequestReceiver, FORGE_RECEIVER } from './pull-request-receiver.ts';
import {
  type BuiltInReceiver,
  type Hooks,
  type ResolvedReceiver,
  receiverKey,
  resolveReceiver,
} from './receivers.ts';

export interface NotificationPorts {
  readonly fetch: typeof fetch;
  /** What `urlFrom` may name. */
  readonly hooks: Hooks;
  readonly random: () => number;
  readonly onTrouble: (message: string) => void;
  /** Absent: what is sent is not signed. */
  readonly signingKeys?: SigningKeys;
}

export interface Notifications {
  readonly announcer: Announcer;
  /** Delivers until `signal` aborts. Never rejects. */
  run(signal: AbortSignal): Promise<void>;
}

export function createNotifications(
  ports: NotificationPorts & {
    readonly git: Git;
    readonly outbox: Outbox;
    readonly clock: Pick<Clock, 'now' | 'sleep'>;
    /** Where pull requests are told what became of them; absent: they are not. */
    readonly forge?: Forge;
    /** The branch into which they are merged. */
    readonly branch: string;
  },
): Notifications {
  const { hooks, forge, git, branch } = ports;
  const builtIn: ReadonlyMap<string, BuiltInReceiver> =
    forge === undefined
      ? new Map()
      : new Map([[FORGE_RECEIVER, createPullRequestReceiver({ forge, git, base: branch })]]);
  let known: readonly Receiver[] | undefined;
  let receivers: ReadonlyMap<string, ResolvedReceiver | BuiltInReceiver> | undefined;
  const delivery = createDelivery({ ...ports, receivers: () => receivers });
  const announcer = createAnnouncer({
    ...ports,
    hasForge: forge !== undefined,
    onReceivers(named, { hasPut }) {
      if (named === known && !hasPut) return;
      known = named;
      const resolved = named.map((each) => [receiverKey(each), resolveReceiver(each, hooks)] as const);
      receivers = new Map<string, ResolvedReceiver | BuiltInReceiver>([...builtIn, ...resolved]);
      delivery.wake();
    },
  });
  return { announcer, run: delivery.run };
}
