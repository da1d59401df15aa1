/** One of the two servers that bench/warm-polls.ts loads, as a child process: `tidegate DEVICES POLLING` or `bare ANSWER`. */
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../src/clock.ts';
import type { DeviceRecord } from '../src/core/model/device.ts';
import type { DeviceId } from '../src/core/model/ids.ts';
import { MINUTE, SECOND } from '../src/core/model/time.ts';
import { createMemoryRepository } from '../src/fleet-repo/memory.ts';
import { withChanges } from '../src/fleet-repo/tree.ts';
import { listen } from '../src/http/listen.ts';
import { createService } from '../src/service.ts';
import { openSqliteStore } from '../src/store/sqlite.ts';
import { signDeviceToken } from '../src/trust/device-token.ts';
import { generateDeviceKey, generateKeys } from '../src/trust/keys.ts';

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

const [kind, ...rest] = process.argv.slice(2);
if (kind === 'bare') await serveBare(Buffer.from(rest[0] ?? '', 'base64'));
else await serveTidegate(Number(rest[0]), Number(rest[1]));

/** Answers every request with the status, headers and body of one recorded answer. */
async function serveBare(answer: Buffer): Promise<void> {
  const end = answer.indexOf('\r\n\r\n');
  const [statusLine = '', ...headerLines] = answer.toString('latin1', 0, end).split('\r\n');
  const status = Number(statusLine.split(' ')[1]);
  const body = answer.subarray(end + 4);
  const headers = headerLines
    .map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()])
    .filter(([name]) => !/^(connection|keep-alive|transfer-encoding)$/i.test(name ?? ''));
  const server = createServer((_request, response) => {
    response.writeHead(status, headers.flat());
    response.end(body);
  });
  server.listen(0, '127.0.0.1', () => {
    answerQuestions({ port: (server.address() as AddressInfo).port, polls: [] }, () => {
      server.close();
      server.closeAllConnections();
    });
  });
}

async function serveTidegate(count: number, polling: number): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-bench-'));
  const store = await openSqliteStore(join(folder, 'tidegate.db'), { epoch: randomUUID });
  const git = createMemoryRepository();
  const keys = await generateKeys();
  const clock = systemClock;
  const service = createService({
    git,
    store,
    keys,
    clock,
    randomHex: () => randomBytes(16).toString('hex'),
  });

  const now = clock.now();
  const device = generateDeviceKey();
  const ids = Array.from({ length: count }, (_, n) => `device-${String(n + 1).padStart(7, '0')}` as DeviceId);
  await store.updateDevices(ids, (_before, index): DeviceRecord | undefined => {
    const id = ids[index];
    if (id === undefined) return undefined;
    const version = Math.floor(now / SECOND);
    return { id, tags: { product: 'app' }, publicKey: device.publicKey, serial: 1, enrolledAt: now, version };
  });
  const changes = new Map<string, { mode: string; oid: string }>();
  for (const [path, text] of Object.entries(FILES)) {
    changes.set(path, { mode: '100644', oid: await git.writeBlob(new TextEncoder().encode(text)) });
  }
  const tree = await withChanges(git, undefined, changes);
  const commit = await git.writeCommit({ tree, parents: [], message: 'Bench\n', at: now });
  await git.moveBranch({ branch: 'main', from: undefined, to: commit });
  while ((await service.reconciler.pass()).again);

  const polls: { path: string; token: string }[] = [];
  for (const id of ids.slice(0, polling)) {
    const lifetimeMs = 10 * MINUTE;
    const token = await signDeviceToken({ id, fleet: 'bench', privateKey: device.private, now, lifetimeMs });
    polls.push({ path: `/v1/devices/${id}/manifest`, token });
  }
  const listener = await listen(service.app, { host: '127.0.0.1', port: 0 });
  answerQuestions({ port: Number(new URL(listener.url).port), polls }, async () => {
    await service.close();
    await listener.close();
    await store.close();
    await rm(folder, { recursive: true });
  });
}

function answerQuestions(ready: unknown, stop: () => void | Promise<void>): void {
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
