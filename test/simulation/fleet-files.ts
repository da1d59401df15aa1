/** A small fleet repository for simulations, written as people write one. */

import { MINUTE } from '../../src/core/model/time.ts';
import type { World } from '../../src/simulate/virtual-device.ts';

export const FLEET = `apiVersion: tidegate.dev/v1
kind: Fleet
metadata: {name: test-fleet}
spec: {pollInterval: 5m}
`;

/** `kiosk@<version>` with one module. */
export function kiosk(version: string): Record<string, string> {
  return {
    [`fleet/distribution-sets/kiosk-${version}.yaml`]: `apiVersion: tidegate.dev/v1
kind: DistributionSet
metadata: {name: kiosk@${version}}
spec:
  modules:
    - {name: app, version: ${version}, type: container, image: registry.example/kiosk:${version}}
`,
  };
}

/** A rollout of `kiosk@<version>`; `spec` replaces or adds lines of its spec. */
export function rollout(
  version: string,
  spec: Record<string, string> = {},
  name = 'kiosk',
): Record<string, string> {
  const lines = {
    owner: 'kiosk-oncall',
    distributionSet: `kiosk@${version}`,
    targetCondition: "tags.product = 'kiosk'",
    priority: '10',
    gates: '{health: healthy}',
    stages:
      '[{name: canary, size: 2, soak: 30m}, {name: batch, size: 50%, soak: 30m}, {name: fleet, size: all}]',
    ...spec,
  };
  const text = Object.entries(lines).map(([key, value]) => `  ${key}: ${value}`);
  return {
    [`fleet/rollouts/${name}.yaml`]: `apiVersion: tidegate.dev/v1
kind: Rollout
metadata: {name: ${name}}
spec:
${text.join('\n')}
`,
  };
}

/** Installs take ten minutes and work; versions that end in `-bad` run and are unhealthy, `-broken` do not install. */
export const WORLD: World = {
  install(_device, manifest) {
    const failure = manifest.version.endsWith('-broken') ? { category: 'install.checksum' } : undefined;
    return { takesMs: 10 * MINUTE, ...(failure === undefined ? {} : { failure }) };
  },
  signals: (_device, manifest) => ({ healthy: !(manifest?.version.endsWith('-bad') ?? false) }),
};
