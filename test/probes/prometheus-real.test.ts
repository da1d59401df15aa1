/** Prometheus itself, as Debian has it: what it says is what `askPrometheus` expects. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { askPrometheus } from '../../src/probes/prometheus.ts';
import { hasPrograms } from '../system.ts';
import { type AnsweringServer, startAnsweringServer, text } from './answering-server.ts';

const never = new AbortController().signal;
const METRICS = `# TYPE thermostat_errors gauge
thermostat_errors{site="berlin"} 2
thermostat_errors{site="oslo"} 0.5
# TYPE thermostat_broken gauge
thermostat_broken NaN
`;

describe.skipIf(!hasPrograms('prometheus'))('Prometheus', () => {
  let folder: string;
  let target: AnsweringServer;
  let prometheus: ChildProcess;
  let host: string;
  const said: string[] = [];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tidegate-prometheus-'));
    target = await startAnsweringServer(text(METRICS, 200, { 'Content-Type': 'text/plain' }));
    host = `127.0.0.1:${await freePort()}`;
    // JSON is YAML.
    const config = {
      global: { scrape_interval: '250ms', scrape_timeout: '250ms' },
      scrape_configs: [{ job_name: 'fleet', static_configs: [{ targets: [target.host] }] }],
    };
    await writeFile(join(folder, 'prometheus.yml'), JSON.stringify(config));
    prometheus = spawn(
      'prometheus',
      [
        `--config.file=${join(folder, 'prometheus.yml')}`,
        `--storage.tsdb.path=${join(folder, 'data')}`,
        `--web.listen-address=${host}`,
        // Behind a proxy it is often below a path.
        `--web.external-url=http://${host}/prom`,
        '--log.level=warn',
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    for (const stream of [prometheus.stdout, prometheus.stderr]) {
      stream?.on('data', (chunk: Buffer) => said.push(chunk.toString()));
    }
    const isScraped = async () => {
      if (prometheus.exitCode !== null) return;
      expect(await ask('count(thermostat_errors)'), said.join('')).toEqual({ kind: 'value', value: 2 });
    };
    await vi.waitFor(isScraped, { timeout: 60_000, interval: 100 });
    expect(prometheus.exitCode, said.join('')).toBeNull();
  });

  afterAll(async () => {
    await stop();
    await target.close();
    await rm(folder, { recursive: true, force: true });
  });

  const ask = (query: string, path = '/prom') =>
    askPrometheus(query, never, { server: { baseUrl: `http://${host}${path}` }, fetch });

  async function stop(): Promise<void> {
    if (prometheus.exitCode !== null || prometheus.signalCode !== null) return;
    const ended = once(prometheus, 'exit');
    prometheus.kill();
    await ended;
  }

  test.each([
    ['what was scraped', 'thermostat_errors{site="berlin"}', 2],
    ['what is worked out', 'sum(thermostat_errors) / 10', 0.25],
    ['a scalar', 'scalar(thermostat_errors{site="oslo"})', 0.5],
    ['a large number', '2 ^ 1000', 2 ** 1000],
    ['nothing, where that means 0', 'thermostat_crashes or vector(0)', 0],
  ])('is asked for %s', async (_, query, value) => {
    expect(await ask(query)).toEqual({ kind: 'value', value });
  });

  test.each([
    ['nothing', 'thermostat_crashes', /^the query found nothing where one number is expected: /],
    ['several samples', 'thermostat_errors', /^the query found 2 samples where one is expected; /],
    ['samples over time', 'thermostat_errors[1m]', /^the query found samples over time /],
    ['a text', '"hot"', /^the query found a text /],
    ['no number', 'thermostat_broken', /^the query gave "NaN", which is no finite number; /],
    ['a number without end', '1 / 0', /^the query gave "\+Inf", which is no finite number; /],
    ['one without end below 0', 'vector(-1) / 0', /^the query gave "-Inf", which is no finite number; /],
    [
      'a query that cannot be read',
      'sum(thermostat_errors',
      /^Prometheus at HOST cannot answer the query: invalid parameter "query": .*unclosed left parenthesis; correct it$/,
    ],
    ['an empty query', '', /^Prometheus at HOST cannot answer the query: .*; correct it$/],
    [
      'a query that cannot be worked out',
      'thermostat_errors * on() thermostat_errors',
      /^Prometheus at HOST cannot answer the query: found duplicate series .*; correct it$/,
    ],
  ])('says of %s what is wrong', async (_, query, because) => {
    const answer = await ask(query);
    expect(answer.kind).toBe('trouble');
    if (answer.kind === 'trouble') expect(answer.because.replaceAll(host, 'HOST')).toMatch(because);
  });

  test('is not there below another path', async () => {
    expect(await ask('1', '')).toEqual({
      kind: 'trouble',
      because: `Prometheus at ${host} answered 404; give --prometheus-url the address that has /api/v1/query below it`,
    });
  });

  // The last one: it is stopped.
  test('that was stopped cannot be asked', async () => {
    await stop();
    expect(await ask('1')).toEqual({
      kind: 'trouble',
      because: `Prometheus at ${host} cannot be asked: connect ECONNREFUSED ${host}; see that it runs and that --prometheus-url names it`,
    });
  });
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('a server without a port');
  return address.port;
}
