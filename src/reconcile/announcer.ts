/** Who is told what was decided, as the reconciler sees it: it says how far the record has come, and notes how far it was told. */
import type { DesiredState, Fleet } from '../core/model/desired.ts';
import type { Outcomes } from '../core/model/outcome.ts';
import type { Instant } from '../core/model/time.ts';
import type { Reminder } from '../core/plan/reminder.ts';
import type { Oid } from '../git/git.ts';

export interface Announcer {
  /**
   * Announces what was recorded after `announced`, and the reminders. Resolves to how far it came: what is to be noted, so
   * that the next pass, or the next process, goes on from there. Never rejects, for no decision may wait for it: what could
   * not be announced is announced by a later pass.
   */
  announce(given: {
    /** The last commit of `outcomes` that was read and believed. */
    readonly tip: Oid | undefined;
    readonly announced: Announced | undefined;
    readonly desired: DesiredState;
    readonly outcomes: Outcomes;
    readonly reminders: readonly Reminder[];
    readonly now: Instant;
  }): Promise<Announced | undefined>;
  /** Receivers that cannot be told anything, each in a sentence with the next step. */
  flaws(fleet: Fleet): readonly string[];
}

/** The last commit of `outcomes` whose decision was announced; null: there was none when this began. */
export type Announced = Oid | null;
