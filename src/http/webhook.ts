/**
 * `POST /webhooks/git`: a forge says that somebody pushed, so the repository is looked at now instead of at its next
 * time. A delivery is believed for what it proves (that its sender has the secret) and never for what it says: its body
 * runs through the hash that it is signed with and is dropped. What changed is the repository's to say. So a delivery that is
 * repeated by whoever overheard it costs a look at the repository and nothing else.
 *
 * Understood are the forms of
 * - GitHub: https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
 * - Gitea, Forgejo, Gogs: https://forgejo.org/docs/latest/user/webhooks/
 * - Bitbucket: https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/
 * - GitLab: https://docs.gitlab.com/user/project/integrations/webhooks/, by its secret token or by its signing token,
 *   which is https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 */
import { createHmac } from 'node:crypto';
import { Hono } from 'hono';
import type { Clock } from '../clock.ts';
import { type Instant, MINUTE, SECOND } from '../core/model/time.ts';
import { SIGNING_TOKEN, signingKeyOf } from '../trust/standard-webhooks.ts';
import { problem } from './problem.ts';
import { isSameSecret } from './secret.ts';

export interface WebhookOptions {
  /** One that {@link judgeWebhookSecret} has nothing to say about. */
  readonly secret: string;
  readonly clock: Pick<Clock, 'now'>;
  /** Called once per proven delivery, however close they come: whoever looks takes them together. */
  readonly onPush: () => void;
}

/** What GitHub sends at most, and the others much less. It is read once and not kept. */
const BODY_BYTES_MAX = 25 * 1024 * 1024;
/** Standard Webhooks, "Webhook Timestamp": older deliveries may have been overheard. */
const AGE_MAX_MS = 5 * MINUTE;
const SECRET_LENGTH_MIN = 16;

export function webhook({ secret, clock, onPush }: WebhookOptions): Hono {
  const app = new Hono();
  app.post('/webhooks/git', async (c) => {
    const { headers, body } = c.req.raw;
    if (Number(headers.get('content-length') ?? 0) > BODY_BYTES_MAX) return tooLarge();
    const proofs = proofsOf(headers, secret, clock.now());
    // Without any there is nothing to read the body for. With several, each has to hold.
    if (proofs.length === 0) return refused();
    const read = await readThrough(body, (chunk) => {
      for (const proof of proofs) proof.see(chunk);
    });
    if (read !== 'whole') return read === 'too-large' ? tooLarge() : brokenOff();
    if (!proofs.every((proof) => proof.holds())) return refused();
    if (isPing(headers)) return new Response(null, { status: 204, headers: NO_STORE });
    onPush();
    return new Response(null, { status: 202, headers: NO_STORE });
  });
  return app;
}

/** What is wrong with a secret, in a sentence with the next step; undefined where it will do. */
export function judgeWebhookSecret(secret: string): string | undefined {
  const next = 'make one with openssl rand -hex 32, or take the signing token that GitLab shows';
  if (secret.length < SECRET_LENGTH_MIN) {
    return `expected at least ${SECRET_LENGTH_MIN} characters, found ${secret.length}; ${next}`;
  }
  if (secret.trim() !== secret)
    return 'it begins or ends with white space, which no header can carry; take it away';
  if (secret.startsWith(SIGNING_TOKEN) && signingKeyOf(secret) === undefined) {
    return `expected 24 to 64 bytes in base64 after ${SIGNING_TOKEN}, found something else; ${next}`;
  }
  return undefined;
}

// Proofs

/** Something in a delivery that only the secret can have made. */
interface Proof {
  /** Takes in the next part of the body. */
  see(chunk: Uint8Array): void;
  /** Asked once, after the last part. */
  holds(): boolean;
}

/** Headers that carry the body's HMAC-SHA256 in hexadecimal, and what stands before it. */
const BODY_SIGNATURES = [
  { header: 'X-Hub-Signature-256', prefix: 'sha256=' },
  { header: 'X-Hub-Signature', prefix: 'sha256=' },
  { header: 'X-Forgejo-Signature', prefix: '' },
  { header: 'X-Gitea-Signature', prefix: '' },
  { header: 'X-Gogs-Signature', prefix: '' },
] as const;

function proofsOf(headers: Headers, secret: string, now: Instant): readonly Proof[] {
  const proofs: Proof[] = [];
  for (const { header, prefix } of BODY_SIGNATURES) {
    const claimed = headers.get(header);
    // All but Bitbucket put SHA-1 there, for receivers older than this one, beside a header that is better.
    if (claimed === null || (header === 'X-Hub-Signature' && claimed.startsWith('sha1='))) continue;
    proofs.push(signature([claimed], { prefix, key: secret, encoding: 'hex' }));
  }
  const signatures = headers.get('webhook-signature');
  if (signatures !== null) proofs.push(timedSignature(signatures, { headers, secret, now }));
  const token = headers.get('X-Gitlab-Token');
  if (token !== null) proofs.push({ see() {}, holds: () => isSameSecret(token, secret) });
  return proofs;
}

/** One of the texts is the signature of what is seen. They are compared as texts: each signature has one spelling. */
function signature(
  claimed: readonly string[],
  by: { prefix: string; key: string | Uint8Array; encoding: 'hex' | 'base64'; before?: string },
): Proof {
  const hmac = createHmac('sha256', by.key).update(by.before ?? '');
  return {
    see: (chunk) => void hmac.update(chunk),
    holds() {
      const expected = by.prefix + hmac.digest(by.encoding);
      return claimed.some((each) => isSameSecret(each, expected));
    },
  };
}

/** Standard Webhooks, "Signature scheme": id and time are signed with the body, and several keys may have signed. */
function timedSignature(
  signatures: string,
  { headers, secret, now }: { headers: Headers; secret: string; now: Instant },
): Proof {
  const key = signingKeyOf(secret);
  const id = headers.get('webhook-id') ?? '';
  const timestamp = headers.get('webhook-timestamp') ?? '';
  const isTimely =
    /^[0-9]{1,12}$/.test(timestamp) && Math.abs(now - Number(timestamp) * SECOND) <= AGE_MAX_MS;
  if (key === undefined || !isTimely) return { see() {}, holds: () => false };
  const before = `${id}.${timestamp}.`;
  return signature(signatures.split(' '), { prefix: 'v1,', key, encoding: 'base64', before });
}

// The body

/** Lets `see` have the body part by part. The declared length is not relied on. */
async function readThrough(
  body: Request['body'],
  see: (chunk: Uint8Array) => void,
): Promise<'whole' | 'too-large' | 'broken-off'> {
  let sizeBytes = 0;
  try {
    for await (const chunk of body ?? []) {
      sizeBytes += chunk.length;
      if (sizeBytes > BODY_BYTES_MAX) return 'too-large'; // Leaving the loop cancels the stream.
      see(chunk);
    }
    return 'whole';
  } catch {
    // The client hung up or sent no HTTP: no fault of ours.
    return 'broken-off';
  }
}

/**
 * Whether the delivery only tries the connection. Whatever else is sent counts as a push: a look too many costs a listing
 * of branches, one too few would leave somebody waiting.
 */
function isPing(headers: Headers): boolean {
  return headers.get('X-GitHub-Event') === 'ping' || headers.get('X-Event-Key') === 'diagnostics:ping';
}

// Answers

const NO_STORE = { 'Cache-Control': 'no-store' };

/** One answer for whatever is missing, wrong or too old: it says nothing of how near somebody came. */
function refused(): Response {
  return problem('webhook-refused', {
    detail:
      'expected a delivery that is signed with the secret, in X-Hub-Signature-256, X-Gitea-Signature, ' +
      'webhook-signature or as X-Gitlab-Token',
    next:
      'give the webhook the secret that the server was started with; where the delivery carries its time, ' +
      'both clocks have to agree within five minutes',
  });
}

function tooLarge(): Response {
  const detail = `expected at most ${BODY_BYTES_MAX} bytes`;
  return problem('body-too-large', { detail, next: 'let the webhook send push events only' });
}

function brokenOff(): Response {
  const detail = 'expected a whole body, found one that broke off';
  return problem('invalid-body', { detail, next: 'send it again' });
}
