/** The five minutes of the README: the device that it shows, run as it stands against a server on a repository from `init`. */
import { type ChildProcessByStdio, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, expect, test } from 'vitest';

type Child = ChildProcessByStdio<Writable, Readable, null>;

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const run = promisify(execFile);
const running: Child[] = [];
const folder = await mkdtemp(join(tmpdir(), 'tidegate-readme-'));

afterAll(async () => {
  for (const child of running.reverse()) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill();
    await once(child, 'exit');
  }
  await rm(folder, { recursive: true });
});

test("the README's device enrols, gets its canary's release and is well", async () => {
  const [, program = ''] =
    /<<'EOT'\n([\s\S]*?)^EOT$/m.exec(await readFile(join(ROOT, 'README.md'), 'utf8')) ?? [];
  const work = join(folder, 'my-fleet');
  await tidegate('init', work);
  await git('-C', work, 'init', '--quiet', '-b', 'main');
  await git('-C', work, 'add', '.');
  await git(
    '-C',
    work,
    '-c',
    'user.name=Ada',
    '-c',
    'user.email=ada@example.org',
    'commit',
    '-qm',
    'Describe the fleet',
  );
  await git('clone', '--quiet', '--bare', work, join(folder, 'fleet.git'));

  const data = join(folder, 'data');
  const repo = join(folder, 'fleet.git');
  const serve = start([
    'src/cli/main.ts',
    'serve',
    '--repo',
    repo,
    '--data',
    data,
    '--listen',
    '127.0.0.1:0',
  ]);
  const [, server = ''] = await said(serve, /on (http:\S+)[\s\S]*is in force/);

  const tags = ['product=thermostat', 'environment=prod', 'site=berlin-1'];
  const token = await tidegate('device', 'token', '--data', data, '--server', server, '--tag', ...tags);
  const device = start(['--input-type=module'], { TIDEGATE_SERVER: server, TOKEN: token.trim() });
  device.stdin.end(program);
  // A poll that finds it unchanged follows the report on what the first one assigned.
  await said(device, /assigned thermostat@2\.5\.0\n[\s\S]*unchanged thermostat@2\.5\.0/);

  const why = await tidegate('why', 'thermostat-1', '--server', server);
  expect(why).toContain('it runs the revision and every gate holds');
});

function start(args: readonly string[], env: Readonly<Record<string, string>> = {}): Child {
  const child = spawn(process.execPath, args, {
    cwd: ROOT,
    env: { ...process.env, ...env },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  running.push(child);
  return child;
}

/** Waits until the child's output matches. */
async function said(child: Child, pattern: RegExp): Promise<RegExpExecArray> {
  let output = '';
  for await (const chunk of child.stdout.iterator({ destroyOnReturn: false })) {
    output += String(chunk);
    const match = pattern.exec(output);
    if (match !== null) return match;
  }
  throw new Error(`expected ${pattern}, found ${output}`);
}

async function tidegate(...args: readonly string[]): Promise<string> {
  const { stdout } = await run(process.execPath, ['src/cli/main.ts', ...args], { cwd: ROOT });
  return stdout;
}

async function git(...args: readonly string[]): Promise<void> {
  await run('git', args);
}
