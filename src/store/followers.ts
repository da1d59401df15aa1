/**
 * Who follows the changes of a store. An engine tells of every commit here, in order of position; a position that does
 * not follow the last one means that changes were committed elsewhere and can no longer be told.
 */
import type { DeviceChange, Follow } from './store.ts';

export interface Followers {
  readonly follow: Follow;
  /** Tells of the commit at `position`. */
  tell(changes: readonly DeviceChange[], position: number): void;
  /** Nothing can be told of the commits up to `position`. */
  skip(position: number): void;
  /** Of the last commit that was told or skipped. */
  position(): number;
}

/** Followers of a feed that stands at `position`. */
export function createFollowers(position: number): Followers {
  const followers = new Set<{ readonly see: Parameters<Follow>[0]; readonly missed: () => void }>();
  let last = position;

  function skip(to: number): void {
    last = to;
    for (const { missed } of followers) missed();
  }

  return {
    async follow(see, missed = () => undefined) {
      const follower = { see, missed };
      followers.add(follower);
      return {
        async close() {
          followers.delete(follower);
        },
      };
    },

    tell(changes, at) {
      if (at !== last + 1) skip(at - 1);
      last = at;
      for (const { see, missed } of followers) {
        try {
          see(changes, at);
        } catch {
          // The commit stands whatever a follower makes of it. Reading everything again, it stumbles over the same
          // record where somebody waits for the answer.
          missed();
        }
      }
    },

    skip,

    position: () => last,
  };
}
