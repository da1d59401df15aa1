/**
 * A server to be loaded, as a child process: `tidegate DEVICES`, which enrols that many; `same ANSWER`, a bare node:http
 * server that answers every request with the same recorded bytes; `drop ANSWER`, which parses the body as JSON first;
 * `sign ANSWER`, which verifies a signature and makes one first.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../src/clock.ts';
import { createMemoryRepository } from '../src/git/memory.ts';
import { withChanges } from '../src/git/tree.ts';
import { listen } from '../src/http/listen.ts';
import { createService } from '../src/service.ts';
import { openSqliteStore } from '../src/store/sqlite.ts';
import { generateKeys } from '../src/trust/keys.ts';
import { generateDeviceKey } from '../src/trust/signing-key.ts';
import { enrolMany } from './fleet.ts';
import type { Ready } from './measure.ts';
import { createSignatures } from './signatures.ts';

const FILES: Readonly<Record<string, string>> = {
  'fleet/fleet.yaml': 'apiVersion: tidegate.dev/v1\nkind: Fleet\nmetadata: {name: bench}\nspec: {}\n',
  'fleet/distribution-sets/app.yaml':
    'apiVersion: tidegate.dev/v1\nkind: DistributionSet\nmetadata: {name: app@1.0.0}\nspec:\n' +
    '  modules: [{name: app, version: 1.0.0, type: container, image: registry.example/app:1.0.0}]\n',
  'fleet/rollouts/app.yaml':
    'apiVersion: tidegate.dev/v1\nkind: Rollout\nmetadata: {name: app}\nspec:\n  owner: bench\n' +
    "  distributionSet: app@1.0.0\n  targetCondition: tags.product = 'app'\n  priority: 1\n" +
    '  gates: {health: healthy}\n  stages: [{name: fleet, size: all}]\n',
};

const [kind, argument = ''] = process.argv.slice(2);
if (kind === 'tidegate') await serveTidegate(Number(argument));
else serveBare(Buffer.from(argument, 'base64'), kind);

function serveBare(recorded: Buffer, kind: string | undefined): void {
  const end = recorded.indexOf('\r\n\r\n');
  const [statusLine = '', ...headerLines] = recorded.toString('latin1', 0, end).split('\r\n');
  const status = Number(statusLine.split(' ')[1]);
  const body = recorded.toString('latin1', end + 4);
  const headers = headerLines
    .map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()])
    .filter(([name]) => !/^(connection|keep-alive|transfer-encoding)$/i.test(name ?? ''))
    .flat();
  const answer = (response: ServerResponse) => response.writeHead(status, headers).end(body);
  const answerAfterBody = (request: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      JSON.parse(Buffer.concat(chunks).toString());
      answer(response);
    });
  };
  const signatures = createSignatures(body.length);
  const answerAfterSignatures = (_request: IncomingMessage, response: ServerResponse) => {
    signatures.verify();
    signatures.sign();
    answer(response);
  };
  const server = createServer(
    kind === 'drop'
      ? answerAfterBody
      : kind === 'sign'
        ? answerAfterSignatures
        : (_request, response) => void answer(response),
  );
  server.listen(0, '127.0.0.1', () => {
    answerQuestions({ port: (server.address() as AddressInfo).port }, () => {
      server.close();
      server.closeAllConnections();
    });
  });
}

async function serveTidegate(devices: number): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-bench-'));
  const store = await openSqliteStore(join(folder, 'tidegate.db'), { epoch: randomUUID });
  const git = createMemoryRepository();
  const clock = systemClock;
  const service = createService({
    git,
    store,
    keys: await generateKeys(),
    clock,
    randomHex: () => randomBytes(16).toString('hex'),
  });

  const now = clock.now();
  const key = generateDeviceKey();
  await enrolMany(store, { count: devices, publicKey: key.publicKey, now });
  const changes = new Map<string, { mode: string; oid: string }>();
  for (const [path, text] of Object.entries(FILES)) {
    changes.set(path, { mode: '100644', oid: await git.writeBlob(new TextEncoder().encode(text)) });
  }
  const tree = await withChanges(git, undefined, changes);
  const commit = await git.writeCommit({ tree, parents: [], message: 'Bench\n', at: now });
  await git.moveBranch({ branch: 'main', from: undefined, to: commit });
  while ((await service.reconciler.pass()).again);
  // As in production: reports wake the reconciler.
  const stop = new AbortController();
  const running = service.reconciler.run(stop.signal);

  const listener = await listen(service.app, { host: '127.0.0.1', port: 0 }, service.direct);
  const privateKey = key.private.export({ type: 'pkcs8', format: 'pem' }).toString();
  answerQuestions({ port: Number(new URL(listener.url).port), privateKey }, async () => {
    stop.abort();
    await running;
    await service.close();
    await listener.close();
    await store.close();
    await rm(folder, { recursive: true });
  });
}

function answerQuestions(ready: Ready, stop: () => void | Promise<void>): void {
  process.on('message', async (question) => {
    if (question === 'cpu') {
      const { user, system } = process.cpuUsage();
      process.send?.(user + system);
    } else if (question === 'memory') process.send?.(process.resourceUsage().maxRSS / 1024);
    else {
      await stop();
      process.disconnect();
    }
  });
  // Whoever measures may fail; nothing is left running then.
  process.once('disconnect', () => process.exit());
  process.send?.(ready);
}
