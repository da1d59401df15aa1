/**
 * Who asks: a device, known by the token that it signed itself, and for nothing but its own documents. Every path of a
 * device's own begins here, so that revoked and unknown devices are told the same everywhere.
 */
import type { Clock } from '../clock.ts';
import type { DeviceRecord } from '../core/model/device.ts';
import type { DeviceId } from '../core/model/ids.ts';
import type { Instant } from '../core/model/time.ts';
import type { PublishedProgram } from '../store/store.ts';
import { createDeviceTokenVerifier, type DeviceTokenRefusal } from '../trust/device-token.ts';
import { bearerOf } from './bearer.ts';
import type { KeyOfDevice } from './device-memory.ts';
import { problem, RETRY_LATER } from './problem.ts';

export interface Caller<Device> {
  readonly device: Device;
  readonly published: PublishedProgram;
  /** When its token will not hold any more. */
  readonly tokenUntil: Instant;
}

/** The device that asks for the documents of `id`, with this Authorization header; or the problem with it. */
export type Authenticate<Device = DeviceRecord> = (
  authorization: string | undefined,
  id: string,
) => Promise<Caller<Device> | Response>;

/** Device tokens whose signature is remembered, at less than 1 KB each. */
const TOKEN_CACHE_SIZE = 100_000;

/**
 * Authenticates callers as what `deviceOf` knows of them, which must be what is so now. However many are made of one, they
 * remember the same tokens.
 */
export function createAuthenticator(options: {
  readonly fleet: () => { readonly name: string };
  readonly clock: Pick<Clock, 'now'>;
  /** The program in force; undefined before the first one. */
  readonly program: () => PublishedProgram | undefined;
}): <Device extends KeyOfDevice>(
  deviceOf: (id: DeviceId) => Promise<Device | undefined>,
) => Authenticate<Device> {
  const { fleet, clock, program } = options;
  const tokens = boundToName(fleet, (name) =>
    createDeviceTokenVerifier({ fleet: name, clock, cacheSize: TOKEN_CACHE_SIZE }),
  );
  return (deviceOf) => async (authorization, id) => {
    // Before the first program neither revocations nor the fleet's name are known, and a token that is fine would be
    // refused for good.
    const published = program();
    if (published === undefined) return noProgram();
    const token = bearerOf(authorization);
    if (token === undefined) {
      return problem('token-missing', {
        detail: 'expected "Authorization: Bearer <device token>"',
        next: "sign a token with the device's key",
      });
    }
    const result = await tokens().verify(token, deviceOf);
    if (result.kind === 'refused') {
      if (result.code === 'unknown-device') return unknownDevice(result.message);
      return problem(`token-${result.code}`, { detail: result.message, next: TOKEN_NEXT[result.code] });
    }
    const { device, until: tokenUntil } = result;
    if (device.id !== id) {
      return problem('other-device', {
        detail: `the token is device "${device.id}"'s`,
        next: `ask for /v1/devices/${encodeURIComponent(device.id)}`,
      });
    }
    return isRevoked(published, device.id) ? revoked(device.id) : { device, published, tokenUntil };
  };
}

/**
 * What is bound to the fleet's name, made anew when the name changes: it is read from git, and tokens and signatures
 * for the old one no longer hold.
 */
export function boundToName<Bound>(
  fleet: () => { readonly name: string },
  make: (name: string) => Bound,
): () => Bound {
  let current: { readonly name: string; readonly bound: Bound } | undefined;
  return () => {
    const { name } = fleet();
    if (current?.name !== name) current = { name, bound: make(name) };
    return current.bound;
  };
}

const TOKEN_NEXT: Readonly<Record<Exclude<DeviceTokenRefusal, 'unknown-device'>, string>> = {
  malformed: 'sign a JWT with alg Ed25519 and typ tidegate-device+jwt',
  'bad-signature': 'sign with the key that the device enrolled with, or enrol the new key',
  expired: "sign a new token; if that does not help, set the device's clock by the Date header",
  'not-yet-valid': "set the device's clock by the Date header and sign a new token",
  'too-long-lived': 'sign a token with an earlier exp',
  'wrong-audience': "put this fleet's name into aud",
};

export function isRevoked({ program: { devices } }: PublishedProgram, id: DeviceId): boolean {
  // An id may be the name of something that every object inherits.
  return Object.hasOwn(devices, id) && devices[id]?.revoked === true;
}

export function revoked(id: DeviceId): Response {
  const detail = `device "${id}" is revoked in the fleet's repository`;
  return problem('revoked', { detail, next: 'an operator can take the revocation back with a commit' });
}

export function noProgram(): Response {
  return problem('no-program', {
    detail: 'the fleet repository has not been read yet',
    next: 'try again later',
    headers: RETRY_LATER,
  });
}

export function unknownDevice(detail: string): Response {
  const next = 'present the credential to POST /v1/devices, or enrol with a token';
  return problem('unknown-device', { detail, next });
}
