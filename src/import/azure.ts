/**
 * Azure IoT Edge deployments → distribution sets and rollouts: what `az iot edge deployment show` and `list` print, IoT
 * Hub's `GET /configurations`, and bare deployment manifests. Layered deployments are refused: Azure lays them over a
 * base per device, and here a device gets one rollout, nothing is merged.
 */

import { parseCondition } from '../core/target/condition.ts';
import { isPlaceholder } from '../documents/policy.ts';
import { parseImage } from './image.ts';
import { ImportDesk, type Imported } from './imported.ts';
import type { JsonPlace } from './json-place.ts';
import { isLabel, Names, nameFrom, versionFrom } from './names.ts';
import { priorities } from './priorities.ts';
import { GATES, OWNER_UNKNOWN, STAGES, START } from './rollout-defaults.ts';
import { looksSecret } from './secrets.ts';

export interface AzureOptions {
  /** Who answers for what is imported, where no label says so. */
  readonly owner?: string;
}

/** The deployments in what was exported: one, a list, or a page of a list. */
export function azureDeployments(places: readonly JsonPlace[]): JsonPlace[] {
  return places.flatMap((place) => {
    if (place.isList) return azureDeployments(place.items);
    for (const key of ['value', 'items'])
      if (place.at(key).isList) return azureDeployments(place.at(key).items);
    const isDeployment = place.at('content').isMapping || place.at('modulesContent').isMapping;
    return isDeployment ? [place] : [];
  });
}

export function importAzure(deployments: readonly JsonPlace[], options: AzureOptions): Imported {
  const desk = new ImportDesk();
  const names = { rollouts: new Names(), sets: new Names() };
  const ranks = priorities(deployments.map(rankOf));
  for (const [at, deployment] of deployments.entries()) {
    importDeployment(deployment, { desk, names, options, priority: ranks[at] ?? 1 });
  }
  return desk.result;
}

function rankOf(deployment: JsonPlace) {
  return {
    priority: deployment.at('priority').number ?? 0,
    createdAt: deployment.at('createdTimeUtc').text ?? '',
  };
}

interface Context {
  readonly desk: ImportDesk;
  readonly names: { readonly rollouts: Names; readonly sets: Names };
  readonly options: AzureOptions;
  readonly priority: number;
}

function importDeployment(deployment: JsonPlace, context: Context): void {
  const { desk, names } = context;
  const content = deployment.has('modulesContent')
    ? deployment.at('modulesContent')
    : deployment.at('content', 'modulesContent');
  const id = deployment.at('id').text ?? fileStem(deployment.file);
  if (!content.isMapping) {
    desk.say(
      'refused',
      deployment.at('content'),
      `${id} configures device or module twins, not what devices install`,
      'values that devices ask for are flags: fleet/flags/',
    );
    return;
  }
  const agent = content.at('$edgeAgent', 'properties.desired');
  if (!agent.isMapping) {
    desk.say(
      'refused',
      content.at('$edgeAgent'),
      `${id} is a layered deployment, and a device gets one rollout: nothing is laid over another`,
      'for each base deployment that it meets, copy the base set under a new name, put the modules and routes of this layer into it, and roll that out with a larger priority to base condition AND layer condition',
    );
    return;
  }
  const base = nameFrom(withoutVersion(id)) ?? 'deployment';
  const version = versionFrom(versionIn(id) ?? deployment.at('labels', 'version').text ?? '1') ?? '1';
  const set = names.sets.take(base, `@${version}`);
  const spec = distributionSet(content, desk);
  if (spec === undefined) {
    desk.say(
      'refused',
      deployment,
      `${id} has a module that cannot be installed from what stands there`,
      'correct the module that is named before this, and import again',
    );
    return;
  }
  desk.make('DistributionSet', set, { from: `deployment ${id}`, metadata: { name: set }, spec });
  sayTwins(content, desk);
  if (deployment.has('content')) importRollout(deployment, { ...context, id, set });
  else {
    const next = 'write a rollout that names the set: fleet/rollouts/';
    desk.say('know', deployment, 'a deployment manifest alone does not say which devices it is for', next);
  }
}

/** `content.modulesContent` as a set's spec; undefined where a module has no image that can be installed. */
function distributionSet(content: JsonPlace, desk: ImportDesk): Record<string, unknown> | undefined {
  const agent = content.at('$edgeAgent', 'properties.desired');
  const names = new Names();
  const renamed = new Map<string, string>();
  const modules: Record<string, unknown>[] = [];
  let isWhole = true;
  for (const kind of ['systemModules', 'modules']) {
    for (const [written, place] of agent.at(kind).entries) {
      const name = names.take(nameFrom(written) ?? 'module');
      if (name !== written) renamed.set(written, name);
      if (name !== written && kind === 'modules') sayRenamed(place, name, desk);
      const module = importModule(place, { name, credentials: agent.at('runtime', 'settings'), desk });
      if (module === undefined) isWhole = false;
      else modules.push(module);
    }
  }
  if (!isWhole) return undefined;
  if (agent.at('systemModules').entries.length > 0) {
    desk.say(
      'know',
      agent.at('systemModules'),
      "Azure's runtime is carried over as ordinary modules, edgeagent and edgehub",
      'take them out of the set where devices leave that runtime',
    );
  }
  sayRuntime(agent.at('runtime', 'settings'), desk);
  const routes = importRoutes(content.at('$edgeHub', 'properties.desired'), renamed, desk);
  return { modules, ...(Object.keys(routes).length === 0 ? {} : { routes }) };
}

function sayRenamed(module: JsonPlace, name: string, desk: ImportDesk): void {
  desk.say(
    'know',
    module,
    `the module is called ${name} here: names have lower-case letters, digits, dashes and dots`,
    'routes are changed accordingly; where another module reaches it by its old name, change that',
  );
}

const MODULE_STATUS = new Set(['running', 'stopped']);
const RESTART_POLICIES = new Set(['always', 'on-failure', 'on-unhealthy', 'never']);

function importModule(
  place: JsonPlace,
  {
    name,
    credentials,
    desk,
  }: { readonly name: string; readonly credentials: JsonPlace; readonly desk: ImportDesk },
): Record<string, unknown> | undefined {
  const settings = place.at('settings');
  const reference = parseImage(settings.at('image').text ?? '');
  if (reference === undefined) {
    const next = 'write registry/name:tag, with every placeholder filled in, and import again';
    desk.say('refused', settings.at('image'), 'this is no image reference that a device could pull', next);
    return undefined;
  }
  if (reference.isMovable) {
    desk.say(
      'act',
      settings.at('image'),
      'the image has neither a version tag nor a digest, so what it means can change without a commit',
      'name a tag, or best a digest, in the distribution set',
    );
  }
  for (const [key, option] of settings.entries) {
    if (!/^createoptions\d*$/i.test(key) || !saysSomething(option)) continue;
    desk.say(
      'act',
      option,
      'options of the container (ports, volumes, privileges) have no place in a distribution set',
      "put them into the configuration of the devices' container engine, or into the image",
    );
  }
  sayIgnored(place, desk);
  const status = place.at('status').text;
  const restartPolicy = place.at('restartPolicy').text;
  const credential = credentialFor(reference.registry, credentials);
  const env = importEnv(place.at('env'), desk);
  const type = place.at('type').text ?? 'docker';
  return {
    name,
    version: reference.version,
    type: /^[a-z][a-z0-9-]{0,62}$/.test(type) ? type : 'docker',
    ...(status !== undefined && MODULE_STATUS.has(status) ? { status } : {}),
    ...(restartPolicy !== undefined && RESTART_POLICIES.has(restartPolicy) ? { restartPolicy } : {}),
    image: reference.image,
    ...(credential === undefined ? {} : { registryCredential: credential }),
    ...(Object.keys(env).length === 0 ? {} : { env }),
  };
}

/** Options are JSON in a text, `{}` where there are none. */
function saysSomething({ value }: JsonPlace): boolean {
  if (typeof value === 'string') return !['', '{}', 'null'].includes(value.trim());
  return typeof value === 'object' && value !== null && Object.keys(value).length > 0;
}

function sayIgnored(module: JsonPlace, desk: ImportDesk): void {
  const pull = module.at('imagePullPolicy');
  if (pull.text === 'never') {
    const next = 'put the image onto the devices before, or let them pull it';
    desk.say('act', pull, 'whether a device pulls the image is its own affair here', next);
  }
  const order = module.at('startupOrder');
  if (order.number !== undefined && order.number !== UNORDERED) {
    const next = 'let modules wait for what they need, or order them on the device';
    desk.say('act', order, 'modules have no order of starting here', next);
  }
}

/** What Azure takes for `startupOrder` where nothing is said. */
const UNORDERED = 4_294_967_295;

function credentialFor(registry: string, settings: JsonPlace): string | undefined {
  for (const [name, entry] of settings.at('registryCredentials').entries) {
    const address = entry
      .at('address')
      .text?.replace(/^https?:\/\//, '')
      .replace(/\/.*$/, '')
      .toLowerCase();
    if (address === registry) return nameFrom(name);
  }
  return undefined;
}

const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;
const VALUE_LENGTH = 4096;

function importEnv(variables: JsonPlace, desk: ImportDesk): Record<string, string> {
  const env: Record<string, string> = {};
  for (const [name, entry] of variables.entries) {
    // Deployment templates write the value alone.
    const place = entry.isMapping ? entry.at('value') : entry;
    if (place.isNothing) continue;
    const text = place.scalar ?? JSON.stringify(place.value);
    if (looksSecret(name, text)) {
      const next = 'keep it on the devices, where the module reads it';
      desk.say('act', entry, `${name} looks like a secret, and a repository keeps what it once had`, next);
    } else if (!VARIABLE.test(name) || text.length > VALUE_LENGTH) {
      const expected = 'letters, digits and _ in its name, and at most 4096 characters';
      desk.say('act', entry, `a variable has ${expected}`, 'rename or shorten it in the image, too');
    } else env[name] = text;
  }
  return env;
}

function sayRuntime(settings: JsonPlace, desk: ImportDesk): void {
  for (const [name, entry] of settings.at('registryCredentials').entries) {
    desk.say(
      'act',
      entry,
      'user and password of a registry never lie in git; modules that pull from there name the credential',
      `give devices the login under the name ${nameFrom(name) ?? 'of your choice'}`,
    );
  }
  if (saysSomething(settings.at('loggingOptions'))) {
    const next = "set them in the configuration of the devices' container engine";
    desk.say('act', settings.at('loggingOptions'), 'options of logging have no place here', next);
  }
}

const ROUTE_NAME = /^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$/;
const ROUTE_LENGTH = 1024;

function importRoutes(
  hub: JsonPlace,
  renamed: ReadonlyMap<string, string>,
  desk: ImportDesk,
): Record<string, string> {
  const routes: Record<string, string> = {};
  for (const [name, place] of hub.at('routes').entries) {
    const text = place.text ?? place.at('route').text;
    if (text === undefined || text === '') continue;
    if (!ROUTE_NAME.test(name) || text.length > ROUTE_LENGTH) {
      const why = "a route's name has letters, digits and . _ / -, and the route at most 1024 characters";
      desk.say('act', place, why, 'rename or shorten it, and add it to the set');
      continue;
    }
    routes[name] = text.replaceAll(
      /(\/modules\/)([A-Za-z0-9_.-]+)/g,
      (whole, before: string, module: string) =>
        renamed.has(module) ? `${before}${renamed.get(module)}` : whole,
    );
    for (const key of ['priority', 'timeToLiveSecs']) {
      if (place.at(key).isNothing) continue;
      const next = 'set it where messages are forwarded';
      desk.say('act', place.at(key), 'routes have neither a priority nor a time to live here', next);
    }
  }
  for (const key of ['storeAndForwardConfiguration', 'mqttBroker']) {
    if (!saysSomething(hub.at(key))) continue;
    const next = 'set it where messages are forwarded, for example in an env of the hub';
    desk.say('act', hub.at(key), "settings of Azure's hub have no place here", next);
  }
  return routes;
}

/** Desired properties of single modules. */
function sayTwins(content: JsonPlace, desk: ImportDesk): void {
  for (const [module, place] of content.entries) {
    if (module === '$edgeAgent' || module === '$edgeHub' || !saysSomething(place)) continue;
    desk.say(
      'act',
      place,
      "desired properties of a module's twin have no place in a distribution set",
      'what is fixed goes into env; what is switched while it runs is a flag: fleet/flags/',
    );
  }
}

function importRollout(
  deployment: JsonPlace,
  { desk, names, options, priority, id, set }: Context & { readonly id: string; readonly set: string },
): void {
  const condition = deployment.at('targetCondition');
  const targetCondition = condition.text?.trim() ?? '';
  const parsed = parseCondition(targetCondition);
  sayMetrics(deployment, desk);
  if (targetCondition === '') {
    const why = `${id} has no target condition, so Azure gives it to no device; the set is made, a rollout is not`;
    desk.say('refused', condition, why, 'write a rollout with a condition, or leave it');
    return;
  }
  if (!parsed.ok) {
    const next = 'change the condition, giving devices a tag if need be, and import again';
    desk.say('refused', condition, `the target condition of ${id} is none here: ${parsed.message}`, next);
    return;
  }
  const written = deployment.at('priority');
  if (written.number !== priority) {
    const why = `the priority is ${priority} here: it is positive, and of equal ones the newer wins there, which a commit of all of them cannot say`;
    desk.say('know', written, why, 'nothing, the order is the same');
  }
  const { labels, owner } = importLabels(deployment, options, desk);
  const name = names.rollouts.take(nameFrom(id) ?? 'deployment');
  desk.say(
    'know',
    deployment,
    'Azure gives a deployment to every device at once; the rollout has stages and gates of its own, and waits',
    'change the stages as you like, and set start: onMerge when it may begin',
  );
  desk.make('Rollout', name, {
    from: `deployment ${id}`,
    metadata: { name, ...(Object.keys(labels).length === 0 ? {} : { labels }) },
    spec: {
      owner,
      distributionSet: set,
      targetCondition,
      priority,
      start: START,
      gates: GATES,
      stages: STAGES,
    },
  });
}

function importLabels(deployment: JsonPlace, options: AzureOptions, desk: ImportDesk) {
  const labels: Record<string, string> = {};
  for (const [key, place] of deployment.at('labels').entries) {
    const text = place.scalar;
    if (text === undefined) continue;
    if (looksSecret(key, text)) desk.say('act', place, `${key} looks like a secret`, 'keep it elsewhere');
    else if (isLabel(key, text)) labels[key] = text;
    else {
      const expected = 'letters, digits and . _ / - in its key, and at most 128 characters';
      desk.say('know', place, `a label has ${expected}`, 'shorten it, or make it an annotation');
    }
  }
  const said = [options.owner, labels['owner'], labels['team']].find(
    (each) => each !== undefined && !isPlaceholder(each),
  );
  if (said === undefined) {
    const next = 'set spec.owner, or import with --owner';
    desk.say('act', deployment.at('labels'), 'nothing says who answers for it', next);
  }
  return { labels, owner: said ?? OWNER_UNKNOWN };
}

function sayMetrics(deployment: JsonPlace, desk: ImportDesk): void {
  for (const [, place] of deployment.at('metrics', 'queries').entries) {
    desk.say(
      'act',
      place,
      'a query over device twins cannot be asked here: devices report signals',
      'let devices report the signal that it asks for, and judge by it in a gate; tidegate status counts what has been updated and what has failed',
    );
  }
}

const VERSION_AT_END = /[-_:@]v?(\d+(?:\.\d+)+(?:[-+][A-Za-z0-9.]+)?)$/;

function versionIn(id: string): string | undefined {
  return VERSION_AT_END.exec(id)?.[1];
}

function withoutVersion(id: string): string {
  return id.replace(VERSION_AT_END, '');
}

/** `exports/edge.deployment.json` → `edge.deployment`. */
function fileStem(file: string): string {
  return file
    .replace(/ \(\d+\)$/, '')
    .replace(/^.*[\\/]/, '')
    .replace(/\.json$/i, '');
}
