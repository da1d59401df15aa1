/** When metadata runs out, and when people should hear of it: long before devices do. */
import type { Instant } from '../../core/model/time.ts';
import { LIFETIMES, type RepositoryState } from './repository.ts';

export interface Expiry {
  readonly role: string;
  readonly expiresAt: Instant;
}

/** All roles, soonest first. */
export function expiriesOf({ roles, expires, root }: RepositoryState): readonly Expiry[] {
  const all = [
    { role: 'root', expiresAt: root.expires },
    { role: 'timestamp', expiresAt: expires },
    ...Object.entries(roles).map(([role, each]) => ({ role, expiresAt: each.expires })),
  ];
  return all.sort((a, b) => a.expiresAt - b.expiresAt || (a.role < b.role ? -1 : 1));
}

/**
 * Roles with less than a third of their life left. What this server signs is renewed at half of it: then something keeps it from
 * signing; the rest is for people to sign.
 */
export function expiring(state: RepositoryState, now: Instant): readonly Expiry[] {
  return expiriesOf(state).filter(({ role, expiresAt }) => expiresAt - now < LIFETIMES[kindOf(role)] / 3);
}

function kindOf(role: string): keyof typeof LIFETIMES {
  const [kind = ''] = role.split('-', 1);
  return Object.hasOwn(LIFETIMES, kind) ? (kind as keyof typeof LIFETIMES) : 'artifacts';
}
