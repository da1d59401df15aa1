/** The `trust` commands where something is wrong: each says what, where, and what to do next. */
import { chmod, copyFile, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { DAY } from '../../src/core/model/time.ts';
import { type People, PRODUCT_HOLDERS, peopleOf, ROOT_HOLDERS } from '../trust/tuf/people.ts';
import { fleetFiles, repositoryOf, run, temporaryFolder } from './fixture.ts';

/** `tidegate trust` with these words in the people's repository: how it ends, and its last line. */
async function failing(
  { served }: Pick<People, 'served'>,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<{ exit: number; err: string }> {
  const { exit, err } = await run(['trust', ...args, '--repo', served.fleet.folder], {
    now: served.fleet.clock.now(),
    env: { TIDEGATE_SERVER: served.server, ...env },
  });
  return { exit, err: err.trimEnd() };
}

async function withKeys(people: People, names: readonly string[]): Promise<readonly string[]> {
  return await Promise.all(names.map((name) => people.newKey(name)));
}

test('trust init wants to know whose keys, how many, and each of them once', async () => {
  const people = await peopleOf();
  const [ada = '', ben = ''] = await withKeys(people, ['ada', 'ben']);
  const cases: readonly (readonly [readonly string[], RegExp])[] = [
    [[], /^tidegate: say whose keys sign: --root for root metadata/],
    [['--root', ada], /^tidegate: say whose keys sign/],
    [
      ['--root', ada, '--products', 'ben'],
      /^tidegate: there is no key "ben"; name one of trust\/keys, or a file/,
    ],
    [['--root', ada, ada, '--products', ben], /^tidegate: ada is named twice; a key counts once/],
    [
      ['--root', ada, ben, '--root-threshold', '3', '--products', ben],
      /^tidegate: --root-threshold must be at most 2/,
    ],
    [['--root', ada, '--products', ben, '--products-threshold', '0'], /must be a positive whole number/],
    [
      ['--root', people.privateKey('ada'), '--products', ben],
      /is a private key: whoever can read the repository has it/,
    ],
    [
      ['--root', ada, '--products', ben, '--server', 'http://127.0.0.1:1'],
      /no server answers at http:\/\/127\.0\.0\.1:1/,
    ],
  ];
  for (const [args, message] of cases) {
    const { exit, err } = await failing(people, ['init', ...args]);
    expect(err, args.join(' ')).toMatch(message);
    expect(exit).toBe(2);
  }
  await people.trust('init', '--root', ada, '--products', ben);
  const again = await failing(people, ['init', '--root', ada, '--products', ben]);
  expect(again.err).toMatch(/has trust of people's own already; tidegate trust status shows it/);
});

test('trust init with development keys signs with them, and is loud about it', async () => {
  const people = await peopleOf();
  const keys = join(await temporaryFolder(), 'trial');
  const { exit, err } = await failing(people, ['init', '--development', keys]);
  expect(exit).toBe(0);
  expect(err).toMatch(
    /! .*trial holds keys that were made here for trying things out: whoever reads that folder has the fleet/,
  );
  expect((await stat(join(keys, 'root.pem'))).mode & 0o077).toBe(0);
  await people.sign('server');
  expect(await people.problems()).toEqual([]);
  await people.merge('Trial');
  expect(await people.served.fleet.status()).toMatchObject({ trust: { development: false }, problems: [] });
});

describe('keys', () => {
  test('a new key is encrypted, is never replaced, and wants a passphrase worth the name', async () => {
    const file = join(await temporaryFolder(), 'ada.pem');
    const short = await run(['trust', 'key', file], { env: { TIDEGATE_KEYS_PASSPHRASE: 'short' } });
    expect(short.err).toMatch(
      /^tidegate: TIDEGATE_KEYS_PASSPHRASE must be a passphrase of at least 8 characters/,
    );
    const env = { TIDEGATE_KEYS_PASSPHRASE: 'correct horse' };
    const made = await run(['trust', 'key', file], { env });
    expect(made.exit).toBe(0);
    expect(made.out).toMatch(/^[0-9a-f]{64}\n$/);
    expect(await readFile(file, 'utf8')).toMatch(/^-----BEGIN ENCRYPTED PRIVATE KEY-----/);
    expect(await readFile(file.replace('.pem', '.pub'), 'utf8')).toMatch(/^-----BEGIN PUBLIC KEY-----/);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    const again = await run(['trust', 'key', file], { env });
    expect(again.err).toMatch(/ada\.pem is there already and stays as it is; choose another name/);
  });

  test('a key that cannot be used to sign says why: missing, of others, encrypted, wrong passphrase, nobody’s', async () => {
    const people = await peopleOf();
    await people.handOver();
    const folder = await temporaryFolder();
    const file = join(folder, 'zoe.pem');
    await run(['trust', 'key', file], { env: { TIDEGATE_KEYS_PASSPHRASE: 'correct horse' } });
    const sign = (path: string, env = {}) => failing(people, ['sign', '--key', path], env);
    expect((await sign(join(folder, 'no.pem'))).err).toMatch(/no\.pem: there is no such file/);
    expect((await sign(file)).err).toMatch(
      /zoe\.pem: is encrypted; say its passphrase in TIDEGATE_KEYS_PASSPHRASE/,
    );
    const wrong = await sign(file, { TIDEGATE_KEYS_PASSPHRASE: 'wrong horse' });
    expect(wrong.err).toMatch(/zoe\.pem: cannot be decrypted/);
    expect(wrong.err).not.toContain('wrong horse');
    const right = await sign(file, { TIDEGATE_KEYS_PASSPHRASE: 'correct horse' });
    expect(right).toEqual({
      exit: 0,
      err: expect.stringContaining('nothing waits for a signature of that key'),
    });
    await chmod(file, 0o644);
    expect((await sign(file)).err).toMatch(/zoe\.pem: only its owner may read it, found mode 0644/);
  });

  test('a private key, a key under two names and a key of servers for people are found in the repository', async () => {
    const people = await peopleOf();
    await people.handOver();
    const folder = join(people.served.fleet.folder, 'trust/keys');
    await copyFile(people.privateKey('eve'), join(folder, 'secret.pub'));
    await copyFile(join(folder, 'ben.pub'), join(folder, 'twin.pub'));
    expect(await people.problems()).toEqual([
      expect.stringMatching(
        /trust\/keys\/secret\.pub:1:1: error: is a private key: whoever can read the repository has it/,
      ),
      expect.stringMatching(
        /trust\/keys\/twin\.pub:1:1: error: is the key of ben, too: two names would be two signers/,
      ),
    ]);
    const refused = await failing(people, ['sign', '--key', people.privateKey('ada')]);
    expect(refused).toEqual({
      exit: 1,
      err: expect.stringMatching(/^tidegate: trust\/keys\/secret\.pub is a private key/),
    });
    await rm(join(folder, 'secret.pub'));
    await rm(join(folder, 'twin.pub'));

    await people.trust('rotate', 'snapshot', '--add', 'eve');
    expect((await people.problems()).join('\n')).toMatch(
      /3\.root\.json.* for root and for snapshot, which a server holds/,
    );
  });
});

describe('rotations', () => {
  test('what cannot be rotated is said, with what there is', async () => {
    const people = await peopleOf();
    const before = await failing(people, ['rotate', 'root']);
    expect(before.err).toMatch(/trust\/ has no root and targets metadata yet: run tidegate trust init/);
    await people.handOver();
    for (const [args, message] of [
      [
        ['rotate', 'artifacts-nothing'],
        /there is no role artifacts-nothing; there are root, targets, snapshot/,
      ],
      [
        ['rotate', 'root', '--remove', 'zoe'],
        /there is no key "zoe"; name one of trust\/keys, or 8 digits or more/,
      ],
      [
        ['rotate', 'targets', '--remove', 'eve'],
        /targets has no key [0-9a-f]{12}: tidegate trust status shows its keys/,
      ],
      [
        ['rotate', 'root', '--threshold', '6'],
        /root would have 5 keys, and must have a threshold from 1 to as many; found 6/,
      ],
      [['rotate', 'root', '--remove', ...ROOT_HOLDERS], /root would have 0 keys/],
      [['rotate', 'assignment', '--remove', 'none'], /there is no assignment key none; there are /],
    ] as const) {
      const { exit, err } = await failing(people, args);
      expect(err, args.join(' ')).toMatch(message);
      expect(exit).toBeGreaterThan(0);
    }
    expect(await people.problems()).toEqual([]);
  });

  test('a proposal that nobody has signed gives way to another; one that somebody has signed is not changed under them', async () => {
    const people = await peopleOf();
    await people.handOver();
    await people.served.fleet.native('switch', '--quiet', '--create', 'proposal');
    await people.trust('rotate', 'targets', '--threshold', '3');
    await people.sign('ada');
    await people.served.fleet.native('commit', '--quiet', '--all', '--message', 'Three of three');
    await people.change('targets.json', (text) => text.replace(/"expires": "(\d{4})/, '"expires": "2020'));
    expect((await people.problems('--base', 'main')).join('\n')).toMatch(
      /trust\/targets\.json.*says something else under version \d+, which somebody has signed: signatures alone may be added/,
    );
    await people.served.fleet.native('checkout', '--quiet', '--', '.');
    await people.sign('ben', 'cyd');
    expect(await people.problems('--base', 'main')).toEqual([]);
  });

  test('an artifact is withdrawn once nothing installs it, and nothing that is listed goes by itself', async () => {
    const people = await peopleOf();
    const { fleet } = people.served;
    await people.handOver();
    const [path = ''] = Object.keys(
      JSON.parse(await readFile(join(fleet.folder, 'trust/artifacts-kiosk.json'), 'utf8')).signed.targets,
    );
    const refused = await failing(people, ['sign', '--withdraw', path]);
    expect(refused.err).toMatch(
      /a distribution set still installs artifacts\/kiosk\/.*: delete that file first/,
    );
    await rm(join(fleet.folder, 'fleet/distribution-sets/kiosk-1.0.0.yaml'));
    expect(await people.trust('sign')).toBe('');
    expect(await people.trust('sign', '--withdraw', path)).toContain(`  - ${path}`);
    const unknown = await failing(people, ['sign', '--withdraw', path]);
    expect(unknown.err).toContain(`trust/artifacts-kiosk.json does not list ${path}`);
  });
});

test('what has run out is said by validate, and sign renews it', async () => {
  const people = await peopleOf();
  const { fleet } = people.served;
  await people.handOver();
  fleet.clock.advance(184 * DAY);
  expect((await people.problems()).filter((line) => line.includes('has expired'))).toHaveLength(2);
  await people.sign('ada', 'ben');
  await people.sign('cyd');
  expect(await people.problems()).toEqual([]);
  const status = JSON.parse(await people.trust('status', '--format', 'json'));
  expect(status).toMatchObject({ complete: true, peoples: true, problems: [] });
  expect(
    status.roles.map(
      ({ role, version }: { role: string; version: number }) => `${role} ${version > 3 ? '' : version}`,
    ),
  ).toEqual(['root 3', 'targets ', 'artifacts-kiosk ']);
  await people.merge('Renewed');
  expect(await fleet.status()).toMatchObject({ problems: [], trust: { rootVersion: 3 } });
});

test('trust status reads as a page: who has signed, who is missing, and what the server holds', async () => {
  const people = await peopleOf();
  const files = await withKeys(people, ROOT_HOLDERS);
  await people.trust('init', '--root', ...files, '--products', ...files.slice(0, PRODUCT_HOLDERS.length));
  await people.sign('ben');
  const { out, exit } = await run(['trust', 'status', '--repo', people.served.fleet.folder], {
    now: people.served.fleet.clock.now(),
  });
  expect(exit).toBe(1);
  const [beforeServer = ''] = out.split('\nSigned by the server');
  expect(
    beforeServer.replaceAll(/[0-9a-f]{12}/g, '<id>').replaceAll(/version \d{5,}/g, 'version <v>'),
  ).toMatchInlineSnapshot(`
    "… root version 2, by the keys of version 1
      until    2027-01-01T00:00:00Z (in 365d)
      keys     1 of <id>
      signed   by nobody yet
      missing  1 of <id>
    … root version 2
      until    2027-01-01T00:00:00Z (in 365d)
      keys     3 of ada, ben, cyd, dee, eve
      signed   ben
      missing  2 of ada, cyd, dee, eve
    … targets version <v>
      until    2026-06-30T00:00:00Z (in 180d)
      keys     2 of ada, ben, cyd
      signed   ben
      missing  1 of ada, cyd
    … artifacts-kiosk version <v>
      until    2026-06-30T00:00:00Z (in 180d)
      keys     2 of ada, ben, cyd
      signed   ben
      missing  1 of ada, cyd
    "
  `);
});

test('without trust of people’s own, status says whose it is', async () => {
  const repo = await repositoryOf(fleetFiles());
  const { out, exit } = await run(['trust', 'status', '--repo', repo]);
  expect(exit).toBe(0);
  expect(out).toMatch(/^! development trust: the server holds every key, and whoever has it has the fleet/);
  const nowhere = await run(['trust', 'status', '--repo', await temporaryFolder()]);
  expect(nowhere.err).toMatch(
    /has no folder fleet\/; name the working folder of a fleet repository with --repo/,
  );
});
