/** What stock clients make of the repository that a real server publishes. */
import { describe, expect, onTestFinished, test } from 'vitest';
import type { RolloutName } from '../../../src/core/model/ids.ts';
import { DAY, HOUR } from '../../../src/core/model/time.ts';
import { listen } from '../../../src/http/listen.ts';
import { identities } from '../../../src/simulate/simulation.ts';
import { manifestBytes, manifestTarget } from '../../../src/trust/tuf/content.ts';
import { FLEET, kiosk, rollout } from '../../simulation/fleet-files.ts';
import { createRepositoryFleet } from '../../simulation/repository-fleet.ts';
import { CLIENTS, stockClient } from './stock-client.ts';

async function servedFleet() {
  const fleet = await createRepositoryFleet();
  await fleet.commit('First release', { 'fleet/fleet.yaml': FLEET, ...kiosk('1.0.0'), ...rollout('1.0.0') });
  await fleet.enrol(...identities(1, () => ({ product: 'kiosk' })));
  await fleet.settle();
  const server = await listen(fleet.service().app, { host: '127.0.0.1', port: 0 });
  onTestFinished(() => server.close());
  const root = new Uint8Array(await (await fetch(`${server.url}/tuf/metadata/1.root.json`)).arrayBuffer());
  return { fleet, url: server.url, root };
}

describe.each(CLIENTS)('%s', (_, Updater) => {
  test('bootstraps, and downloads the manifest of the attempt under way', async () => {
    const { fleet, url, root } = await servedFleet();
    const client = await stockClient(Updater, { url, root });
    const [attempt] =
      fleet
        .service()
        .reconciler.state()
        .outcomes.get('kiosk' as RolloutName) ?? [];
    if (attempt === undefined) throw new Error('there must be an attempt');
    const path = manifestTarget(attempt.manifest, attempt.revision);
    expect(await client.target(path, fleet.clock.now())).toEqual(
      Buffer.from(manifestBytes(attempt.manifest)),
    );
    expect(await client.target('manifests/kiosk/none.json', fleet.clock.now())).toBeUndefined();
  });

  test('follows a release and its revert under rising versions, and a timestamp that is renewed', async () => {
    const { fleet, url, root } = await servedFleet();
    const client = await stockClient(Updater, { url, root });
    const versions: number[] = [];
    const look = async () => {
      await client.refresh(fleet.clock.now());
      versions.push((await client.metadata('timestamp')).signed.version);
    };
    await look();
    await fleet.advance(4 * HOUR);
    await look();
    await fleet.commit('Second release', { ...kiosk('1.1.0'), ...rollout('1.1.0') });
    await fleet.advance(HOUR);
    await look();
    await fleet.commit('Back', rollout('1.0.0'));
    await fleet.advance(4 * HOUR);
    await look();
    expect(versions).toEqual([...new Set(versions)].sort((a, b) => a - b));
    fleet.clock.advance(40 * DAY);
    await fleet.settle();
    await look();
  });
});
