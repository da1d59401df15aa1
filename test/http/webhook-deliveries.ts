/** Push events as the forges send them: their headers, and bodies shortened to what shows their shape. */
import { createHmac } from 'node:crypto';
import { type Instant, SECOND } from '../../src/core/model/time.ts';

export const SECRET = '8f0c1f5b2e5d4b0a9a3f6f0d7c1e2b34';
/** As GitLab makes them: 32 bytes. */
export const SIGNING_TOKEN = `whsec_${Buffer.from('tidegate signs with thirty-two b').toString('base64')}`;

export interface Delivery {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer<ArrayBuffer>;
  /** What the server has to be started with. */
  readonly secret: string;
  /** The headers that prove it. */
  readonly proofs: readonly string[];
  /** False for a token that is only sent along. */
  readonly signsBody: boolean;
}

const before = '28e1879d029cb852e4844d9c718537df08844e03';
const after = 'bffeb74224043ba2feb48d137756c8a9331c449a';

function hmac(algorithm: 'sha1' | 'sha256', body: Uint8Array): string {
  return createHmac(algorithm, SECRET).update(body).digest('hex');
}

function signed(
  payload: object,
  headersOf: (body: Buffer) => Readonly<Record<string, string>>,
  proofs: readonly string[],
): Delivery {
  const body = Buffer.from(JSON.stringify(payload));
  const headers = { 'Content-Type': 'application/json', ...headersOf(body) };
  return { headers, body, secret: SECRET, proofs, signsBody: true };
}

const GITEA_PUSH = {
  ref: 'refs/heads/main',
  before,
  after,
  compare_url: `http://localhost:3000/acme/fleet/compare/${before}...${after}`,
  commits: [{ id: after, message: 'Webhooks Yay!', added: [], removed: [], modified: ['fleet/fleet.yaml'] }],
  repository: { id: 140, full_name: 'acme/fleet', default_branch: 'main', private: true },
  pusher: { id: 1, login: 'ada', email: 'ada@example.org' },
  sender: { id: 1, login: 'ada' },
};

const GITLAB_PUSH = {
  object_kind: 'push',
  event_name: 'push',
  before,
  after,
  ref: 'refs/heads/main',
  checkout_sha: after,
  user_username: 'ada',
  project_id: 15,
  project: { id: 15, name: 'fleet', path_with_namespace: 'acme/fleet', default_branch: 'main' },
  commits: [{ id: after, title: 'Release 2.6.0', modified: ['fleet/rollouts/kiosk.yaml'] }],
  total_commits_count: 1,
};

const GITLAB_HEADERS = {
  'User-Agent': 'GitLab/18.11.0',
  'X-Gitlab-Event': 'Push Hook',
  'X-Gitlab-Instance': 'https://gitlab.example.org',
  'X-Gitlab-Webhook-UUID': '13792a34-cac6-4fda-95a8-c58e00a3954e',
  'X-Gitlab-Event-UUID': 'f7b0d7a4-4f5e-4a57-a5e0-0c2f5a5c9d6e',
  'Idempotency-Key': 'f5e5f430-f57b-4e6e-9fac-d9128cd7232f',
};

type Sender =
  | 'GitHub'
  | 'Gitea'
  | 'Forgejo'
  | 'Bitbucket Cloud'
  | 'Bitbucket Data Center'
  | 'GitLab, secret token'
  | 'GitLab, signing token';

/** `at` is when it is sent. */
export const DELIVERIES: Readonly<Record<Sender, (at: Instant) => Delivery>> = {
  GitHub: () =>
    signed(
      {
        ref: 'refs/heads/main',
        before,
        after,
        repository: { id: 1296269, name: 'fleet', full_name: 'acme/fleet', default_branch: 'main' },
        pusher: { name: 'ada', email: 'ada@example.org' },
        sender: { login: 'ada', id: 1, type: 'User' },
        created: false,
        deleted: false,
        forced: false,
        head_commit: { id: after, message: 'Release 2.6.0', modified: ['fleet/rollouts/kiosk.yaml'] },
      },
      (body) => ({
        'User-Agent': 'GitHub-Hookshot/044aadd',
        'X-GitHub-Delivery': '72d3162e-cc78-11e3-81ab-4c9367dc0958',
        'X-GitHub-Event': 'push',
        'X-GitHub-Hook-ID': '292430182',
        'X-Hub-Signature': `sha1=${hmac('sha1', body)}`,
        'X-Hub-Signature-256': `sha256=${hmac('sha256', body)}`,
      }),
      ['X-Hub-Signature-256'],
    ),
  Gitea: () =>
    signed(GITEA_PUSH, giteaHeaders, ['X-Hub-Signature-256', 'X-Gitea-Signature', 'X-Gogs-Signature']),
  Forgejo: () =>
    signed(
      GITEA_PUSH,
      (body) => ({
        ...giteaHeaders(body),
        'X-Forgejo-Event': 'push',
        'X-Forgejo-Delivery': 'f6266f16-1bf3-46a5-9ea4-602e06ead473',
        'X-Forgejo-Signature': hmac('sha256', body),
      }),
      ['X-Forgejo-Signature', 'X-Hub-Signature-256'],
    ),
  'Bitbucket Cloud': () =>
    signed(
      {
        push: {
          changes: [{ old: { target: { hash: before } }, new: { name: 'main', target: { hash: after } } }],
        },
        repository: { full_name: 'acme/fleet', uuid: '{673a6070-3421-46c9-9d48-90745f7bfe8e}' },
        actor: { nickname: 'ada' },
      },
      (body) => ({
        'User-Agent': 'Bitbucket-Webhooks/2.0',
        'X-Event-Key': 'repo:push',
        'X-Hook-UUID': '59cc4dfb-09e0-4f7f-8d5a-2d9e0d1b7ee2',
        'X-Hub-Signature': `sha256=${hmac('sha256', body)}`,
      }),
      ['X-Hub-Signature'],
    ),
  'Bitbucket Data Center': () =>
    signed(
      {
        eventKey: 'repo:refs_changed',
        changes: [
          { ref: { id: 'refs/heads/main', type: 'BRANCH' }, fromHash: before, toHash: after, type: 'UPDATE' },
        ],
      },
      (body) => ({
        'X-Event-Key': 'repo:refs_changed',
        'X-Request-Id': '1f2a3a07-6f57-4b0f-a5f1-b7a5e45c7b3f',
        'X-Hub-Signature': `sha256=${hmac('sha256', body)}`,
      }),
      ['X-Hub-Signature'],
    ),
  'GitLab, secret token': () => ({
    ...signed(GITLAB_PUSH, () => ({ ...GITLAB_HEADERS, 'X-Gitlab-Token': SECRET }), ['X-Gitlab-Token']),
    signsBody: false,
  }),
  'GitLab, signing token': (at) => {
    const id = GITLAB_HEADERS['Idempotency-Key'];
    const timestamp = String(Math.floor(at / SECOND));
    const sign = (body: Buffer) => {
      const key = Buffer.from(SIGNING_TOKEN.slice('whsec_'.length), 'base64');
      return createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest('base64');
    };
    const headersOf = (body: Buffer) => ({
      ...GITLAB_HEADERS,
      'webhook-id': id,
      'webhook-timestamp': timestamp,
      'webhook-signature': `v1,${sign(body)}`,
    });
    const proofs = ['webhook-signature', 'webhook-id', 'webhook-timestamp'];
    return { ...signed(GITLAB_PUSH, headersOf, proofs), secret: SIGNING_TOKEN };
  },
};

function giteaHeaders(body: Buffer): Readonly<Record<string, string>> {
  return {
    'X-GitHub-Delivery': 'f6266f16-1bf3-46a5-9ea4-602e06ead473',
    'X-GitHub-Event': 'push',
    'X-Gogs-Event': 'push',
    'X-Gogs-Signature': hmac('sha256', body),
    'X-Gitea-Event': 'push',
    'X-Gitea-Signature': hmac('sha256', body),
    'X-Hub-Signature': `sha1=${hmac('sha1', body)}`,
    'X-Hub-Signature-256': `sha256=${hmac('sha256', body)}`,
  };
}
