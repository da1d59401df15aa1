/** A fleet of thermostats in as few words as possible, as files of a working folder. */
import type { SourceFile } from '../../src/documents/load.ts';
import { type Experiment, type ExperimentInput, prepareExperiment } from '../../src/simulate/experiment.ts';
import { parseFault } from '../../src/simulate/fault.ts';

interface ThermostatFiles {
  readonly gates?: string;
  readonly stages?: string;
  readonly condition?: string;
  /** Further lines of the spec. */
  readonly more?: string;
  readonly version?: string;
}

const STAGES =
  '[{name: canary, size: 10%, soak: 2h, errorThreshold: 20%}, {name: fleet, size: all, soak: 2h, errorThreshold: 20%}]';

export function thermostats(given: ThermostatFiles = {}): readonly SourceFile[] {
  const { gates = '{health: healthy, crashes: {events: crash}}', stages = STAGES, version = '2.0.0' } = given;
  const files = {
    'fleet/fleet.yaml':
      'apiVersion: tidegate.dev/v1\nkind: Fleet\nmetadata: {name: homes}\nspec: {pollInterval: 15m}\n',
    [`fleet/distribution-sets/thermostat-${version}.yaml`]: `apiVersion: tidegate.dev/v1
kind: DistributionSet
metadata: {name: thermostat@${version}}
spec: {modules: [{name: firmware, version: ${version}, type: firmware}]}
`,
    'fleet/rollouts/thermostat.yaml': `apiVersion: tidegate.dev/v1
kind: Rollout
metadata: {name: thermostat}
spec:
  owner: hvac
  distributionSet: thermostat@${version}
  targetCondition: ${given.condition ?? "tags.product = 'thermostat'"}
  priority: 10
  gates: ${gates}
  stages: ${stages}
${given.more ?? ''}`,
  };
  return Object.entries(files).map(([path, text]) => ({ path, content: new TextEncoder().encode(text) }));
}

/** Throws where it cannot be played. */
export function experiment(
  files: readonly SourceFile[],
  given: Partial<Omit<ExperimentInput, 'files' | 'faults'>> & { readonly faults?: readonly string[] } = {},
): Experiment {
  const faults = (given.faults ?? []).map((text) => {
    const parsed = parseFault(text);
    if (!parsed.ok) throw new Error(parsed.message);
    return parsed.fault;
  });
  const prepared = prepareExperiment({ rollout: 'thermostat', devices: 1000, ...given, files, faults });
  if (prepared.kind !== 'ready') throw new Error(JSON.stringify(prepared));
  return prepared.experiment;
}
