import { describe, expect, test } from 'vitest';
import { type AskSettings, createAsk, readAskConfig } from '../../src/probes/ask.ts';
import { ProbeError } from '../../src/probes/errors.ts';
import { startAnswering } from './answering-server.ts';

const never = new AbortController().signal;
const KEY = Buffer.from('tidegate signs with thirty-two b');
const SECRET = `whsec_${KEY.toString('base64')}`;
const options = { fetch, clock: { now: () => 0 }, randomHex: () => '00' };

function refusalOf(settings: AskSettings, env: Record<string, string> = {}): string {
  try {
    readAskConfig(settings, env);
  } catch (error) {
    if (error instanceof ProbeError) return error.message;
    throw error;
  }
  throw new Error('expected a refusal, found none');
}

describe('settings', () => {
  test('may be none', () => {
    expect(readAskConfig({}, {})).toEqual({ webhooks: { hosts: [] } });
    expect(readAskConfig({}, { TIDEGATE_GATE_WEBHOOK_HOSTS: '' })).toEqual({ webhooks: { hosts: [] } });
  });

  test('are read from the environment', () => {
    const env = {
      TIDEGATE_PROMETHEUS_URL: 'https://prometheus.example.org/prom//',
      TIDEGATE_PROMETHEUS_TOKEN: 'secret',
      TIDEGATE_GATE_WEBHOOK_HOSTS: 'checks.example.org, checks:8080,',
      TIDEGATE_GATE_WEBHOOK_SECRET: SECRET,
    };
    expect(readAskConfig({}, env)).toEqual({
      prometheus: { baseUrl: 'https://prometheus.example.org/prom', token: 'secret' },
      webhooks: { hosts: [{ hostname: 'checks.example.org' }, { hostname: 'checks', port: 8080 }], key: KEY },
    });
  });

  test('that are options go before', () => {
    const env = { TIDEGATE_PROMETHEUS_URL: 'no URL', TIDEGATE_GATE_WEBHOOK_HOSTS: 'no host' };
    const settings = {
      prometheusUrl: 'http://prometheus:9090',
      gateWebhookHost: ['a.example', 'b.example:1'],
    };
    expect(readAskConfig(settings, env)).toEqual({
      prometheus: { baseUrl: 'http://prometheus:9090' },
      webhooks: { hosts: [{ hostname: 'a.example' }, { hostname: 'b.example', port: 1 }] },
    });
  });

  test.each([
    'https://prometheus.example.org',
    'http://127.0.0.1:9090',
    'http://localhost:9090',
    'http://[::1]:9090',
  ])('send the token to %s', (prometheusUrl) => {
    const env = { TIDEGATE_PROMETHEUS_TOKEN: 'secret' };
    expect(readAskConfig({ prometheusUrl }, env).prometheus?.token).toBe('secret');
  });

  const token = { TIDEGATE_PROMETHEUS_TOKEN: 'hunter2' };
  test.each<[string, AskSettings, Record<string, string>, string]>([
    [
      'no URL',
      { prometheusUrl: 'prometheus:hunter2' },
      {},
      '--prometheus-url: expected a URL such as https://prometheus.example.org, found another; correct it',
    ],
    [
      'an empty URL',
      {},
      { TIDEGATE_PROMETHEUS_URL: '' },
      'TIDEGATE_PROMETHEUS_URL: expected a URL such as https://prometheus.example.org, found another; correct it',
    ],
    [
      'credentials in the URL',
      { prometheusUrl: 'https://ada:hunter2@prometheus.example.org' },
      {},
      '--prometheus-url has credentials in it, which the process list would show; take them away, and set TIDEGATE_PROMETHEUS_TOKEN',
    ],
    [
      'a query in the URL',
      { prometheusUrl: 'https://prometheus.example.org/?token=hunter2' },
      {},
      '--prometheus-url: expected a URL that /api/v1/query can be added to, found one with a query or a fragment; take it away',
    ],
    [
      'a token for nobody',
      {},
      token,
      'TIDEGATE_PROMETHEUS_TOKEN is for nobody: there is no --prometheus-url; give one, or unset the token',
    ],
    [
      'a token that everybody could read',
      { prometheusUrl: 'http://prometheus:9090' },
      token,
      '--prometheus-url: everybody on the way to prometheus:9090 could read TIDEGATE_PROMETHEUS_TOKEN; use https, or unset the token',
    ],
    [
      'a token with a line break',
      { prometheusUrl: 'https://prometheus.example.org' },
      { TIDEGATE_PROMETHEUS_TOKEN: 'hunter2\n' },
      'TIDEGATE_PROMETHEUS_TOKEN holds white space or is empty; set it to the token alone, or unset it',
    ],
    [
      'a host that is a URL',
      { gateWebhookHost: ['https://checks.example.org'] },
      {},
      '--gate-webhook-host: expected HOST or HOST:PORT, found "https://checks.example.org"; name each host in full, without https:// and path, for example checks.example.org',
    ],
    [
      'a secret that is too short',
      {},
      { TIDEGATE_GATE_WEBHOOK_SECRET: 'whsec_aHVudGVyMg==' },
      'TIDEGATE_GATE_WEBHOOK_SECRET: expected whsec_ and 24 to 64 bytes in base64, found something else; make one with echo "whsec_$(openssl rand -base64 32)"',
    ],
  ])('are refused: %s', (_, settings, env, message) => {
    expect(refusalOf(settings, env)).toBe(message);
  });
});

describe('asking', () => {
  test('goes to whom the question is for', async () => {
    const prometheus = await startAnswering({
      status: 'success',
      data: { resultType: 'scalar', result: [1, '5'] },
    });
    const webhook = await startAnswering({ verdict: 'wait', because: 'it is Friday' });
    const env = { TIDEGATE_PROMETHEUS_TOKEN: 'secret', TIDEGATE_GATE_WEBHOOK_SECRET: SECRET };
    const settings = { prometheusUrl: `http://${prometheus.host}`, gateWebhookHost: [webhook.host] };
    const ask = createAsk(readAskConfig(settings, env), options);
    expect(await ask({ kind: 'prometheus', query: '5' }, never)).toEqual({ kind: 'value', value: 5 });
    const url = `http://${webhook.host}/`;
    expect(await ask({ kind: 'webhook', url, about: { rollout: 'x' } }, never)).toEqual({
      kind: 'verdict',
      verdict: 'wait',
      because: 'it is Friday',
    });
    expect(prometheus.requests[0]?.headers['authorization']).toBe('Bearer secret');
    expect(webhook.requests[0]?.headers).not.toHaveProperty('authorization');
    expect(webhook.requests[0]?.headers).toHaveProperty('webhook-signature');
  });

  test('is trouble where the server knows nobody to ask', async () => {
    const ask = createAsk(readAskConfig({}, {}), options);
    expect(await ask({ kind: 'prometheus', query: '5' }, never)).toEqual({
      kind: 'trouble',
      because: 'the server knows no Prometheus to ask; start it with --prometheus-url',
    });
  });
});
