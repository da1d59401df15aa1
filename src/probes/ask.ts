/** Who is asked what gates want to know: by the settings of the server, and by nothing that stands in the repository. */
import type { Answer, Question } from '../core/gates/probe.ts';
import { isHeaderToken } from '../request.ts';
import { isThisMachine } from '../this-machine.ts';
import { signingKeyOf } from '../trust/standard-webhooks.ts';
import { ProbeError } from './errors.ts';
import { parseHost } from './hosts.ts';
import { askPrometheus, type PrometheusServer } from './prometheus.ts';
import { askWebhook, type WebhookAccess, type WebhookOptions } from './webhook.ts';

/** Asks once. Never rejects; ends soon after `signal` aborts. */
export type Ask = (question: Question, signal: AbortSignal) => Promise<Answer>;

export interface AskConfig {
  /** Absent: there is none to ask. */
  readonly prometheus?: PrometheusServer;
  readonly webhooks: WebhookAccess;
}

export function createAsk(config: AskConfig, options: Omit<WebhookOptions, 'access'>): Ask {
  const { prometheus, webhooks } = config;
  return async (question, signal) => {
    switch (question.kind) {
      case 'prometheus':
        if (prometheus === undefined) {
          return {
            kind: 'trouble',
            because: 'the server knows no Prometheus to ask; start it with --prometheus-url',
          };
        }
        return await askPrometheus(question.query, signal, { ...options, server: prometheus });
      case 'webhook':
        return await askWebhook(question, signal, { ...options, access: webhooks });
    }
  };
}

// Settings

export interface AskSettings {
  readonly prometheusUrl?: string;
  readonly gateWebhookHost?: readonly string[];
}

/** Options go before the environment. Throws {@link ProbeError} for settings of no use; no secret stands in its message. */
export function readAskConfig(
  settings: AskSettings,
  env: Readonly<Record<string, string | undefined>>,
): AskConfig {
  const prometheus = readPrometheus(settings, env);
  return { ...(prometheus === undefined ? {} : { prometheus }), webhooks: readWebhooks(settings, env) };
}

function readPrometheus(
  { prometheusUrl }: AskSettings,
  env: Readonly<Record<string, string | undefined>>,
): PrometheusServer | undefined {
  const place = prometheusUrl === undefined ? 'TIDEGATE_PROMETHEUS_URL' : '--prometheus-url';
  const text = prometheusUrl ?? env['TIDEGATE_PROMETHEUS_URL'];
  const token = env['TIDEGATE_PROMETHEUS_TOKEN'];
  if (text === undefined) {
    if (token === undefined) return undefined;
    throw new ProbeError(
      'TIDEGATE_PROMETHEUS_TOKEN is for nobody: there is no --prometheus-url; give one, or unset the token',
    );
  }
  const url = URL.canParse(text) ? new URL(text) : undefined;
  // What was found is not shown: it may hold a password.
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw new ProbeError(
      `${place}: expected a URL such as https://prometheus.example.org, found another; correct it`,
    );
  }
  if (url.username !== '' || url.password !== '') {
    throw new ProbeError(
      `${place} has credentials in it, which the process list would show; take them away, and set TIDEGATE_PROMETHEUS_TOKEN`,
    );
  }
  if (url.search !== '' || url.hash !== '') {
    throw new ProbeError(
      `${place}: expected a URL that /api/v1/query can be added to, found one with a query or a fragment; take it away`,
    );
  }
  const baseUrl = `${url.origin}${url.pathname}`.replace(/\/+$/, '');
  if (token === undefined) return { baseUrl };
  // Anything else makes fetch fail with a message that shows the header.
  if (!isHeaderToken(token)) {
    throw new ProbeError(
      'TIDEGATE_PROMETHEUS_TOKEN holds white space or is empty; set it to the token alone, or unset it',
    );
  }
  if (url.protocol === 'http:' && !isThisMachine(url.hostname)) {
    throw new ProbeError(
      `${place}: everybody on the way to ${url.host} could read TIDEGATE_PROMETHEUS_TOKEN; use https, or unset the token`,
    );
  }
  return { baseUrl, token };
}

function readWebhooks(
  { gateWebhookHost }: AskSettings,
  env: Readonly<Record<string, string | undefined>>,
): WebhookAccess {
  const place = gateWebhookHost === undefined ? 'TIDEGATE_GATE_WEBHOOK_HOSTS' : '--gate-webhook-host';
  const listed = (env['TIDEGATE_GATE_WEBHOOK_HOSTS'] ?? '').split(',').map((each) => each.trim());
  const texts = gateWebhookHost ?? listed.filter((each) => each !== '');
  const hosts = texts.map((text) => parseHost(text, place));
  const secret = env['TIDEGATE_GATE_WEBHOOK_SECRET'];
  if (secret === undefined) return { hosts };
  const key = signingKeyOf(secret);
  if (key === undefined) {
    throw new ProbeError(
      'TIDEGATE_GATE_WEBHOOK_SECRET: expected whsec_ and 24 to 64 bytes in base64, found something else; ' +
        'make one with echo "whsec_$(openssl rand -base64 32)"',
    );
  }
  return { hosts, key };
}
