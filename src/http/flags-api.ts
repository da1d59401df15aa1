/**
 * A device's feature flags: `GET /v1/devices/:id/flags`. Only flags that the device does not have yet cost a signature.
 * Which values a device gets is `evaluateFlags`'s to say.
 */
import { Hono } from 'hono';
import type { Clock } from '../clock.ts';
import { subjectOf } from '../core/assign/subject.ts';
import { evaluateFlags } from '../core/flags/evaluate.ts';
import { createFlagsSigner } from '../trust/flags.ts';
import type { Keys } from '../trust/keys.ts';
import { type Authenticate, boundToName } from './caller.ts';
import { matchesEtag } from './etag.ts';
import { methodNotAllowed } from './problem.ts';

export function flagsApi(options: {
  readonly fleet: () => { readonly name: string };
  readonly keys: Pick<Keys, 'assignment'>;
  readonly clock: Pick<Clock, 'now'>;
  readonly authenticate: Authenticate;
}): Hono {
  const { fleet, keys, clock, authenticate } = options;
  const signer = boundToName(fleet, (issuer) => createFlagsSigner(keys.assignment, { issuer }));
  const app = new Hono();

  app.get('/v1/devices/:id/flags', async (c) => {
    const { authorization, 'if-none-match': ifNoneMatch } = c.req.header();
    const caller = await authenticate(authorization, c.req.param('id'));
    if (caller instanceof Response) return caller;
    const { program, flagsVersion: version } = caller.published;
    const subject = subjectOf(program, caller.device);
    const evaluated = [...evaluateFlags(program.flags, subject)];
    const values = Object.fromEntries(evaluated.map(([name, { value }]) => [name, value]));
    const flags = signer().document({ device: subject.id, values, version, now: clock.now() });

    const headers = { ETag: flags.etag, 'Cache-Control': 'private, no-cache' };
    if (matchesEtag(ifNoneMatch, flags.etag)) {
      return new Response(null, { status: 304, headers });
    }
    return new Response(flags.body, {
      headers: {
        ...headers,
        'Content-Type': 'application/json',
        'Tidegate-Signature': signer().sign(flags),
      },
    });
  });
  app.all('/v1/devices/:id/flags', (c) => methodNotAllowed(c.req.raw, 'GET, HEAD'));
  return app;
}
