/** A fleet whose server speaks HTTP, and somebody between it and its clients. */
import { hash } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';
import type { RolloutName } from '../../../src/core/model/ids.ts';
import type { Attempt } from '../../../src/core/model/outcome.ts';
import { listen } from '../../../src/http/listen.ts';
import { identities } from '../../../src/simulate/simulation.ts';
import type { ArtifactFolder } from '../../../src/store/artifact-folder.ts';
import type { Keys } from '../../../src/trust/keys.ts';
import { FLEET, rollout } from '../../simulation/fleet-files.ts';
import { createRepositoryFleet, type RepositoryFleet } from '../../simulation/repository-fleet.ts';

/** What the artifact of `kiosk@<version>` holds. */
export function artifactOf(version: string): { readonly content: Buffer; readonly sha256: string } {
  const content = Buffer.from(`kiosk ${version}\n`.repeat(100));
  return { content, sha256: hash('sha256', content) };
}

/** `kiosk@<version>` with an artifact. */
export function kioskWithArtifact(
  version: string,
  {
    securityEpoch = 3,
    hardwareIds = ['kiosk-b'],
  }: { securityEpoch?: number; hardwareIds?: readonly string[] } = {},
): Record<string, string> {
  const { sha256, content } = artifactOf(version);
  return {
    [`fleet/distribution-sets/kiosk-${version}.yaml`]: `apiVersion: tidegate.dev/v1
kind: DistributionSet
metadata: {name: kiosk@${version}}
spec:
  modules:
    - name: app
      version: ${version}
      type: firmware
      artifacts:
        - name: app.swu
          sha256: ${sha256}
          sizeBytes: ${content.byteLength}
          urls: [https://cdn.example/app-${version}.swu]
          securityEpoch: ${securityEpoch}
          hardwareIds: [${hardwareIds.join(', ')}]
`,
  };
}

/** What somebody in between does to an answer. Undefined: nothing. */
export type Attack = (answer: {
  /** Below `/tuf/`. */
  readonly path: string;
  readonly status: number;
  readonly body: Buffer;
  /** What the server said to this path before, oldest first. */
  readonly before: readonly Buffer[];
}) => { readonly status?: number; readonly body?: Buffer; readonly endless?: boolean } | undefined;

export interface ServedFleet {
  readonly fleet: RepositoryFleet;
  /** Where clients ask. */
  readonly url: string;
  /** Where the server itself is. */
  readonly server: string;
  /** `1.root.json`, as a device is given it when it is made. */
  readonly root: Buffer;
  attack: Attack | undefined;
  /** The latest attempt of the rollout `kiosk`. */
  attempt(): Attempt;
  release(version: string): Promise<void>;
}

export async function servedFleet(
  options: { readonly keys?: Keys; readonly artifacts?: ArtifactFolder } = {},
): Promise<ServedFleet> {
  const fleet = await createRepositoryFleet(options);
  await fleet.commit('First release', {
    'fleet/fleet.yaml': FLEET,
    ...kioskWithArtifact('1.0.0'),
    ...rollout('1.0.0'),
  });
  await fleet.enrol(...identities(1, () => ({ product: 'kiosk' })));
  await fleet.settle();
  const server = await listen(
    { fetch: (request, ...rest) => fleet.service().app.fetch(request, ...rest) },
    { host: '127.0.0.1', port: 0 },
  );
  onTestFinished(() => server.close());
  const between = await startBetween(server.url);
  const response = await fetch(`${server.url}/tuf/metadata/1.root.json`);
  const served: ServedFleet = {
    fleet,
    url: between.url,
    server: server.url,
    root: Buffer.from(await response.arrayBuffer()),
    get attack() {
      return between.attack;
    },
    set attack(attack) {
      between.attack = attack;
    },
    attempt() {
      const latest = fleet
        .service()
        .reconciler.state()
        .outcomes.get('kiosk' as RolloutName)
        ?.at(-1);
      if (latest === undefined) throw new Error('there must be an attempt');
      return latest;
    },
    async release(version) {
      await fleet.commit(`Release ${version}`, { ...kioskWithArtifact(version), ...rollout(version) });
      fleet.clock.advance(1000);
      await fleet.settle();
    },
  };
  return served;
}

async function startBetween(target: string) {
  const said = new Map<string, Buffer[]>();
  const between: { url: string; attack: Attack | undefined } = { url: '', attack: undefined };
  const server = createServer(async (request, response) => {
    const url = request.url ?? '';
    const answer = await fetch(target + url, { redirect: 'manual' });
    const body = Buffer.from(await answer.arrayBuffer());
    const path = decodeURIComponent(url.replace(/^\/tuf\//, ''));
    const before = said.get(path) ?? [];
    const changed = between.attack?.({ path, status: answer.status, body, before }) ?? {};
    if (answer.status === 200 && !before.at(-1)?.equals(body)) said.set(path, [...before, body]);
    const location = answer.headers.get('location');
    response.writeHead(changed.status ?? answer.status, {
      'content-type': 'application/octet-stream',
      ...(location === null ? {} : { location }),
    });
    if (changed.endless !== true) {
      response.end(changed.body ?? body);
      return;
    }
    const chunk = Buffer.alloc(65_536, ' ');
    const more = () => {
      while (!response.destroyed && response.write(chunk));
    };
    response.on('drain', more);
    response.on('error', () => undefined);
    more();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  between.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return between;
}
