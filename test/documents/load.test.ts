import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import type { DeviceId, RolloutName } from '../../src/core/model/ids.ts';
import { canonicalJson } from '../../src/core/model/manifest.ts';
import { DAY, HOUR, MINUTE } from '../../src/core/model/time.ts';
import { createDocumentCache, loadDesired } from '../../src/documents/load.ts';
import {
  AT,
  desiredOf,
  FLEET,
  load,
  problemsOf,
  ROLLOUT,
  replaced,
  rolloutOf,
  rolloutWith,
  SET,
  source,
} from './sources.ts';

const RINGS = `apiVersion: tidegate.dev/v1
kind: StagePlan
metadata: {name: rings}
spec:
  stages:
  - canary: 1 device
  - {name: fleet, size: all, gates: [health]}
`;

const GATE = `apiVersion: tidegate.dev/v1
kind: Gate
metadata: {name: crash-rate}
spec: {expression: crashes == 0}
`;

const GROUP = `apiVersion: tidegate.dev/v1
kind: Group
metadata: {name: lab}
spec: {targetCondition: tags.environment = 'lab'}
`;

const DEVICES = `apiVersion: tidegate.dev/v1
kind: DeviceList
metadata: {name: exceptions}
spec:
  devices:
  - {id: device-1, tags: {site: berlin, region: null}}
  - {id: device-2, retired: true, reason: water}
  - {id: device-3, revoked: true}
`;

describe('a valid snapshot', () => {
  test('becomes desired state with its ids, and no problems', () => {
    const loaded = load();
    expect(problemsOf(loaded)).toEqual([]);
    expect(desiredOf(loaded)).toMatchObject({ ...AT, fleet: { name: 'homes', pollIntervalMs: 15 * MINUTE } });
  });

  test('S5.11 gates and stages are accepted exactly as BootCtrl prints them', () => {
    const printed = replaced(
      ROLLOUT,
      ROLLOUT.slice(ROLLOUT.indexOf('  gates:')),
      `  gates:
    health: runtime_healthy && adapter_connected
    telemetry: gap < 10s && drops == 0
    behavior: acceptance_suite_passed
  stages:
    - canary: 1 site
    - batch: 10 sites
    - fleet: all
`,
    );
    const { gates, stages } = rolloutOf(load({ 'fleet/rollouts/kiosk.yaml': printed }));
    expect(gates).toEqual([
      { name: 'health', kind: 'expression', expression: 'runtime_healthy && adapter_connected' },
      { name: 'telemetry', kind: 'expression', expression: 'gap < 10s && drops == 0' },
      { name: 'behavior', kind: 'expression', expression: 'acceptance_suite_passed' },
    ]);
    expect(stages.map(({ name, size, unit, mode }) => ({ name, size, unit, mode }))).toEqual([
      { name: 'canary', size: { kind: 'count', count: 1 }, unit: 'site', mode: 'incremental' },
      { name: 'batch', size: { kind: 'count', count: 10 }, unit: 'site', mode: 'incremental' },
      { name: 'fleet', size: { kind: 'all' }, unit: 'device', mode: 'cumulative' },
    ]);
  });

  test('S3.2 a set of modules and a target condition become a manifest for those devices', () => {
    const rollout = rolloutOf(load());
    expect(rollout.condition).toBe("tags.environment = 'prod'");
    expect(rollout.manifest).toEqual({
      distributionSet: 'thermostat@2.6.0',
      product: 'thermostat',
      version: '2.6.0',
      modules: [
        { name: 'firmware', version: '2.6.0', type: 'firmware', status: 'running', restartPolicy: 'always' },
      ],
    });
  });

  test('S3.9 version, type, status, restart policy, image and routes reach the manifest as they were written', () => {
    const module = {
      name: 'telemetry',
      version: '1.8.0',
      type: 'container',
      status: 'stopped',
      restartPolicy: 'on-unhealthy',
      image: 'registry.example:5000/edge/telemetry:1.8.0',
      env: { LOG_LEVEL: 'info' },
    };
    const routes = { up: 'FROM /messages/\u002a INTO $upstream' };
    const manifest = (spec: object) => {
      const set = stringify({ ...parse(SET), spec });
      return JSON.parse(
        JSON.stringify(rolloutOf(load({ 'fleet/distribution-sets/thermostat.yaml': set })).manifest),
      );
    };
    expect(manifest({ modules: [module], routes })).toMatchObject({ modules: [module], routes });
    const perturbed = {
      ...module,
      status: 'running',
      restartPolicy: 'never',
      image: `registry.example/t@sha256:${'a'.repeat(64)}`,
    };
    expect(manifest({ modules: [perturbed] })).toMatchObject({ modules: [perturbed] });
    expect(manifest({ modules: [perturbed] })).not.toHaveProperty('routes');
  });

  test('S3.2 a set without modules is a manifest that takes all of them away', () => {
    const empty = replaced(SET, '\n  - {name: firmware, version: 2.6.0, type: firmware}', ' []');
    const loaded = load({ 'fleet/distribution-sets/thermostat.yaml': empty });
    expect(rolloutOf(loaded).manifest.modules).toEqual([]);
    expect(rolloutOf(loaded).revision).not.toBe(rolloutOf(load()).revision);
  });

  test('descriptions, labels and the order of keys do not change the revision; modules do', () => {
    const revision = (set: string) =>
      rolloutOf(load({ 'fleet/distribution-sets/thermostat.yaml': set })).revision;
    const described = replaced(SET, 'spec:', 'spec:\n  description: New.');
    expect(revision(described)).toBe(revision(SET));
    expect(revision(replaced(SET, 'name: firmware, version: 2.6.0', 'version: 2.6.0, name: firmware'))).toBe(
      revision(SET),
    );
    expect(revision(replaced(SET, 'type: firmware', 'type: firmware, status: stopped'))).not.toBe(
      revision(SET),
    );
  });

  test("a stage that says nothing gets the defaults, the rollout's thresholds before ours", () => {
    const [canary, fleet] = rolloutOf(rolloutWith('  stages:', '  errorThreshold: 2\n  stages:')).stages;
    expect(canary).toEqual({
      name: 'canary',
      size: { kind: 'count', count: 1 },
      unit: 'site',
      mode: 'incremental',
      soakMs: 0,
      successThreshold: { kind: 'share', share: { numerator: 95, denominator: 100 } },
      errorThreshold: { kind: 'count', count: 2 },
      minExposureHours: 0,
      approvals: 0,
      stuckAfterMs: 3 * DAY,
      stratifyBy: [],
      gates: ['health'],
      rampMs: 0,
      holdback: { numerator: 0, denominator: 100 },
    });
    expect(fleet?.errorThreshold).toEqual({ kind: 'count', count: 2 });
  });

  test('a stage that says something wins', () => {
    const stage =
      '- {name: canary, size: 5% of sites, mode: incremental, soak: 6h, successThreshold: 1, errorThreshold: 3%, minExposure: 12.5, approvals: 2, stuckAfter: 2d, stratifyBy: [hardware.revision], ramp: 1h30m, holdback: 0.5%, gates: []}';
    const changed = replaced(
      replaced(ROLLOUT, '- canary: 1 site', stage),
      '  stages:',
      '  errorThreshold: 2\n  stages:',
    );
    expect(rolloutOf(load({ 'fleet/rollouts/kiosk.yaml': changed })).stages[0]).toEqual({
      name: 'canary',
      size: { kind: 'share', share: { numerator: 5, denominator: 100 } },
      unit: 'site',
      mode: 'incremental',
      soakMs: 6 * HOUR,
      successThreshold: { kind: 'count', count: 1 },
      errorThreshold: { kind: 'share', share: { numerator: 3, denominator: 100 } },
      minExposureHours: 12.5,
      approvals: 2,
      stuckAfterMs: 2 * DAY,
      stratifyBy: ['hardware.revision'],
      gates: [],
      rampMs: 90 * MINUTE,
      holdback: { numerator: 5, denominator: 1000 },
    });
  });

  test("a stage's where is a condition, or a group's", () => {
    const stages = ROLLOUT.slice(ROLLOUT.indexOf('  stages:'));
    const group = `apiVersion: tidegate.dev/v1\nkind: Group\nmetadata: {name: berlin}\nspec: {targetCondition: "tags.city = 'berlin'"}\n`;
    const withStages = (list: string) =>
      load({
        'fleet/rollouts/kiosk.yaml': replaced(ROLLOUT, stages, `  stages: ${list}\n`),
        'fleet/groups/berlin.yaml': group,
      });
    const loaded = withStages(
      `[{name: beta, size: all, where: " tags.ring = 'beta' "}, {name: city, size: 10%, where: {group: berlin}}, {fleet: all}]`,
    );
    expect(rolloutOf(loaded).stages.map(({ where }) => where)).toEqual([
      "tags.ring = 'beta'",
      "tags.city = 'berlin'",
      undefined,
    ]);
    expect(loaded.paths.get('kiosk' as RolloutName)).toContain('fleet/groups/berlin.yaml');
    const problemsOf = (list: string) =>
      withStages(list).problems.flatMap(({ severity, message }) => (severity === 'error' ? [message] : []));
    expect(problemsOf('[{name: a, size: 1, where: "tags.a = 5"}]')).toEqual([
      expect.stringContaining("write '5'"),
    ]);
    expect(problemsOf('[{name: a, size: 1, where: {group: hamburg}}]')).toEqual([
      expect.stringContaining('names the Group "hamburg", which does not exist'),
    ]);
    expect(problemsOf(`[{name: a, size: 1 site, where: "deviceId = 'x'"}, {fleet: all}]`)).toEqual([
      expect.stringContaining('enter whole, and its where names devices'),
    ]);
  });

  test('a split into groups gives cumulative shares and everyone at the end', () => {
    const split = (groups: number) => {
      const stages = ROLLOUT.slice(ROLLOUT.indexOf('  stages:'));
      return rolloutOf(rolloutWith(stages, `  stages: {split: ${groups}}\n`)).stages.map(
        ({ name, size }) => ({ name, size }),
      );
    };
    const share = (numerator: number, denominator: number) => ({
      kind: 'share',
      share: { numerator, denominator },
    });
    expect(split(3)).toEqual([
      { name: 'group-1', size: share(1, 3) },
      { name: 'group-2', size: share(2, 3) },
      { name: 'group-3', size: { kind: 'all' } },
    ]);
    expect(split(1)).toEqual([{ name: 'group-1', size: { kind: 'all' } }]);
  });

  test.each([
    ['', { kind: 'onMerge' }],
    ['start: true', { kind: 'onMerge' }],
    ['start: onMerge', { kind: 'onMerge' }],
    ['start: false', { kind: 'manual' }],
    ['start: manual', { kind: 'manual' }],
    ['start: 2026-10-01T06:00:00Z', { kind: 'at', at: Date.UTC(2026, 9, 1, 6) }],
    ['start: "2026-10-01T06:00+02:00"', { kind: 'at', at: Date.UTC(2026, 9, 1, 4) }],
  ])('start, written as "%s"', (written, start) => {
    expect(rolloutOf(rolloutWith('  priority: 10', `  priority: 10\n  ${written}`)).start).toEqual(start);
  });

  test('onFail is another spelling of onFailure, and not to be used beside it', () => {
    expect(rolloutOf(load()).onFailure).toBe('ladder');
    expect(rolloutOf(rolloutWith('  priority: 10', '  priority: 10\n  onFail: rollback')).onFailure).toBe(
      'rollback',
    );
    expect(
      problemsOf(rolloutWith('  priority: 10', '  priority: 10\n  onFailure: pause\n  onFail: rollback')),
    ).toEqual([
      'fleet/rollouts/kiosk.yaml:10:3: onFail is another spelling of onFailure, which is there as well; keep onFailure',
    ]);
  });

  test('gates, groups and stage plans are followed, and the files are known', () => {
    const rollout = [
      ["tags.environment = 'prod'", '{group: lab}'],
      ['    health: runtime_healthy', '    health: runtime_healthy\n    crashes: {use: crash-rate}'],
      [ROLLOUT.slice(ROLLOUT.indexOf('  stages:')), '  stages: rings\n'],
    ].reduce((text, [from = '', to = '']) => replaced(text, from, to), ROLLOUT);
    const loaded = load({
      'fleet/rollouts/kiosk.yaml': rollout,
      'fleet/stages/rings.yml': RINGS,
      'fleet/gates/team/crash.yaml': GATE,
      'fleet/groups/lab.yaml': GROUP,
      'fleet/groups/README.md': '# not YAML: [',
    });
    const { condition, gates, stages } = rolloutOf(loaded);
    expect(condition).toBe("tags.environment = 'lab'");
    expect(gates).toEqual([
      { name: 'health', kind: 'expression', expression: 'runtime_healthy' },
      { name: 'crashes', kind: 'expression', expression: 'crashes == 0' },
    ]);
    expect(stages.map(({ name, gates }) => [name, gates])).toEqual([
      ['canary', ['health', 'crashes']],
      ['fleet', ['health']],
    ]);
    expect(loaded.paths.get('kiosk' as RolloutName)).toEqual([
      'fleet/rollouts/kiosk.yaml',
      'fleet/distribution-sets/thermostat.yaml',
      'fleet/groups/lab.yaml',
      'fleet/gates/team/crash.yaml',
      'fleet/stages/rings.yml',
    ]);
    expect(loaded.distributionSetFiles.get('thermostat@2.6.0')).toBe(
      'fleet/distribution-sets/thermostat.yaml',
    );
  });

  test('device lists say who is retired and revoked, and which tags are laid over', () => {
    const { devices } = desiredOf(load({ 'fleet/devices/a.yaml': DEVICES }));
    expect(devices.get('device-1' as DeviceId)).toEqual({
      tags: { site: 'berlin', region: null },
      retired: false,
      revoked: false,
    });
    expect(devices.get('device-2' as DeviceId)).toEqual({ tags: {}, retired: true, revoked: false });
    expect(devices.get('device-3' as DeviceId)).toEqual({ tags: {}, retired: false, revoked: true });
  });

  test('a freeze has an end and exceptions', () => {
    const fleet = replaced(
      FLEET,
      'spec: {}',
      'spec:\n  freeze: {until: 2026-12-27T06:00:00Z, except: [kiosk]}',
    );
    expect(desiredOf(load({ 'fleet/fleet.yaml': fleet })).fleet.freeze).toEqual({
      until: Date.UTC(2026, 11, 27, 6),
      except: ['kiosk'],
    });
  });
});

describe('a problem says where, what was expected and found, and what to do', () => {
  const KIOSK = 'fleet/rollouts/kiosk.yaml';

  test.each([
    [
      'a mistyped key',
      'owner: oncall',
      'ownr: oncall',
      [
        '4:1: spec needs the key "owner" (who answers for this rollout and is called when it halts); for example owner: hvac-oncall',
        '5:3: spec has no key "ownr"; did you mean "owner"?',
      ],
    ],
    [
      'a key of another tool',
      'owner: oncall',
      'owner: oncall\n  replicas: 3',
      [
        '6:3: spec has no key "replicas"; it takes owner, runbook, distributionSet, targetCondition, exclude, priority, start, suspend, emergency, gates, alpha, stages, successThreshold, errorThreshold, bugClass, installWindow, retries, onFailure, onFail, seed',
      ],
    ],
    [
      'a size',
      '1 site',
      'some',
      ['12:13: spec.stages[0].canary must be a share, a count, or all, found "some"; for example canary: 5%'],
    ],
    [
      'a size of nothing',
      '1 site',
      '0%',
      ['12:13: spec.stages[0].canary must be a share, a count, or all, found "0%"; for example canary: 5%'],
    ],
    [
      'a stage without a size',
      '- canary: 1 site',
      '- name: canary\n    soak: 6 h',
      [
        '12:5: spec.stages[0] needs the key "size" (how many: a share (5%, 0.5 %, 5% of sites), a count (250, 250 devices, 10 sites) or all); for example size: 5%',
        '13:11: spec.stages[0].soak must be a duration, or {min: <duration>, max: <duration>}, found "6 h"; for example soak: 6h',
      ],
    ],
    [
      'two stages in one',
      '- canary: 1 site',
      '- {canary: 1 site, batch: 5%}',
      [
        '12:5: spec.stages[0] must be one stage of the form <name>: <size>, found a mapping of 2 keys; for example {canary: 1 site}',
      ],
    ],
    [
      'two stages of one name',
      '- fleet: all',
      '- canary: all',
      ['13:5: the name "canary" is taken on line 12 already; give this one another'],
    ],
    [
      'no stages',
      ROLLOUT.slice(ROLLOUT.indexOf('  stages:')),
      '  stages: []\n',
      [
        '11:11: spec.stages must be a list of stages, the name of a StagePlan document, or {split: <number of groups>}, found an empty list; for example stages: [{canary: 1 site}, {batch: 10 sites}, {fleet: all}]',
      ],
    ],
    [
      'a choice',
      'priority: 10',
      'priority: 10\n  onFailure: rolback',
      ['9:14: spec.onFailure must be ladder, pause or rollback, found "rolback"; did you mean "rollback"?'],
    ],
    [
      'a name',
      'name: kiosk',
      'name: Kiosk_1',
      [
        '3:18: metadata.name must be a name of at most 63 lower-case letters, digits, dashes and dots that begins and ends with a letter or digit, found "Kiosk_1"; for example name: thermostat-firmware',
      ],
    ],
    [
      'the name of a gate',
      'health: runtime',
      'Health!: runtime',
      [
        '10:5: a key of spec.gates must be a name of at most 63 lower-case letters, digits, dashes and dots that begins and ends with a letter or digit, found "Health!"',
      ],
    ],
    [
      'the version of the format',
      'tidegate.dev/v1',
      'tidegate.dev/v2',
      [
        '1:13: apiVersion must be tidegate.dev/v1, found "tidegate.dev/v2"; write apiVersion: tidegate.dev/v1',
      ],
    ],
    [
      'the kind',
      'kind: Rollout',
      'kind: Rolout',
      [
        '2:7: kind must be one of Fleet, DistributionSet, Rollout, StagePlan, Gate, Flag, Group, Site, DeviceList, Operation, found "Rolout"; did you mean Rollout?',
      ],
    ],
    [
      'a day',
      'priority: 10',
      'priority: 10\n  start: 2026-02-30T00:00:00Z',
      ['9:10: there is no such day as 2026-02-30; correct the date'],
    ],
    [
      'a value that is missing',
      'owner: oncall',
      'owner:',
      [
        '5:3: spec.owner must be a name of at most 128 characters, found nothing; for example owner: hvac-oncall',
      ],
    ],
    [
      'a gate that lies elsewhere and is not there',
      'health: runtime_healthy',
      'health: {use: our-own}',
      [
        '10:19: spec.gates.health.use names the Gate "our-own", which does not exist; add it to fleet/gates/; tidegate preset list shows those that need no file',
      ],
    ],
    [
      'a stage plan',
      ROLLOUT.slice(ROLLOUT.indexOf('  stages:')),
      '  stages: our-own\n',
      [
        '11:11: spec.stages names the StagePlan "our-own", which does not exist; add it to fleet/stages/; tidegate preset list shows those that need no file',
      ],
    ],
    [
      'a group',
      "tags.environment = 'prod'",
      '{group: lab}',
      [
        '7:28: spec.targetCondition.group names the Group "lab", which does not exist; add it to fleet/groups/',
      ],
    ],
    [
      'a gate of a stage',
      '- fleet: all',
      '- {name: fleet, size: all, gates: [health, helth]}',
      [
        '13:46: the stage names the gate "helth", which the rollout kiosk does not have (it has health); add it there or remove it here',
      ],
    ],
  ])('%s', (_, text, replacement, expected) => {
    const loaded = rolloutWith(text, replacement);
    expect(problemsOf(loaded)).toEqual(expected.map((line) => `${KIOSK}:${line}`));
    expect(loaded.desired).toBeUndefined();
  });

  test('S1.5 an unknown distribution set is refused with file and key', () => {
    expect(problemsOf(rolloutWith('thermostat@2.6.0', 'thermostat@2.6.1'))).toEqual([
      'fleet/rollouts/kiosk.yaml:6:20: spec.distributionSet names the DistributionSet "thermostat@2.6.1", which does not exist; did you mean "thermostat@2.6.0"?',
    ]);
    expect(problemsOf(rolloutWith('thermostat@2.6.0', 'camera@1'))).toEqual([
      'fleet/rollouts/kiosk.yaml:6:20: spec.distributionSet names the DistributionSet "camera@1", which does not exist; add it to fleet/distribution-sets/ or use one of thermostat@2.6.0',
    ]);
  });

  test.each([
    ['0', '0'],
    ['-1', '-1'],
    ['1.5', '1.5'],
    ['"a"', '"a"'],
  ])('S3.29 the priority %s is refused', (written, found) => {
    expect(problemsOf(rolloutWith('priority: 10', `priority: ${written}`))).toEqual([
      `fleet/rollouts/kiosk.yaml:8:13: spec.priority must be a positive whole number, found ${found}; for example priority: 10`,
    ]);
  });

  test('S3.29 the priorities 1 and 10 are accepted as they are', () => {
    expect(rolloutOf(rolloutWith('priority: 10', 'priority: 1')).priority).toBe(1);
    expect(rolloutOf(load()).priority).toBe(10);
  });

  const inSet = (text: string, replacement: string) =>
    load({ 'fleet/distribution-sets/thermostat.yaml': replaced(SET, text, replacement) });

  test('S3.10 the status of a module is running or stopped and nothing else', () => {
    const status = (word: string) => inSet('type: firmware', `type: firmware, status: ${word}`);
    expect(rolloutOf(status('running')).manifest.modules[0]?.status).toBe('running');
    expect(rolloutOf(status('stopped')).manifest.modules[0]?.status).toBe('stopped');
    expect(problemsOf(status('paused'))).toEqual([
      'fleet/distribution-sets/thermostat.yaml:6:62: spec.modules[0].status must be running or stopped, found "paused"',
    ]);
    expect(problemsOf(status('stoped'))).toEqual([
      'fleet/distribution-sets/thermostat.yaml:6:62: spec.modules[0].status must be running or stopped, found "stoped"; did you mean "stopped"?',
    ]);
  });

  test('S3.11 a set of a type that lacks a module which the type requires is refused', () => {
    const fleet = replaced(
      FLEET,
      'spec: {}',
      'spec:\n  distributionSetTypes:\n    gateway: {requiredModules: [agent, hub]}',
    );
    const set = replaced(
      SET,
      'spec:\n  modules:',
      'spec:\n  type: gateway\n  modules:\n  - {name: hub, version: "1", type: container}',
    );
    const check = (text: string) =>
      problemsOf(load({ 'fleet/fleet.yaml': fleet, 'fleet/distribution-sets/thermostat.yaml': text }));
    expect(check(set)).toEqual([
      'fleet/distribution-sets/thermostat.yaml:6:3: the set thermostat@2.6.0 of type gateway needs the module "agent", which is missing; add it',
    ]);
    expect(check(replaced(set, 'name: firmware', 'name: agent'))).toEqual([]);
    expect(check(replaced(set, 'type: gateway', 'type: camera'))).toEqual([
      'fleet/distribution-sets/thermostat.yaml:5:9: spec.type must be one of the distributionSetTypes in fleet/fleet.yaml (gateway), found "camera"; add it there or change it',
    ]);
  });

  test('a version that YAML read as a number is to be put in quotes, as it was written', () => {
    expect(problemsOf(inSet('version: 2.6.0', 'version: 2.10'))).toEqual([
      'fleet/distribution-sets/thermostat.yaml:6:31: spec.modules[0].version must be a version of at most 64 characters, found 2.1; put it in quotes: "2.10"',
    ]);
  });

  test('two modules of one name', () => {
    const module = '- {name: firmware, version: 2.6.0, type: firmware}';
    expect(problemsOf(inSet(module, `${module}\n  ${module}`))).toEqual([
      'fleet/distribution-sets/thermostat.yaml:7:12: the name "firmware" is taken on line 6 already; give this one another',
    ]);
  });

  test('a list that repeats itself', () => {
    const fleet = replaced(
      FLEET,
      'spec: {}',
      'spec:\n  freeze: {until: 2026-12-27T06:00:00Z, except: [kiosk, kiosk]}',
    );
    expect(problemsOf(load({ 'fleet/fleet.yaml': fleet }))).toEqual([
      'fleet/fleet.yaml:5:57: spec.freeze.except[1] repeats spec.freeze.except[0]; remove it',
    ]);
  });

  test('a freeze that spares a rollout which is not there', () => {
    const fleet = replaced(
      FLEET,
      'spec: {}',
      'spec:\n  freeze: {until: 2026-12-27T06:00:00Z, except: [kiosc]}',
    );
    expect(problemsOf(load({ 'fleet/fleet.yaml': fleet }))).toEqual([
      'fleet/fleet.yaml:5:50: spec.freeze.except[0] names the Rollout "kiosc", which does not exist; did you mean "kiosk"?',
    ]);
  });
});

describe('conditions and gates', () => {
  const places = (text: string, replacement: string) =>
    rolloutWith(text, replacement).problems.map(
      ({ file, line, column, rule }) => `${file}:${line}:${column} ${rule}`,
    );

  test('a target condition is refused at its own character', () => {
    expect(places("tags.environment = 'prod'", 'tags.environment = "prod"')).toEqual([
      'fleet/rollouts/kiosk.yaml:7:39 condition',
    ]);
    expect(places("tags.environment = 'prod'", `'tags.a = ''x'' AND "b"'`)).toEqual([
      'fleet/rollouts/kiosk.yaml:7:40 condition',
    ]);
  });

  test('a gate expression is refused at its own character', () => {
    expect(places('health: runtime_healthy', 'health: gap < < 10s')).toEqual([
      'fleet/rollouts/kiosk.yaml:10:19 gate',
    ]);
  });

  test('what several rollouts share is refused once, where it is written', () => {
    const loaded = load({
      'fleet/gates/crash.yaml': replaced(GATE, 'crashes == 0', 'crashes =='),
      'fleet/groups/lab.yaml': replaced(GROUP, "'lab'", 'lab'),
      'fleet/stages/rings.yaml': replaced(RINGS, 'name: fleet', 'name: canary'),
      'fleet/rollouts/kiosk.yaml': replaced(ROLLOUT, 'health: runtime_healthy', 'health: {use: crash-rate}'),
      'fleet/rollouts/other.yaml': replaced(
        replaced(ROLLOUT, 'name: kiosk', 'name: other'),
        'runtime_healthy',
        '{use: crash-rate}',
      ),
    });
    expect(loaded.problems.map(({ file, line, rule }) => `${file}:${line} ${rule}`)).toEqual([
      'fleet/gates/crash.yaml:4 gate',
      'fleet/groups/lab.yaml:4 condition',
      'fleet/stages/rings.yaml:7 duplicate-name',
    ]);
  });
});

describe('files', () => {
  test('all problems of all files are there, in order of file, line and column', () => {
    const loaded = load({
      'fleet/rollouts/kiosk.yaml': replaced(
        replaced(ROLLOUT, 'priority: 10', 'priority: x'),
        'owner: oncall',
        'owner: ""',
      ),
      'fleet/fleet.yaml': replaced(FLEET, 'spec: {}', 'spec: {polcy: warn}'),
      'fleet/distribution-sets/a.yaml': 'a: [',
    });
    expect(loaded.problems.map(({ file, line, column }) => `${file}:${line}:${column}`)).toEqual([
      'fleet/distribution-sets/a.yaml:1:5',
      'fleet/fleet.yaml:4:8',
      'fleet/rollouts/kiosk.yaml:5:10',
      'fleet/rollouts/kiosk.yaml:8:13',
    ]);
  });

  test('a document in the folder of another kind', () => {
    expect(problemsOf(load({ 'fleet/rollouts/crash.yaml': GATE }))).toEqual([
      'fleet/rollouts/crash.yaml:2:7: a Gate belongs in fleet/gates/, found it in fleet/rollouts/crash.yaml; move it there',
    ]);
    expect(problemsOf(load({ 'fleet/fleet.yaml': null, 'fleet/gates/fleet.yaml': FLEET }))).toEqual([
      'fleet/gates/fleet.yaml:2:7: a Fleet belongs in fleet/fleet.yaml, found it in fleet/gates/fleet.yaml; move it there',
    ]);
  });

  test('one name for two documents of a kind, with both places; other kinds may have it', () => {
    expect(problemsOf(load({ 'fleet/rollouts/second.yaml': ROLLOUT }))).toEqual([
      'fleet/rollouts/second.yaml:3:18: the Rollout "kiosk" is in fleet/rollouts/kiosk.yaml:3:18 already; rename or delete one of the two',
    ]);
    expect(problemsOf(load({ 'fleet/gates/kiosk.yaml': replaced(GATE, 'crash-rate', 'kiosk') }))).toEqual([]);
  });

  test('a device in two lists, with both places', () => {
    const second = replaced(DEVICES, 'exceptions', 'more')
      .replace('device-1', 'device-4')
      .replace('device-3', 'device-5');
    expect(problemsOf(load({ 'fleet/devices/a.yaml': DEVICES, 'fleet/devices/b.yaml': second }))).toEqual([
      'fleet/devices/b.yaml:7:10: the device "device-2" is in fleet/devices/a.yaml:7:10 already; say everything about it in one place',
    ]);
  });

  test('no Fleet, and two of them', () => {
    expect(problemsOf(load({ 'fleet/fleet.yaml': null }))).toEqual([
      'fleet/fleet.yaml:1:1: the fleet has no Fleet document; create this file with kind: Fleet and metadata: {name: <name>}, spec: {}',
    ]);
    expect(problemsOf(load({ 'fleet/fleet.yml': replaced(FLEET, 'homes', 'offices') }))).toEqual([
      'fleet/fleet.yml:2:7: there is one Fleet, in fleet/fleet.yaml, found a second one; delete one of the two',
    ]);
  });

  test('symbolic links and submodules are not followed', () => {
    const files = [
      source('fleet/fleet.yaml', FLEET),
      source('fleet/rollouts', '../../secrets', '120000'),
      source('fleet/gates', '', '160000'),
    ];
    expect(problemsOf(loadDesired(files, AT))).toEqual([
      'fleet/gates:1:1: a submodule is never followed, so that a snapshot is all there is; put the files here instead',
      'fleet/rollouts:1:1: a symbolic link is never followed, so that a snapshot is all there is; put the files here instead',
    ]);
    expect(problemsOf(loadDesired([source('fleet', '../elsewhere', '120000')], AT))[0]).toMatch(
      /^fleet:1:1: a symbolic link/,
    );
  });

  test('what lies outside fleet/ is none of its business', () => {
    expect(
      problemsOf(load({ 'ops/kiosk.yaml': ': [', 'compose.yaml': ROLLOUT, 'fleetwide/a.yaml': ': [' })),
    ).toEqual([]);
  });

  test('a document that is there and broken is not said to be missing', () => {
    const loaded = load({
      'fleet/distribution-sets/thermostat.yaml': replaced(SET, 'type: firmware', 'type: 1'),
    });
    expect(loaded.problems.map(({ file, rule }) => `${file} ${rule}`)).toEqual([
      'fleet/distribution-sets/thermostat.yaml schema',
    ]);
  });

  test('of a file with a thousand mistakes a hundred are listed', () => {
    const devices = Array.from({ length: 1000 }, () => '  - {id: "?"}\n').join('');
    const list = `${DEVICES.slice(0, DEVICES.indexOf('  - '))}${devices}`;
    const { problems } = load({ 'fleet/devices/a.yaml': list });
    expect(problems).toHaveLength(101);
    expect(problems.find(({ rule }) => rule === 'too-many')?.message).toBe(
      '900 more problems in this file are not listed; fix the others first',
    );
  });
});

describe('what is not enforced yet is not ignored in silence', () => {
  const check = (changes: Record<string, string>, place: string) => {
    const loaded = load(changes);
    expect(
      loaded.problems.map(
        (problem) => `${problem.file}:${problem.line}:${problem.column} ${problem.rule} ${problem.severity}`,
      ),
    ).toEqual([`${place} not-yet-enforced warning`]);
    expect(loaded.desired).toBeDefined();
  };
  const rollout = (line: string) => ({
    'fleet/rollouts/kiosk.yaml': replaced(ROLLOUT, '  priority: 10', `  priority: 10\n  ${line}`),
  });

  test('retries are a warning', () => {
    check(rollout('retries: {max: 3, backoff: 1h}'), 'fleet/rollouts/kiosk.yaml:9:3');
  });
});

test('S5.2 a rollout without gates is a warning, and rejected where the fleet enforces its policy', () => {
  const gates = / {2}gates:[\s\S]*?(?= {2}stages:)/.exec(ROLLOUT)?.[0] ?? '';
  expect(gates).not.toBe('');
  const without = { 'fleet/rollouts/kiosk.yaml': replaced(ROLLOUT, gates, '') };
  const said = (loaded: ReturnType<typeof load>) =>
    loaded.problems.filter(({ rule }) => rule === 'no-gates').map(({ severity }) => severity);
  const warned = load(without);
  expect(said(warned)).toEqual(['warning']);
  expect(warned.desired).toBeDefined();
  const enforced = load({
    ...without,
    'fleet/fleet.yaml': replaced(FLEET, 'spec: {}', 'spec: {policy: enforce}'),
  });
  expect(said(enforced)).toEqual(['error']);
  expect(enforced.desired).toBeUndefined();
  expect(said(load({}))).toEqual([]);
});

describe('the cache', () => {
  test('gives the same result, and the problems of one blob at each of its paths', () => {
    const cache = createDocumentCache();
    const broken = { ...source('fleet/gates/a.yaml', replaced(GATE, 'spec:', 'spce:')), blob: 'b1' };
    const files = [source('fleet/fleet.yaml', FLEET), broken, { ...broken, path: 'fleet/gates/b.yaml' }];
    const first = loadDesired(files, AT, { cache });
    const second = loadDesired(files, AT, { cache });
    expect(second.problems).toEqual(first.problems);
    expect(new Set(first.problems.map(({ file }) => file))).toEqual(
      new Set(['fleet/gates/a.yaml', 'fleet/gates/b.yaml']),
    );
    expect(cache.size).toBe(1);
  });

  test('is bounded by the text that it remembers', () => {
    const cache = createDocumentCache(3 * SET.length);
    const sets = Array.from({ length: 20 }, (_, at) => ({
      ...source(`fleet/distribution-sets/${at}.yaml`, replaced(SET, '2.6.0}', `2.${at}}`)),
      blob: `b${at}`,
    }));
    loadDesired([source('fleet/fleet.yaml', FLEET), ...sets], AT, { cache });
    expect(cache.size).toBeLessThanOrEqual(3);
    expect(cache.size).toBeGreaterThan(0);
  });
});

describe('properties', () => {
  const anything = fc.anything({
    maxDepth: 3,
    key: fc.constantFrom(
      'apiVersion',
      'kind',
      'metadata',
      'spec',
      'name',
      'stages',
      'size',
      '__proto__',
      'x',
    ),
  });
  const kinds = fc.constantFrom(
    'Fleet',
    'DistributionSet',
    'Rollout',
    'StagePlan',
    'Gate',
    'Flag',
    'Group',
    'Site',
    'DeviceList',
    'Operation',
  );
  const document = fc
    .record({
      apiVersion: fc.constant('tidegate.dev/v1'),
      kind: kinds,
      metadata: fc.oneof(fc.constant({ name: 'a' }), anything),
      spec: anything,
    })
    .map((value) => stringify(JSON.parse(JSON.stringify(value))));

  test('whatever the documents hold, nothing is thrown and errors mean that there is no desired state', () => {
    fc.assert(
      fc.property(fc.array(document, { maxLength: 4 }), (documents) => {
        const loaded = load(
          Object.fromEntries(documents.map((text, at) => [`fleet/gates/${at}.yaml`, text])),
        );
        const hasErrors = loaded.problems.some(({ severity }) => severity === 'error');
        expect(loaded.desired === undefined).toBe(hasErrors);
      }),
      { numRuns: 500 },
    );
  });

  /** Any value put in the place of any line of a valid rollout. */
  test('a rollout with one line changed at random is accepted or has a problem in that file', () => {
    const lines = ROLLOUT.split('\n');
    const value = fc.oneof(
      fc.string(),
      fc.integer().map(String),
      fc.constantFrom('[]', '{}', '~', '*a', '&a x', '"', '- x', '5%', 'all'),
    );
    fc.assert(
      fc.property(fc.nat(lines.length - 1), value, (at, text) => {
        const key = /^( *(- )?[a-zA-Z]+: ?)?/.exec(lines[at] ?? '')?.[0] ?? '';
        const changed = lines.with(at, `${key}${text}`).join('\n');
        const { desired, problems } = load({ 'fleet/rollouts/kiosk.yaml': changed });
        if (desired === undefined)
          expect(problems.map(({ file }) => file)).toContain('fleet/rollouts/kiosk.yaml');
        else expect(() => canonicalJson(desired.rollouts.size)).not.toThrow();
      }),
      { numRuns: 500 },
    );
  });

  test('the order of the files does not matter', () => {
    const files = [
      source('fleet/fleet.yaml', FLEET),
      source('fleet/distribution-sets/a.yaml', SET),
      source('fleet/rollouts/a.yaml', ROLLOUT),
      source('fleet/rollouts/b.yaml', ROLLOUT),
      source('fleet/devices/a.yaml', DEVICES),
    ];
    const expected = problemsOf(loadDesired(files, AT));
    fc.assert(
      fc.property(fc.shuffledSubarray(files, { minLength: files.length }), (shuffled) => {
        expect(problemsOf(loadDesired(shuffled, AT))).toEqual(expected);
      }),
    );
  });
});
