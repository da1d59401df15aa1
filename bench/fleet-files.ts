/**
 * The files of a large fleet, as people keep them: of twenty, one rollout, eight distribution sets, eight sites, and one each
 * of flags, groups and device lists, some hundred files to a folder.
 */

/** Files of one folder. */
const FOLDER_FILES = 200;

/** `count` files by path. Rollouts `app-1` … each have a product of their own. */
export function fleetFiles(count: number): Map<string, string> {
  const files = new Map([['fleet/fleet.yaml', documentOf('Fleet', 'bench', 'spec: {}')]]);
  for (let n = 1; files.size < count; n++) {
    const group = Math.ceil(n / 20);
    const folder = `part-${Math.ceil(n / FOLDER_FILES)}`;
    const kind = n % 20;
    if (kind === 1) files.set(`fleet/rollouts/${folder}/app-${group}.yaml`, rolloutOf(group, '1.0.0'));
    else if (kind <= 9 && kind > 1)
      files.set(
        `fleet/distribution-sets/${folder}/app-${group}-1.${kind - 2}.0.yaml`,
        setOf(group, `1.${kind - 2}.0`),
      );
    else if (kind >= 10 && kind <= 17) files.set(`fleet/sites/${folder}/site-${n}.yaml`, siteOf(n));
    else if (kind === 18) files.set(`fleet/flags/${folder}/flag-${group}.yaml`, flagOf(group));
    else if (kind === 19) files.set(`fleet/groups/${folder}/group-${group}.yaml`, groupOf(group));
    else files.set(`fleet/devices/${folder}/devices-${group}.yaml`, devicesOf(group));
  }
  return files;
}

export function rolloutOf(group: number, version: string): string {
  return documentOf(
    'Rollout',
    `app-${group}`,
    `spec:
  owner: app-oncall
  runbook: https://wiki.example/app
  distributionSet: app-${group}@${version}
  targetCondition: tags.product = 'app-${group}' AND tags.environment = 'prod'
  priority: ${group}
  gates:
    health: runtime_healthy && adapter_connected
    telemetry: gap < 10s && drops == 0
  stages:
  - {name: canary, size: all, soak: 10m, successThreshold: 95%, errorThreshold: 3%}
  - {name: batch, size: all, soak: 6h, successThreshold: 95%, errorThreshold: 3%}
  - {name: fleet, size: all}`,
  );
}

export function setOf(group: number, version: string): string {
  return documentOf(
    'DistributionSet',
    `app-${group}@${version}`,
    `spec:
  modules:
  - {name: app, version: ${version}, type: container, image: registry.example/app-${group}:${version}, env: {MODE: prod}}
  - {name: adapter, version: ${version}, type: container, image: registry.example/adapter:${version}}`,
  );
}

function siteOf(n: number): string {
  return documentOf(
    'Site',
    `site-${n}`,
    `spec:
  site: site-${n}
  overrides:
    pollInterval: 5m
    installWindow: {cron: "${n % 60} 2 * * *", duration: 4h, timezone: Europe/Berlin}`,
  );
}

function flagOf(group: number): string {
  return documentOf(
    'Flag',
    `flag-${group}`,
    `spec:
  owner: app-oncall
  values: {on: true, off: false}
  default: off
  rules:
  - {targetCondition: {group: group-${group}}, percentage: 25%, variant: on}`,
  );
}

function groupOf(group: number): string {
  return documentOf('Group', `group-${group}`, `spec: {targetCondition: "tags.site = 'site-${group}'"}`);
}

function devicesOf(group: number): string {
  const devices = Array.from(
    { length: 5 },
    (_, at) => `  - {id: device-${group}-${at}, tags: {ring: early, site: site-${group}}}`,
  );
  return documentOf('DeviceList', `devices-${group}`, `spec:\n  devices:\n${devices.join('\n')}`);
}

function documentOf(kind: string, name: string, rest: string): string {
  return `apiVersion: tidegate.dev/v1\nkind: ${kind}\nmetadata: {name: ${name}}\n${rest}\n`;
}
