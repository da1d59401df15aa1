/**
 * The server that bench/releases.ts commits to, as a child process: `REPO ENGINE FOLDER`. It tells how far passes have come,
 * and how long its thread was kept from everything else meanwhile.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { realNow, systemClock } from '../src/clock.ts';
import type { DeviceId } from '../src/core/model/ids.ts';
import { type EngineChoice, openFleetGit } from '../src/fleet-repo/open.ts';
import type { Git } from '../src/git/git.ts';
import { listen } from '../src/http/listen.ts';
import { createService } from '../src/service.ts';
import { openSqliteStore } from '../src/store/sqlite.ts';
import { generateKeys } from '../src/trust/keys.ts';
import { generateDeviceKey } from '../src/trust/signing-key.ts';
import type { FromServer, ToServer } from './releases.ts';
import { watchTurns } from './turns.ts';

const [repo = '', engine = 'auto', folder = ''] = process.argv.slice(2);
const tell = (message: FromServer) => void process.send?.(message);

const waited = watchTurns();
const clock = systemClock;
const store = await openSqliteStore(join(folder, 'tidegate.db'), { epoch: randomUUID });
waited();
const openedAt = realNow();
const git = await openFleetGit(repo, {
  folder: join(folder, 'mirror'),
  branch: 'main',
  engine: engine as EngineChoice,
  env: { PATH: process.env['PATH'] },
});
const openMs = realNow() - openedAt;
const openWaited = waited();
const service = createService({
  git: announced(git, () => tell({ kind: 'step', step: 'begun', at: realNow() })),
  store,
  keys: await generateKeys(),
  clock,
  randomHex: () => randomBytes(16).toString('hex'),
  webhookSecret: 'bench-bench-bench-bench',
  onStep: (step) => tell({ kind: 'step', step, at: realNow() }),
  onEvent: (event) => {
    if (event.kind === 'pass') tell({ kind: 'step', step: 'passed', at: realNow() });
    if (event.kind === 'failed') throw new Error(event.message);
  },
});
const key = generateDeviceKey();
await store.updateDevices(['device' as DeviceId], () => ({
  id: 'device' as DeviceId,
  tags: { product: 'app-1', environment: 'prod' },
  publicKey: key.publicKey,
  serial: 1,
  enrolledAt: clock.now(),
  version: 1,
}));

waited();
const beganAt = realNow();
while ((await service.reconciler.pass()).again);
const coldMs = realNow() - beganAt;
const coldWaited = waited();

const stop = new AbortController();
const running = service.reconciler.run(stop.signal);
const listener = await listen(service.app, { host: '127.0.0.1', port: 0 }, service.direct);

process.on('message', async (asked: ToServer) => {
  if (asked === 'figures') {
    tell({ kind: 'figures', waited: waited(), peakMebibytes: process.resourceUsage().maxRSS / 1024 });
    return;
  }
  stop.abort();
  await running;
  await service.close();
  await listener.close();
  await git.close();
  await store.close();
  process.disconnect();
});
// Whoever measures may fail; nothing is left running then.
process.once('disconnect', () => process.exit());
tell({
  kind: 'ready',
  port: Number(new URL(listener.url).port),
  privateKey: key.private.export({ type: 'pkcs8', format: 'pem' }).toString(),
  openMs,
  openWaited,
  coldMs,
  coldWaited,
});

/** A pass begins by looking where `outcomes` is. */
function announced(of: Git, onBegin: () => void): Git {
  return {
    ...of,
    branch(name) {
      if (name === 'outcomes') onBegin();
      return of.branch(name);
    },
  };
}
