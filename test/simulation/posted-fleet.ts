/** A fleet whose support system posts numbers over HTTP, with a token of its own; time goes in steps of ten minutes. */
import { DAY, type DurationMs, formatInstant, type Instant, MINUTE } from '../../src/core/model/time.ts';
import { mintObservationToken } from '../../src/trust/observation-token.ts';
import { type CrashingFleet, startCrashing } from './crashing-fleet.ts';

export interface PostedFleet {
  readonly fleet: CrashingFleet;
  now(): Instant;
  advance(duration: DurationMs): Promise<void>;
  /** The effects. It throws where the server refuses. */
  post(...tickets: readonly Ticket[]): Promise<readonly string[]>;
  /** `[state, cause of a pause, gate that caused it]` of the rollout. */
  standing(): Promise<readonly (string | undefined)[]>;
  /** What the gate says now. */
  reading(): Promise<{ readonly state: string; readonly because: string } | undefined>;
}

export interface Ticket {
  readonly value?: number;
  readonly at?: Instant;
  readonly id?: string;
}

export const TICKETS = {
  gates: '{health: healthy, tickets: {observations: support-tickets, window: 4h, above: 100}}',
  stages: '[{name: canary, size: 20%, soak: 24h}, {name: fleet, size: all, soak: 24h}]',
};

/** Version 2.0.0 has been released just now. */
export async function startPosted(): Promise<PostedFleet> {
  const fleet = await startCrashing({ devices: 20, spec: TICKETS, crashes: () => 0 });
  const { clock, keys, service } = fleet;
  const token = await mintObservationToken(keys, {
    id: 'support',
    metrics: ['support-tickets'],
    units: {},
    fleet: 'test-fleet',
    now: clock.now(),
    expiresAt: clock.now() + 90 * DAY,
  });
  await fleet.release('2.0.0');
  return {
    fleet,
    now: () => clock.now(),
    advance: (duration) => fleet.advance(duration, 10 * MINUTE),
    async post(...tickets) {
      const observations = tickets.map(({ value = 1, at, id }) => ({
        metric: 'support-tickets',
        value,
        ...(at === undefined ? {} : { at: formatInstant(at) }),
        ...(id === undefined ? {} : { id }),
      }));
      const response = await service.app.request('/v1/observations', {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${token}` },
        body: JSON.stringify({ observations }),
      });
      const text = await response.text();
      if (response.status !== 202) throw new Error(text);
      await fleet.settle();
      return (JSON.parse(text) as { readonly effects: readonly string[] }).effects;
    },
    async standing() {
      const { state, cause, attempts } = await fleet.status();
      return [state, cause, attempts.at(-1)?.breach?.gate];
    },
    async reading() {
      return (await fleet.status()).gates.find(({ name }) => name === 'tickets');
    },
  };
}
