/**
 * How a device says who it is: a JWT that it signs itself, good for ten minutes at most and meant to be reused until
 * then. A verified signature is remembered, so that a poll costs a look-up; times, and whether the device still has
 * that key, are judged on every use. Revocation is the caller's to judge.
 */
import type { KeyObject } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Clock } from '../clock.ts';
import { DEVICE_ID_PATTERN, type DeviceId } from '../core/model/ids.ts';
import { type DurationMs, formatDuration, type Instant, MINUTE, SECOND } from '../core/model/time.ts';
import { readJws, signJws, type UnverifiedJws, verifyJws } from './jws.ts';

export const TOKEN_LIFETIME_MAX_MS: DurationMs = 10 * MINUTE;
/** How far a device's clock may be off. */
const CLOCK_TOLERANCE_MS: DurationMs = MINUTE;

export interface DeviceTokenVerifier {
  /** `deviceOf` is asked on every use, for the key that the device has now. */
  verify<Device extends { readonly publicKey: string }>(
    token: string,
    deviceOf: (id: DeviceId) => Promise<Device | undefined>,
  ): Promise<DeviceTokenResult<Device>>;
}

export type DeviceTokenResult<Device> =
  | {
      readonly kind: 'ok';
      readonly id: DeviceId;
      readonly device: Device;
      /** When it will not hold any more; the device's key and revocations aside. */
      readonly until: Instant;
    }
  | { readonly kind: 'refused'; readonly code: DeviceTokenRefusal; readonly message: string };

export type DeviceTokenRefusal =
  | 'malformed'
  | 'unknown-device'
  | 'bad-signature'
  | 'expired'
  | 'not-yet-valid'
  | 'too-long-lived'
  | 'wrong-audience';

const TYP = 'tidegate-device+jwt';
const TOKEN_LENGTH_MAX = 2048;
/** 9999-12-31T23:59:59Z in seconds: later instants cannot be printed. */
const LAST_SECOND = 253_402_300_799;

/** Instants are written in whole seconds; `lifetimeMs` is at most {@link TOKEN_LIFETIME_MAX_MS}. */
export async function signDeviceToken(token: {
  readonly id: DeviceId;
  readonly fleet: string;
  readonly privateKey: KeyObject;
  readonly now: Instant;
  readonly lifetimeMs: DurationMs;
}): Promise<string> {
  const iat = Math.floor(token.now / SECOND);
  const exp = iat + Math.floor(token.lifetimeMs / SECOND);
  const claims = { iss: token.id, sub: token.id, aud: token.fleet, iat, exp };
  return signJws({ typ: TYP, json: JSON.stringify(claims), key: token.privateKey });
}

/** Remembers up to `cacheSize` verified tokens. */
export function createDeviceTokenVerifier(options: {
  readonly fleet: string;
  readonly clock: Pick<Clock, 'now'>;
  readonly cacheSize: number;
}): DeviceTokenVerifier {
  const { fleet, clock } = options;
  const cache = new LRUCache<string, VerifiedToken>({ max: options.cacheSize });

  return {
    async verify(token, deviceOf) {
      let verified = cache.get(token);
      const read = verified === undefined ? readToken(token) : undefined;
      const id = verified?.id ?? claimedId(read);
      if (id === undefined) return refused('malformed', 'expected a JWT whose "sub" is a device id');
      const device = await deviceOf(id);
      if (device === undefined) return refused('unknown-device', `no device "${id}" is registered`);

      if (verified?.publicKey !== device.publicKey) {
        cache.delete(token);
        const result = verifyToken(read ?? token, { id, fleet, publicKey: device.publicKey });
        if (result.kind === 'refused') return result;
        verified = result.token;
        cache.set(token, verified);
      }
      const untimely = judgeTimes(verified, clock.now());
      if (untimely !== undefined) {
        cache.delete(token);
        return untimely;
      }
      return { kind: 'ok', id, device, until: verified.expiresAt + CLOCK_TOLERANCE_MS };
    },
  };
}

/** What a signature proved, and with which key. */
interface VerifiedToken {
  readonly id: DeviceId;
  readonly publicKey: string;
  readonly issuedAt: Instant;
  readonly expiresAt: Instant;
}

function readToken(token: string): UnverifiedJws | undefined {
  return token.length > TOKEN_LENGTH_MAX ? undefined : readJws(token);
}

/** Whose token it says it is. Nothing is verified yet: this only tells which key to verify it with. */
function claimedId(token: UnverifiedJws | undefined): DeviceId | undefined {
  const sub = token?.claims['sub'];
  return typeof sub === 'string' && DEVICE_ID_PATTERN.test(sub) ? (sub as DeviceId) : undefined;
}

function verifyToken(
  token: string | UnverifiedJws,
  expected: { id: DeviceId; fleet: string; publicKey: string },
): { kind: 'ok'; token: VerifiedToken } | TokenRefused {
  const { id, fleet, publicKey } = expected;
  const result = verifyJws(token, { typ: TYP, publicKey });
  if (result.kind === 'refused') {
    const code = result.code === 'malformed' ? 'malformed' : 'bad-signature';
    return refused(code, `${result.message} (device "${id}")`);
  }
  const { iss, sub, aud, iat, exp } = result.claims;
  if (iss !== id || sub !== id) return refused('malformed', `expected iss and sub to be "${id}"`);
  if (aud !== fleet) {
    return refused('wrong-audience', `the token is for fleet ${JSON.stringify(aud)}, this is "${fleet}"`);
  }
  if (!isSecond(iat) || !isSecond(exp) || exp <= iat) {
    return refused('malformed', 'expected iat and exp in whole seconds, exp after iat');
  }
  return { kind: 'ok', token: { id, publicKey, issuedAt: iat * SECOND, expiresAt: exp * SECOND } };
}

/** Why a token does not hold now, or undefined where it does. */
function judgeTimes({ issuedAt, expiresAt }: VerifiedToken, now: Instant): TokenRefused | undefined {
  const lifetime = expiresAt - issuedAt;
  if (lifetime > TOKEN_LIFETIME_MAX_MS) {
    const most = formatDuration(TOKEN_LIFETIME_MAX_MS);
    return refused('too-long-lived', `a token may last ${most}, this one lasts ${formatDuration(lifetime)}`);
  }
  if (expiresAt + CLOCK_TOLERANCE_MS <= now) {
    const age = formatDuration(now - issuedAt);
    return refused(
      'expired',
      `the token was issued ${age} before the server's time, ${printed(now)}; if it is new, the device's clock is ${age} behind`,
    );
  }
  if (issuedAt - CLOCK_TOLERANCE_MS > now) {
    const ahead = formatDuration(issuedAt - now);
    return refused('not-yet-valid', `the device's clock is ${ahead} ahead of the server's, ${printed(now)}`);
  }
  return undefined;
}

function printed(instant: Instant): string {
  return new Date(instant).toISOString();
}

function isSecond(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0 && Number(value) <= LAST_SECOND;
}

type TokenRefused = { readonly kind: 'refused'; readonly code: DeviceTokenRefusal; readonly message: string };

function refused(code: DeviceTokenRefusal, message: string): TokenRefused {
  return { kind: 'refused', code, message };
}
