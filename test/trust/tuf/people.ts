/** People with keys of their own, who hold ceremonies over a served fleet's repository with the program's own commands. */
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import type { ArtifactFolder } from '../../../src/store/artifact-folder.ts';
import { openKeys } from '../../../src/trust/keys.ts';
import { run } from '../../cli/fixture.ts';
import { type ServedFleet, servedFleet } from './served-fleet.ts';

export interface People {
  readonly served: ServedFleet;
  /** `tidegate trust` with these words, at the fleet's time; it must succeed. Resolves to what it prints. */
  trust(...args: readonly string[]): Promise<string>;
  /** `tidegate validate`: the lines that name a problem. */
  problems(...args: readonly string[]): Promise<readonly string[]>;
  /** A new key: its public file. */
  newKey(name: string): Promise<string>;
  /** Each of them signs what waits for their key. */
  sign(...names: readonly string[]): Promise<void>;
  /** Commits what the working folder has, pushes it, and lets the server see it. */
  merge(message: string): Promise<void>;
  /** Everything that people have to sign for the first time, signed and merged. */
  handOver(): Promise<void>;
  /** A file of `trust/`, and what is put in its place. */
  change(path: string, change: (text: string) => string | null): Promise<void>;
  privateKey(name: string): string;
}

export const ROOT_HOLDERS = ['ada', 'ben', 'cyd', 'dee', 'eve'];
export const PRODUCT_HOLDERS = ['ada', 'ben', 'cyd'];

/** A server with development trust, and the names above with keys: 3 of 5 for root, 2 of 3 for products. */
export async function peopleOf(options: { readonly artifacts?: ArtifactFolder } = {}): Promise<People> {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-people-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const keys = await openKeys(join(folder, 'server'));
  const served = await servedFleet({ ...options, keys });
  const { fleet } = served;
  const repo = fleet.folder;
  const privateKey = (name: string) =>
    name === 'server' ? join(folder, 'server', 'root.pem') : join(folder, `${name}.pem`);

  const people: People = {
    served,
    privateKey,
    async trust(...args) {
      const { exit, out, err } = await run(['trust', ...args, '--repo', repo], {
        now: fleet.clock.now(),
        env: { TIDEGATE_SERVER: served.server },
      });
      expect({ exit, args, err: exit === 0 ? '' : err }).toEqual({ exit: 0, args, err: '' });
      return out;
    },
    async problems(...args) {
      const { out } = await run(['validate', repo, ...args], { now: fleet.clock.now() });
      return out.split('\n').filter((line) => line.includes(': error:'));
    },
    async newKey(name) {
      const { privateKey: key } = generateKeyPairSync('ed25519');
      await writeFile(privateKey(name), key.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
      const file = join(folder, `${name}.pub`);
      await writeFile(file, createPublicKey(key).export({ type: 'spki', format: 'pem' }));
      return file;
    },
    async sign(...names) {
      for (const name of names) await people.trust('sign', '--key', privateKey(name));
    },
    async merge(message) {
      await fleet.commit(message, {});
      fleet.clock.advance(60_000);
      await fleet.settle();
    },
    async handOver() {
      const files = new Map<string, string>();
      for (const name of ROOT_HOLDERS) files.set(name, await people.newKey(name));
      const of = (names: readonly string[]) => names.map((name) => files.get(name) ?? '');
      await people.trust('init', '--root', ...of(ROOT_HOLDERS), '--products', ...of(PRODUCT_HOLDERS));
      await people.sign('ada', 'ben', 'cyd', 'server');
      expect(await people.problems()).toEqual([]);
      await people.merge('Trust of our own');
      // Keys of people's are no longer needed on the server.
      for (const name of ['root', 'targets', 'artifacts']) await rm(join(folder, 'server', `${name}.pem`));
      expect((await readdir(join(folder, 'server'))).sort()).toEqual([
        '1.root.json',
        'assignment.pem',
        'commits.pem',
        'enrolment.pem',
        'manifests.pem',
        'snapshot.pem',
        'timestamp.pem',
      ]);
    },
    async change(path, change) {
      const file = join(repo, 'trust', path);
      const text = change(await readFile(file, 'utf8'));
      if (text === null) await rm(file);
      else await writeFile(file, text);
    },
  };
  return people;
}
