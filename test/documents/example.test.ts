import { readdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import type { DeviceId } from '../../src/core/model/ids.ts';
import { readFolder } from '../../src/documents/folder.ts';
import { KINDS, kebabCase } from '../../src/documents/kinds.ts';
import { loadDesired } from '../../src/documents/load.ts';
import { parseYaml } from '../../src/documents/parse.ts';
import { AT, desiredOf, problemsOf, rolloutOf } from './sources.ts';

const EXAMPLE = fileURLToPath(new URL('../../fleet-repo-example', import.meta.url));
const files = await readFolder(EXAMPLE);
const documents = files.filter(({ path }) => path.endsWith('.yaml'));

describe('the example repository', () => {
  test('loads without errors and without warnings', () => {
    const loaded = loadDesired(files, AT);
    expect(problemsOf(loaded)).toEqual([]);
    expect([...desiredOf(loaded).rollouts.keys()].sort()).toEqual([
      'gateway-software',
      'thermostat-firmware',
    ]);
    expect([...desiredOf(loaded).distributionSets.keys()].sort()).toEqual([
      'gateway@1.8.0',
      'thermostat@2.4.1',
      'thermostat@2.5.0',
    ]);
    expect(desiredOf(loaded).devices.get('thermostat-000017' as DeviceId)?.retired).toBe(true);
  });

  test('begins with a few devices of every hardware, and every stage has gates and a soak', () => {
    for (const rollout of desiredOf(loadDesired(files, AT)).rollouts.values()) {
      const [canary, ...others] = rollout.stages;
      expect(canary?.stratifyBy).toContain('hardwareRevision');
      expect(canary?.size.kind).toBe('count');
      expect(others.at(-1)?.size.kind).toBe('all');
      expect(others.slice(0, -1).map(({ size }) => size.kind)).not.toContain('all');
      for (const { soakMs, gates } of rollout.stages) {
        expect(soakMs).toBeGreaterThan(0);
        expect(gates.length).toBeGreaterThan(0);
      }
    }
  });

  test('its thermostats begin with ten devices', () => {
    const { stages, manifest } = rolloutOf(loadDesired(files, AT), 'thermostat-firmware');
    expect(manifest.distributionSet).toBe('thermostat@2.5.0');
    expect(stages[0]).toMatchObject({ unit: 'device', size: { kind: 'count', count: 10 } });
  });

  test.each(documents.map(({ path, content }) => [path, content] as const))(
    '%s names its schema in the first line',
    async (path, content) => {
      const parsed = parseYaml(content);
      const kind = KINDS.find(
        (candidate) => parsed.ok && (parsed.yaml.value as { kind: string }).kind === candidate,
      );
      if (kind === undefined) throw new Error('it has no kind');
      const up = '../'.repeat(path.split('/').length);
      const [first] = new TextDecoder().decode(content).split('\n');
      expect(first).toBe(`# yaml-language-server: $schema=${up}schemas/${kebabCase(kind)}.schema.json`);
      const schemas = await readdir(fileURLToPath(new URL('../../schemas', import.meta.url)));
      expect(schemas).toContain(`${kebabCase(kind)}.schema.json`);
    },
  );
});
