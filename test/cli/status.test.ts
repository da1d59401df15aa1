import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, test, vi } from 'vitest';
import { createOutput } from '../../src/cli/output.ts';
import { changeLines, type FleetStatus, fleetLines } from '../../src/cli/status-text.ts';
import type { RolloutStatus } from '../../src/core/status.ts';
import {
  fleetFiles,
  git,
  MAIN,
  NOW,
  repositoryOf,
  rolloutText,
  run,
  runProcess,
  writeFiles,
} from './fixture.ts';
import { type RunningServer, serve } from './server.ts';

const ROLLOUT = 'thermostat-firmware';

/** Eight sites of five thermostats each; the canary takes one site in. */
async function homes(): Promise<{ server: RunningServer; repository: string; devices: readonly string[] }> {
  const repository = await repositoryOf(fleetFiles());
  const server = await serve(repository);
  const devices: string[] = [];
  for (let site = 1; site <= 8; site++) {
    for (let room = 1; room <= 5; room++) {
      const id = `thermostat-${site}-${room}`;
      await server.enrol(id, { product: 'thermostat', site: `site-${site}` });
      devices.push(id);
    }
  }
  await server.reconcile();
  return { server, repository, devices };
}

describe('against a server', () => {
  test('says in a few lines what is in force and what each rollout waits for', async () => {
    const { server } = await homes();
    const shown = await run(['status', '--server', server.url], { columns: 80, env: { NO_COLOR: '1' } });
    expect(shown).toEqual({
      exit: 0,
      err: '',
      out: `homes, 40 devices: 40 never heard of
in force: snapshot 0f8e280689, commit 60276f66c6
development trust: this server holds every key, and whoever has it has the fleet

▶ thermostat-firmware  running  thermostat@2.5.0 (attempt 1)
  ▶ canary  ░░░░░░░░░░░░░░░░░░░░  5 pending
  · batch   ····················  scheduled: 25%
  · fleet   ····················  scheduled: all
  →  0 of 5 devices succeeded, 5 are needed (95%); 5 not heard of since the
     offer; at the latest 2026-11-24T08:00:00Z (in 3d)
`,
    });
  });

  test('S3.6 what devices report is shown with the next pass', async () => {
    const { server, devices } = await homes();
    const revision = server.wanted(ROLLOUT);
    for (const device of devices) {
      if (device.endsWith('-1'))
        await server.report(device, { running: revision, signals: { runtime_healthy: true } });
      if (device.endsWith('-2')) await server.report(device, { attempt: { revision, state: 'installing' } });
    }
    await server.reconcile();
    const { out } = await run(['status', '--server', server.url]);
    expect(out).toContain('  ▶ canary  ████▒▒▒▒░░░░░░░░░░░░  1 succeeded, 1 installing, 3 pending\n');
  });

  test('S3.6 a failure is shown with its category, and who is to be called', async () => {
    const { server, devices } = await homes();
    const attempt = {
      revision: server.wanted(ROLLOUT),
      state: 'failed',
      category: 'install.disk-full',
    } as const;
    for (const device of devices.filter((id) => id.endsWith('-3'))) await server.report(device, { attempt });
    await server.reconcile();
    const { out } = await run(['status', ROLLOUT, '--server', server.url]);
    expect(out).toContain(`
‖ thermostat-firmware  paused  thermostat@2.5.0 (attempt 1)
  ✗ canary  xxxx░░░░░░░░░░░░░░░░  1 failed, 4 pending
    failed with 1 × install.disk-full
`);
    expect(out).toContain('  owner hvac-oncall\n');
    expect(out).toContain("  targets  tags.product = 'thermostat' (priority 10)\n");
    expect(out).toContain('  2026-11-21T08:00:00Z (now)  paused in stage canary: too many devices failed\n');
  });

  test('a broken commit is named with its first problems, and what stays in force', async () => {
    const { server, repository } = await homes();
    await writeFiles(repository, { [`fleet/rollouts/${ROLLOUT}.yaml`]: rolloutText({ batch: 'lots' }) });
    await git(repository, 'commit', '--all', '--quiet', '--message', 'Oops');
    await server.reconcile();
    const { out } = await run(['status', '--server', server.url]);
    const head = (await git(repository, 'rev-parse', 'main')).slice(0, 10);
    const inForce = (await git(repository, 'rev-parse', 'main~1')).slice(0, 10);
    expect(out).toMatch(new RegExp(`^in force: snapshot [0-9a-f]{10}, commit ${inForce}$`, 'm'));
    expect(out).toContain(`✗ main is at ${head}, which is not in force: 1 error\n`);
    expect(out).toMatch(/^ {4}fleet\/rollouts\/thermostat-firmware\.yaml:12:25: .*lots/m);
  });

  test('json is what the server says, on one line, of the rollout that was asked for', async () => {
    const { server } = await homes();
    const { exit, out } = await run(['status', ROLLOUT, '--server', server.url, '--format', 'json']);
    expect(exit).toBe(0);
    expect(out.trimEnd()).not.toContain('\n');
    expect(JSON.parse(out)).toMatchObject({
      fleet: 'homes',
      headInForce: true,
      passedAt: '2026-11-21T08:00:00Z',
      rollouts: [{ name: ROLLOUT, state: 'running', until: '2026-11-24T08:00:00Z' }],
    });
  });

  test('a rollout that is not there is a problem, with the name that was meant', async () => {
    const { server } = await homes();
    expect(await run(['status', 'thermostat-frimware', '--server', server.url])).toEqual({
      exit: 1,
      out: '',
      err: 'no rollout "thermostat-frimware" is in force; did you mean thermostat-firmware?\n',
    });
  });

  test('a server that is away, or is none, is one sentence', async () => {
    const { server } = await homes();
    await server.close();
    const away = await runProcess(['status'], { TIDEGATE_SERVER: server.url });
    expect(away).toEqual({
      exit: 2,
      out: '',
      err: `tidegate: no server answers at ${server.url}; start it (tidegate serve), or name another with --server or TIDEGATE_SERVER\n`,
    });
    expect(await run(['status', '--server', 'ftp://fleet.example'])).toMatchObject({
      exit: 2,
      err: expect.stringContaining('must be an http or https address'),
    });
  });
});

describe('watching', () => {
  /** Runs `status --watch` until `stop` is called; `seen` is all that it has printed. */
  function watching(server: RunningServer, ...args: readonly string[]) {
    const controller = new AbortController();
    const terminal = args.includes('terminal') ? { columns: 80 } : {};
    let seen = '';
    const running = run(
      ['status', '--watch', '--server', server.url, ...args.filter((arg) => arg !== 'terminal')],
      {
        ...terminal,
        interrupt: controller.signal,
        onOutput: (text) => {
          seen += text;
        },
      },
    );
    return {
      sees: (text: string | RegExp) =>
        vi.waitFor(() => expect(seen).toMatch(text), { timeout: 20_000, interval: 50 }),
      async stop() {
        controller.abort();
        return await running;
      },
    };
  }

  test('in a pipe every change is a line', async () => {
    const { server, devices } = await homes();
    const watch = watching(server);
    await watch.sees(/canary .* 5 pending/);
    const attempt = { revision: server.wanted(ROLLOUT), state: 'failed', category: 'boot.loop' } as const;
    for (const device of devices.filter((id) => id.endsWith('-1'))) await server.report(device, { attempt });
    await server.reconcile();
    await watch.sees('is paused');
    const { exit, out, err } = await watch.stop();
    expect({ exit, err }).toEqual({ exit: 0, err: '' });
    expect(out.split('\n').slice(-3)).toEqual([
      '2026-11-21T08:00:00Z  thermostat-firmware: attempt 1 of thermostat@2.5.0 is paused, too many devices failed',
      '2026-11-21T08:00:00Z  thermostat-firmware: stage canary failed: 1 failed, 4 pending',
      '',
    ]);
  });

  test('on a terminal the picture is drawn anew', async () => {
    const { server } = await homes();
    const watch = watching(server, 'terminal');
    await watch.sees('5 pending');
    await server.enrol('thermostat-9-1', { product: 'thermostat', site: 'site-9' });
    await server.reconcile();
    await watch.sees('41 devices');
    const { exit, out } = await watch.stop();
    expect(exit).toBe(0);
    const pictures = out.split('\u001b[H\u001b[J');
    expect(pictures.length).toBeGreaterThanOrEqual(3);
    expect(pictures[0]).toBe('');
    for (const picture of pictures.slice(1)) expect(picture).toContain('thermostat-firmware');
  });

  test('a server that announces nothing is asked now and then', async () => {
    const repository = await repositoryOf(fleetFiles());
    const server = await serve(repository, { announces: false });
    const watch = watching(server);
    await watch.sees('no valid snapshot yet');
    await server.reconcile();
    await watch.sees(/in force: snapshot [0-9a-f]{10}, commit [0-9a-f]{10}/);
    expect((await watch.stop()).exit).toBe(0);
  });

  test('a server that goes away is said once and waited for', async () => {
    const { server } = await homes();
    const watch = watching(server);
    await watch.sees('5 pending');
    await server.close();
    await watch.sees('no server answers at');
    const { exit, err } = await watch.stop();
    expect(exit).toBe(0);
    expect(err.match(/no server answers/g)).toHaveLength(1);
  });

  test('Ctrl-C ends it with exit code 0', async () => {
    const { server } = await homes();
    const child = spawn(process.execPath, [MAIN, 'status', '--watch', '--server', server.url]);
    await once(child.stdout, 'data');
    child.kill('SIGINT');
    expect(await once(child, 'exit')).toEqual([0, null]);
  });
});

describe('the picture', () => {
  const rollout = {
    name: ROLLOUT,
    labels: {},
    owner: 'hvac-oncall',
    priority: 10,
    targetCondition: '*',
    distributionSet: 'thermostat@2.6.0',
    state: 'running',
    attempt: 2,
    reason: 'soaks',
    devices: { target: 0, actual: 0, healthy: 0, unhealthy: 0, unknown: 0, scheduled: 0 },
    stages: [],
    history: [],
  } as unknown as RolloutStatus;
  const status: FleetStatus = {
    fleet: 'homes',
    snapshot: 'a'.repeat(40),
    commit: 'b'.repeat(40),
    head: 'b'.repeat(40),
    headInForce: true,
    problems: [],
    passedAt: NOW,
    devices: {
      total: 0,
      versions: [],
      status: { unknown: 0, registered: 0, pending: 0, inSync: 0, error: 0, drifted: 0 },
    },
    rollouts: [rollout],
  };
  const out = createOutput({ write: () => true }, {});
  const draw = (change: Partial<FleetStatus>, now = NOW) => fleetLines({ ...status, ...change }, now, out);

  test('puts first what needs a person', () => {
    const named = (name: string, change: Partial<RolloutStatus>) =>
      ({ ...rollout, name, ...change }) as RolloutStatus;
    const rollouts = [
      named('a', { state: 'succeeded' }),
      named('b', { state: 'running' }),
      named('c', { state: 'waitingForApproval' }),
      named('d', { state: 'rolledBack', restored: { main: 'diverged', branch: 'tidegate/rollback/d/2' } }),
      named('e', { state: 'rolledBack', restored: { main: 'agrees' } }),
    ];
    const names = draw({ rollouts }).flatMap((line) => /^\S ([a-e]) {2}/.exec(line)?.[1] ?? []);
    expect(names).toEqual(['c', 'd', 'b', 'a', 'e']);
    expect(draw({ rollouts })).toContainEqual(
      expect.stringContaining('merge the branch tidegate/rollback/d/2'),
    );
    const pullRequest = 'https://github.com/acme/fleet/pull/7';
    const asked = named('d', {
      restored: { main: 'diverged', branch: 'tidegate/rollback/d/2', pullRequest },
    });
    const lines = draw({ rollouts: [asked] });
    expect(lines).toContainEqual(
      expect.stringMatching(/main refused the commit .*; merge https:.*\/pull\/7$/),
    );
    expect(lines.join('\n')).not.toContain('merge the branch');
  });

  test('says what keeps everything from moving', () => {
    expect(draw({ held: 'git is away' })).toContain('! nothing opens: git is away');
    expect(draw({ error: 'disk full' })).toContain('✗ the last pass failed and is tried again: disk full');
    expect(draw({}, NOW + 300_000)).not.toContainEqual(expect.stringContaining('last pass'));
    expect(draw({}, NOW + 301_000)).toContain('✗ the last pass was 5m1s ago: what follows may be old');
  });

  test('nothing different is no change', () => {
    expect(changeLines(status, structuredClone(status))).toEqual([]);
    expect(changeLines(status, { ...status, rollouts: [] })).toEqual(['thermostat-firmware: removed']);
    expect(changeLines(status, { ...status, held: 'git is away' })).toEqual(['nothing opens: git is away']);
    expect(changeLines({ ...status, held: 'git is away' }, status)).toEqual(['stages may open again']);
  });
});
