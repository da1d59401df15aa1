/** Plays one run and says what it took. `argv`: how many devices, and the fault, if any. */

import { DAY, HOUR } from '../src/core/model/time.ts';
import { playExperiment, prepareExperiment } from '../src/simulate/experiment.ts';
import { parseFault } from '../src/simulate/fault.ts';
import type { SimulateFigures } from './simulate.ts';

const FILES = {
  'fleet/fleet.yaml':
    'apiVersion: tidegate.dev/v1\nkind: Fleet\nmetadata: {name: homes}\nspec: {pollInterval: 15m}\n',
  'fleet/distribution-sets/thermostat.yaml': `apiVersion: tidegate.dev/v1
kind: DistributionSet
metadata: {name: thermostat@2.6.0}
spec: {modules: [{name: firmware, version: 2.6.0, type: firmware}]}
`,
  'fleet/rollouts/thermostat.yaml': `apiVersion: tidegate.dev/v1
kind: Rollout
metadata: {name: thermostat}
spec:
  owner: hvac
  distributionSet: thermostat@2.6.0
  targetCondition: tags.product = 'thermostat'
  priority: 10
  gates: {health: runtime_healthy && drops == 0, crashes: {events: crash}}
  stages:
  - {name: canary, size: 0.5%, soak: 6h, stratifyBy: [hardwareRevision]}
  - {name: early, size: 5%, soak: 24h}
  - {name: quarter, size: 25%, soak: 48h}
  - {name: fleet, size: all, soak: 72h}
`,
};

const [devices = '', text = ''] = process.argv.slice(2);
const fault = text === '' ? undefined : parseFault(text);
const prepared = prepareExperiment({
  files: Object.entries(FILES).map(([path, content]) => ({
    path,
    content: new TextEncoder().encode(content),
  })),
  rollout: 'thermostat',
  devices: Number(devices),
  faults: fault?.ok === true ? [fault.fault] : [],
});
if (prepared.kind !== 'ready') throw new Error(JSON.stringify(prepared));
const startedAt = performance.now();
const { state, lastedMs, found } = await playExperiment(prepared.experiment, {
  seed: 'bench',
  until: 'found',
});
const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
const figures: SimulateFigures = {
  state,
  playedDays: lastedMs / DAY,
  ...(found === undefined ? {} : { foundAfterHours: found.afterMs / HOUR }),
  wallSeconds: (performance.now() - startedAt) / 1000,
  cpuSeconds: (userCPUTime + systemCPUTime) / 1e6,
  peakMebibytes: maxRSS / 1024,
};
process.send?.(figures, () => process.disconnect());
