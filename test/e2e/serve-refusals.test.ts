/** A server that cannot do its work says why in one sentence, with the next step, and ends with 2. */
import { execFile } from 'node:child_process';
import { chmod, mkdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { DatabaseSync } from 'node:sqlite';
import { promisify } from 'node:util';
import { expect, onTestFinished, type TestContext, test } from 'vitest';
import { openSqliteStore } from '../../src/store/sqlite.ts';
import { SQLITE_MIGRATIONS } from '../../src/store/sqlite-schema.ts';
import { openKeys } from '../../src/trust/keys.ts';
import { MAIN, temporaryFolder } from '../cli/fixture.ts';
import {
  bareRepository,
  createDevices,
  type Device,
  eventually,
  type Place,
  type Status,
  startServer,
  stepAll,
} from './serving.ts';

const TIMEOUT = { timeout: 120_000 };
const run = promisify(execFile);
const isRoot = process.getuid?.() === 0;
/** Root may read and write everything; this user may not. */
const NOBODY = 65534;

test('a port in use is named, and what to do about it', TIMEOUT, async () => {
  const place = await bareRepository();
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    other.close();
  });
  const address = other.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  expect(await refusal(place, { listen: `127.0.0.1:${port}` })).toBe(
    `cannot listen on 127.0.0.1:${port}: another process listens there; end it, or choose another port with --listen`,
  );
});

test('an address that others reach is refused without a token for the operators API', TIMEOUT, async () => {
  const place = await bareRepository();
  expect(await refusal(place, { listen: '0.0.0.0:0' })).toBe(
    "0.0.0.0 can be reached from elsewhere; set TIDEGATE_API_TOKEN to protect the operators' API, or listen on 127.0.0.1",
  );
});

test('a data folder that may not be used is named', TIMEOUT, async () => {
  const place = await bareRepository();
  const folder = await temporaryFolder();
  await writeFile(`${folder}/file`, '');
  expect(await refusal({ ...place, data: `${folder}/file` })).toBe(
    `the data folder ${folder}/file cannot be used: it is a file; name a folder with --data`,
  );
  await chmod(folder, 0o555);
  // That user has to get to the repository.
  await chmod(place.repo.replace(/\/[^/]*$/, ''), 0o755);
  expect(await refusal({ ...place, data: `${folder}/data` }, { uid: NOBODY })).toBe(
    `the data folder ${folder}/data cannot be used: this user may not read and write there; change that, or name another folder with --data`,
  );
});

test(
  'a data folder has one server at a time, and is free again once that one was killed',
  TIMEOUT,
  async () => {
    const place = await bareRepository();
    const server = await startServer(place);
    expect(await refusal(place, { listen: '127.0.0.1:0' })).toBe(
      `another server works in the data folder ${place.data}; end it, or name another folder with --data`,
    );
    await server.end('SIGKILL');
    await startServer(place);
  },
);

test(
  'a clone that has the record only as a remote branch is refused: it would forget what is known-good',
  TIMEOUT,
  async () => {
    const place = await bareRepository();
    const server = await startServer(place);
    await eventually('a decision is recorded', () =>
      run('git', ['-C', place.repo, 'rev-parse', '--verify', 'outcomes']).then(
        () => true,
        () => undefined,
      ),
    );
    await server.end('SIGTERM');
    const clone = `${await temporaryFolder()}/clone`;
    await run('git', ['clone', '-q', place.repo, clone]);
    const given = { ...place, repo: clone };
    expect(await refusal(given)).toBe(
      `${clone} has origin/outcomes and no branch outcomes: its record would begin anew; ` +
        `run git -C ${clone} branch outcomes origin/outcomes`,
    );
    await run('git', ['-C', clone, 'branch', 'outcomes', 'origin/outcomes']);
    await startServer(given);
  },
);

test('keys that others may read or replace are refused', TIMEOUT, async () => {
  const place = await bareRepository();
  const keys = `${place.data}/keys`;
  await openKeys(keys);
  await chmod(`${keys}/assignment.pem`, 0o644);
  expect(await refusal(place)).toMatch(
    /^\S+assignment\.pem: only its owner may read it, found mode 0644; run "chmod 600" on it, /,
  );
  await chmod(`${keys}/assignment.pem`, 0o600);
  await chmod(keys, 0o777);
  expect(await refusal(place)).toMatch(
    /^\S+keys: only its owner may write here, found mode 0777; run "chmod 700" /,
  );
});

test('a database of a newer Tidegate, or of another program, is refused', TIMEOUT, async () => {
  const place = await bareRepository();
  await mkdir(place.data, { mode: 0o700 });
  const path = `${place.data}/tidegate.db`;
  await (await openSqliteStore(path, { epoch: () => 'epoch' })).close();
  change(path, `INSERT INTO schema_version (version) VALUES (${SQLITE_MIGRATIONS.length + 1})`);
  expect(await refusal(place)).toContain(
    `${path}: this Tidegate knows schema versions up to ${SQLITE_MIGRATIONS.length}, found ${SQLITE_MIGRATIONS.length + 1}; `,
  );
  await rm(path);
  change(path, 'CREATE TABLE recipes (name TEXT)');
  expect(await refusal(place)).toContain(
    `${path}: expected Tidegate's database, found one with the table recipes; `,
  );
});

test('a folder that is no repository is named', TIMEOUT, async () => {
  const place = await bareRepository();
  const folder = await temporaryFolder();
  expect(await refusal({ ...place, repo: folder })).toContain(`${folder} is not a git repository: `);
});

test(
  'on a full disk it does not start; when the disk fills up later no report is acknowledged until there is room',
  TIMEOUT,
  async (context) => {
    const place = await bareRepository();
    await smallDisk(place.data, context);
    const filler = `${place.data}/filler`;
    await fill(filler);
    expect(await refusal(place)).toBe(
      `the data folder ${place.data} cannot be used: its disk is full; make room, or name another folder with --data`,
    );
    await rm(filler);
    await rm(`${place.data}/keys`, { recursive: true, force: true });

    const server = await startServer(place);
    const [device] = (await createDevices(place, { ids: ['a'], url: () => server.url })) as [Device];
    await eventually(
      'a program is published',
      async () => (await server.get<Status>('/api/status')).programVersion,
    );
    await stepAll([device]);
    await fill(filler);
    const refused = await eventually('the disk is full', async () => {
      const [result] = await stepAll([device]);
      return result?.kind === 'unreachable' ? result : undefined;
    });
    expect(refused).toEqual({
      kind: 'unreachable',
      message: 'nothing was stored; try again later',
      retryAfterSeconds: 10,
    });
    expect(server.log()).toContain('the disk is full; make room, then try again');
    // What is already known is served all the same.
    expect(await device.client.poll()).toHaveProperty('assignment');
    await rm(filler);
    await eventually('reports are taken again', async () => (await stepAll([device]))[0]?.kind === 'ok');
  },
);

test(
  'settings for forges and receivers that are of no use are named, and no secret is shown',
  TIMEOUT,
  async () => {
    const place = await bareRepository();
    expect(await refusal(place, { env: { TIDEGATE_WEBHOOK_SECRET: 'too short' } })).toBe(
      'TIDEGATE_WEBHOOK_SECRET: expected at least 16 characters, found 9; ' +
        'make one with openssl rand -hex 32, or take the signing token that GitLab shows',
    );
    const revoked = 'A0000000-0000-4000-8000-000000000000';
    expect(await refusal(place, { env: { TIDEGATE_REVOKED_OBSERVATION_TOKENS: ` , ${revoked}` } })).toMatch(
      /^TIDEGATE_REVOKED_OBSERVATION_TOKENS: entry 1 is no id of a token; ids are UUIDs in lower case/,
    );
    expect(await refusal(place, { env: { TIDEGATE_NOTIFY_SECRET: 'whsec_short' } })).toMatch(
      /^TIDEGATE_NOTIFY_SECRET: expected whsec_ and 24 to 64 bytes in base64, .* found something else; make one with /,
    );
    const repo = 'git@github.com:acme/fleet.git';
    const env = {
      TIDEGATE_GITHUB_TOKEN: 'github_pat_11A',
      TIDEGATE_GITHUB_API_URL: 'http://api.example.org',
    };
    expect(await refusal({ ...place, repo }, { env })).toBe(
      'TIDEGATE_GITHUB_API_URL: expected an https URL such as https://github.example.org/api/v3, found another; correct it',
    );
  },
);

test(
  'settings for what gates ask that are of no use are named, and no secret is shown',
  TIMEOUT,
  async () => {
    const place = await bareRepository();
    const env = { TIDEGATE_PROMETHEUS_URL: 'https://ada:hunter2@prometheus.example.org' };
    expect(await refusal(place, { env })).toBe(
      'TIDEGATE_PROMETHEUS_URL has credentials in it, which the process list would show; take them away, and set TIDEGATE_PROMETHEUS_TOKEN',
    );
    const options = ['--gate-webhook-host', 'a.example', '--gate-webhook-host', 'https://b.example'];
    expect(await refusal(place, { options })).toBe(
      '--gate-webhook-host: expected HOST or HOST:PORT, found "https://b.example"; ' +
        'name each host in full, without https:// and path, for example checks.example.org',
    );
  },
);

/** The sentence that a server which does not start ends with. */
async function refusal(
  { repo, data }: Pick<Place, 'repo' | 'data'>,
  {
    listen = '127.0.0.1:0',
    uid,
    env: settings,
    options = [],
  }: {
    readonly listen?: string;
    readonly uid?: number;
    readonly env?: Readonly<Record<string, string>>;
    readonly options?: readonly string[];
  } = {},
): Promise<string> {
  const env = { PATH: process.env['PATH'], ...settings };
  const ended = await run(
    process.execPath,
    [MAIN, 'serve', '--repo', repo, '--data', data, '--listen', listen, ...options],
    // A server that starts all the same is ended, and has not said what was expected.
    { env, timeout: 60_000, ...(uid === undefined || !isRoot ? {} : { uid, gid: uid }) },
  ).then(
    ({ stdout }) => ({ code: 0, stdout, stderr: '' }),
    (error: { code: unknown; stdout: string; stderr: string }) => error,
  );
  expect(ended, ended.stderr).toMatchObject({ code: 2, stdout: '' });
  const [sentence = '', ...more] = ended.stderr.trimEnd().split('\n');
  expect(more).toEqual([]);
  expect(sentence).toMatch(/^tidegate: /);
  return sentence.replace(/^tidegate: /, '');
}

function change(path: string, sql: string): void {
  const db = new DatabaseSync(path);
  db.exec(sql);
  db.close();
}

/** A file system of two megabytes. Where this user may not mount one, the test is skipped and says so. */
async function smallDisk(folder: string, { skip }: TestContext): Promise<void> {
  await mkdir(folder, { mode: 0o700 });
  try {
    await run('mount', ['-t', 'tmpfs', '-o', 'size=2m,mode=700', 'tmpfs', folder]);
  } catch (error) {
    skip(`this user cannot mount a small disk: ${String(error)}`);
  }
  onTestFinished(async () => {
    await run('umount', ['--lazy', folder]);
  });
}

/** Takes all the room that is left. */
async function fill(path: string): Promise<void> {
  await writeFile(path, Buffer.alloc(4 * 1024 * 1024)).catch((error: NodeJS.ErrnoException) => {
    expect(error.code).toBe('ENOSPC');
  });
}
