/**
 * What TUF clients make of the repository that a real server publishes, with somebody in between: stock ones, and ours, which
 * must take and refuse the same.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { describe, expect, onTestFinished, test } from 'vitest';
import { DAY, HOUR, type Instant } from '../../../src/core/model/time.ts';
import { openArtifactFolder } from '../../../src/store/artifact-folder.ts';
import { artifactTarget, manifestBytes, manifestTarget } from '../../../src/trust/tuf/content.ts';
import { rollout } from '../../simulation/fleet-files.ts';
import { CLIENTS, type TestedClient } from './clients.ts';
import { type Attack, artifactOf, type ServedFleet, servedFleet } from './served-fleet.ts';

const manifestOf = ({ manifest, revision }: ReturnType<ServedFleet['attempt']>) => ({
  path: manifestTarget(manifest, revision),
  content: Buffer.from(manifestBytes(manifest)),
});

describe.each(CLIENTS)('%s', (_, makeClient) => {
  test('S2.1 bootstraps from 1.root.json and downloads the manifest of the attempt under way', async () => {
    const served = await servedFleet();
    const client = await makeClient(served);
    const { path, content } = manifestOf(served.attempt());
    expect(await client.target(path, served.fleet.clock.now())).toEqual(content);
    expect(await client.target('manifests/kiosk/none.json', served.fleet.clock.now())).toBeUndefined();
    expect(await client.target('manifests/other/1.0.0.json', served.fleet.clock.now())).toBeUndefined();
  });

  test('downloads an artifact that the server keeps, and refuses one with another byte', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tidegate-artifacts-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const artifacts = openArtifactFolder(folder);
    const { content, sha256 } = artifactOf('1.0.0');
    await artifacts.add(Readable.from([content]));
    const served = await servedFleet({ artifacts });
    const client = await makeClient(served);
    const path = artifactTarget('kiosk', { name: 'app.swu', sha256 });
    expect(await client.target(path, served.fleet.clock.now())).toEqual(content);
    served.attack = ({ path: asked, body }) =>
      asked.startsWith('targets/artifacts/')
        ? { body: Buffer.from(body.toString().replace('kiosk', 'kiosc')) }
        : undefined;
    await expect((await makeClient(served)).target(path, served.fleet.clock.now())).rejects.toThrow();
  });

  test('follows a release and its revert under rising versions, and what is renewed by time alone', async () => {
    const served = await servedFleet();
    const { fleet } = served;
    const client = await makeClient(served);
    const versions: number[] = [];
    const look = async () => {
      const { path, content } = manifestOf(served.attempt());
      expect(await client.target(path, fleet.clock.now())).toEqual(content);
      versions.push((await client.metadata('timestamp')).signed.version);
    };
    await look();
    await fleet.advance(4 * HOUR);
    await look();
    const first = manifestOf(served.attempt());
    await served.release('1.1.0');
    await look();
    expect(manifestOf(served.attempt()).path).not.toBe(first.path);
    await fleet.commit('Back', rollout('1.0.0'));
    fleet.clock.advance(HOUR);
    await fleet.settle();
    expect(await client.target(first.path, fleet.clock.now())).toEqual(first.content);
    await look();
    for (let n = 0; n < 3; n += 1) {
      fleet.clock.advance(20 * DAY);
      await fleet.settle();
      await look();
    }
    expect(versions).toEqual([...new Set(versions)].sort((a, b) => a - b));
  });

  describe('refuses', () => {
    const flipped = (body: Buffer): Buffer => {
      const copy = Buffer.from(body);
      // A digit of the last signature or of content: still JSON, or a text.
      const at = copy.length - 12;
      copy[at] = copy[at] === 0x30 ? 0x31 : 0x30;
      return copy;
    };
    const changed = (body: Buffer, change: (signed: Record<string, unknown>) => void): Buffer => {
      const envelope = JSON.parse(body.toString());
      change(envelope.signed);
      return Buffer.from(JSON.stringify(envelope));
    };
    const onto = (pattern: RegExp, body: (answer: Parameters<Attack>[0]) => Buffer): Attack => {
      return (answer) =>
        pattern.test(answer.path) && answer.status === 200 ? { body: body(answer) } : undefined;
    };
    const FILES = [
      ['timestamp', /timestamp\.json$/],
      ['snapshot', /\d\.snapshot\.json$/],
      ['targets', /metadata\/\d+\.targets\.json$/],
      ['a delegated role', /manifests-kiosk\.json$/],
      ['a target', /^targets\/manifests\//],
    ] as const;
    const METADATA = FILES.slice(0, 4);

    const attacks: readonly (readonly [string, Attack])[] = [
      ...FILES.map(
        ([what, of]) => [`${what} with another byte`, onto(of, ({ body }) => flipped(body))] as const,
      ),
      ...FILES.map(
        ([what, of]) =>
          [`${what} cut short`, onto(of, ({ body }) => body.subarray(0, body.length / 2))] as const,
      ),
      ...FILES.map(
        ([what, of]) =>
          [
            `${what} that is not there`,
            (({ path }) => (of.test(path) ? { status: 404 } : undefined)) as Attack,
          ] as const,
      ),
      ...FILES.map(
        ([what, of]) =>
          [
            `${what} without an end`,
            (({ path }) => (of.test(path) ? { endless: true } : undefined)) as Attack,
          ] as const,
      ),
      ...METADATA.map(
        ([what, of]) =>
          [
            `${what} without signatures`,
            onto(of, ({ body }) =>
              Buffer.from(JSON.stringify({ ...JSON.parse(body.toString()), signatures: [] })),
            ),
          ] as const,
      ),
      ...METADATA.map(
        ([what, of]) =>
          [
            `${what} whose content was changed`,
            onto(of, ({ body }) => changed(body, (signed) => (signed['expires'] = '2036-01-01T00:00:00Z'))),
          ] as const,
      ),
    ];

    test('what is tampered with, cut short, endless, unsigned or withheld, and keeps nothing of it', async () => {
      const served = await servedFleet();
      const { path } = manifestOf(served.attempt());
      for (const [what, attack] of attacks) {
        const client = await makeClient(served);
        served.attack = attack;
        const now = served.fleet.clock.now();
        await expect(client.target(path, now), what).rejects.toThrow();
        served.attack = undefined;
        expect(await client.target(path, now), what).toBeDefined();
      }
    });

    test('metadata that has expired, which is what a server that was frozen looks like', async () => {
      const served = await servedFleet();
      const client = await makeClient(served);
      const now = served.fleet.clock.now();
      await client.refresh(now + 3 * DAY - HOUR);
      await expect(client.refresh(now + 3 * DAY)).rejects.toThrow(/expired/);
    });

    async function afterRelease(makeOne: typeof makeClient): Promise<{
      served: ServedFleet;
      client: TestedClient;
      now: Instant;
    }> {
      const served = await servedFleet();
      const client = await makeOne(served);
      await client.refresh(served.fleet.clock.now());
      served.fleet.clock.advance(HOUR);
      await served.release('1.1.0');
      return { served, client, now: served.fleet.clock.now() };
    }

    test('an older timestamp, replayed', async () => {
      const { served, client, now } = await afterRelease(makeClient);
      await client.refresh(now);
      const { version } = (await client.metadata('timestamp')).signed;
      served.attack = onto(/timestamp\.json$/, ({ before, body }) => before[0] ?? body);
      await client.refresh(now).catch(() => undefined);
      expect((await client.metadata('timestamp')).signed.version).toBe(version);
      await expect(client.refresh(now)).rejects.toThrow(/version/i);
    });

    test('versions that were never published together', async () => {
      const { served, client, now } = await afterRelease(makeClient);
      const old = /\d\.(snapshot|targets|manifests-kiosk)\.json$/;
      const kept = new Map<string, Buffer>();
      served.attack = ({ path, status, body }) => {
        const [, role] = old.exec(path) ?? [];
        if (role === undefined || status !== 200) return undefined;
        const first = kept.get(role);
        if (first !== undefined) return { body: first };
        kept.set(role, body);
        return undefined;
      };
      const other = await makeClient(served);
      await other.refresh(now);
      served.fleet.clock.advance(HOUR);
      await served.release('1.2.0');
      await expect(client.refresh(served.fleet.clock.now())).rejects.toThrow();
      await expect(other.refresh(served.fleet.clock.now())).rejects.toThrow();
    });
  });
});
