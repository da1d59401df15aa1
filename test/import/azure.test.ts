import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fromAzure, problemsOf, saidOf, specOf } from './translated.ts';

const EXPORT = JSON.parse(await readFile(new URL('exports/azure-deployments.json', import.meta.url), 'utf8'));

interface Given {
  readonly id?: string;
  readonly priority?: number;
  readonly condition?: string;
  readonly image?: string;
  readonly env?: object;
  readonly labels?: object;
  readonly createdAt?: string;
  readonly modules?: object;
}

function deployment(given: Given = {}): object {
  const { id = 'kiosk', priority = 10, condition = "tags.environment = 'prod'", labels = {} } = given;
  const module = {
    type: 'docker',
    status: 'running',
    restartPolicy: 'always',
    settings: { image: given.image ?? 'registry.example/kiosk:1.2.0' },
    ...(given.env === undefined ? {} : { env: given.env }),
  };
  const desired = { schemaVersion: '1.1', systemModules: {}, modules: given.modules ?? { kiosk: module } };
  return {
    id,
    priority,
    targetCondition: condition,
    labels,
    ...(given.createdAt === undefined ? {} : { createdTimeUtc: given.createdAt }),
    content: { modulesContent: { $edgeAgent: { 'properties.desired': desired } } },
  };
}

test('an exported list becomes documents that validate as they stand', () => {
  const imported = fromAzure(EXPORT);
  expect(problemsOf(imported)).toEqual([]);
  expect(imported.documents.map(({ path }) => path)).toEqual([
    'fleet/distribution-sets/air-prod-3.2.1.yaml',
    'fleet/rollouts/air-prod-3.2.1.yaml',
    'fleet/distribution-sets/fallback-empty-1.yaml',
    'fleet/rollouts/fallback-empty.yaml',
    'fleet/distribution-sets/probe-1.yaml',
  ]);
});

test('no secret of the export is in a document or a message', () => {
  const text = JSON.stringify(fromAzure(EXPORT));
  for (const secret of ['hunter2', 'bm90LWEta2V5', 'puller']) expect(text).not.toContain(secret);
});

test('modules keep image, policies and variables; the version is the tag, or the beginning of the digest', () => {
  const spec = specOf(fromAzure(EXPORT), 'DistributionSet', 'air-prod@3.2.1');
  expect(spec.modules.slice(2)).toEqual([
    {
      name: 'airquality',
      version: '3.2.1-arm64',
      type: 'docker',
      status: 'running',
      restartPolicy: 'on-unhealthy',
      image: 'acme.azurecr.io/air/quality:3.2.1-arm64',
      registryCredential: 'acmeregistry',
      env: { LOG_LEVEL: 'info', SAMPLE_SECONDS: '30' },
    },
    {
      name: 'uploader',
      version: 'sha256-3c9a1f7e5d2b',
      type: 'docker',
      status: 'stopped',
      restartPolicy: 'always',
      image:
        'docker.io/library/uploader@sha256:3c9a1f7e5d2b4a6880c1d3e5f7092b4d6e8fa0c2e4062848a6c8eaf0d2b4968a',
    },
  ]);
});

test('routes follow modules that are called otherwise here', () => {
  expect(specOf(fromAzure(EXPORT), 'DistributionSet', 'air-prod@3.2.1').routes).toEqual({
    AirToCloud: 'FROM /messages/modules/airquality/outputs/* INTO $upstream',
    upload: 'FROM /messages/modules/uploader/* INTO $upstream',
  });
});

test('a rollout waits, begins with few devices and has gates, whatever it was there', () => {
  expect(specOf(fromAzure(EXPORT), 'Rollout', 'air-prod-3.2.1')).toMatchObject({
    targetCondition: "tags.environment='prod' AND NOT tags.location.building = '20'",
    start: 'manual',
    gates: { unresponsive: { use: 'unresponsive' } },
    stages: [
      { name: 'canary', size: '1%', errorThreshold: 1 },
      { name: 'batch' },
      { name: 'fleet', size: 'all' },
    ],
  });
});

test('what is not carried over is listed with its place, the worst first to be found by its weight', () => {
  const said = saidOf(fromAzure(EXPORT));
  const agent = '/0/content/modulesContent/$edgeAgent/properties.desired';
  expect(said).toEqual(
    expect.arrayContaining([
      'refused /2/content/modulesContent/$edgeAgent',
      'refused /3/content',
      'refused /4/targetCondition',
      `act ${agent}/modules/AirQuality/settings/createOptions`,
      `act ${agent}/modules/AirQuality/env/SensorConnectionString`,
      `act ${agent}/modules/AirQuality/startupOrder`,
      `act ${agent}/runtime/settings/registryCredentials/AcmeRegistry`,
      'act /0/content/modulesContent/$edgeHub/properties.desired/routes/AirToCloud/timeToLiveSecs',
      'act /0/content/modulesContent/AirQuality',
      'act /0/metrics/queries/tooWarm',
      'know /0/priority',
    ]),
  );
  expect(said.filter((each) => each.includes('uploader'))).toEqual([]);
});

test('a layered deployment is refused, and told how to become a rollout', () => {
  const { notCarried } = fromAzure(EXPORT);
  const layered = notCarried.find(({ why }) => why.includes('layered'));
  expect(layered?.next).toMatch(/copy the base set.*larger priority.*base condition AND layer condition/);
});

describe('priorities', () => {
  const of = (...given: readonly Given[]) => {
    const imported = fromAzure(given.map((each, at) => deployment({ ...each, id: `d${at}` })));
    return imported.documents.filter(({ kind }) => kind === 'Rollout').map(({ spec }) => spec['priority']);
  };

  test('stay as they are where they can', () => {
    expect(of({ priority: 5 }, { priority: 70 }, { priority: 10 })).toEqual([5, 70, 10]);
  });

  test('are moved up together where one is 0', () => {
    expect(of({ priority: 0 }, { priority: 10 })).toEqual([1, 11]);
  });

  test('of equal ones the newer is the larger, and all others keep their order', () => {
    const older = { priority: 10, createdAt: '2025-01-01T00:00:00Z' };
    const newer = { priority: 10, createdAt: '2025-06-01T00:00:00Z' };
    expect(of(newer, older, { priority: 11 })).toEqual([11, 10, 12]);
  });
});

describe('one deployment', () => {
  test.each([
    ['a single document', deployment()],
    ['a list', [deployment()]],
    ['a page', { value: [deployment()] }],
  ])('is read from %s', (_what, value) => {
    expect(fromAzure(value).documents.map(({ kind }) => kind)).toEqual(['DistributionSet', 'Rollout']);
  });

  test('a manifest alone becomes a set, since it does not say for whom', () => {
    const { content } = deployment() as { content: object };
    expect(fromAzure(content).documents.map(({ kind }) => kind)).toEqual(['DistributionSet']);
  });

  test('an empty target condition, which there means no device, makes no rollout', () => {
    const imported = fromAzure(deployment({ condition: '' }));
    expect(imported.documents.map(({ kind }) => kind)).toEqual(['DistributionSet']);
    expect(saidOf(imported)).toContain('refused /targetCondition');
  });

  test('a placeholder of a template for an image refuses the whole deployment', () => {
    const imported = fromAzure(deployment({ image: '{MODULES.Kiosk.amd64}' }));
    expect(imported.documents).toEqual([]);
    expect(imported.notCarried[0]).toMatchObject({
      weight: 'refused',
      pointer: '/content/modulesContent/$edgeAgent/properties.desired/modules/kiosk/settings/image',
    });
  });

  test('no modules at all are an empty list, so that devices take everything away', () => {
    const imported = fromAzure(deployment({ modules: {} }));
    expect(specOf(imported, 'DistributionSet')).toEqual({ modules: [] });
    expect(problemsOf(imported)).toEqual([]);
  });

  test.each([
    ['a password', 'DB_PASSWORD', 'x'],
    [
      'a key in a connection string',
      'UPSTREAM',
      'Endpoint=sb://x;SharedAccessKeyName=a;SharedAccessKey=abc=',
    ],
    ['a login in an address', 'PROXY', 'http://user:word@proxy.example'],
    ['a JSON web token', 'LICENCE', 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc'],
    ['a private key', 'PEM', '-----BEGIN RSA PRIVATE KEY-----\nabc'],
  ])('%s does not get into a set', (_what, name, value) => {
    const imported = fromAzure(deployment({ env: { [name]: { value }, LOG_LEVEL: { value: 'info' } } }));
    expect(specOf(imported, 'DistributionSet').modules[0].env).toEqual({ LOG_LEVEL: 'info' });
    expect(saidOf(imported).some((each) => each.endsWith(`/env/${name}`))).toBe(true);
  });

  test('its owner is who is named, a label, or nobody and then something to do', () => {
    const ownerOf = (labels: object, owner?: string) =>
      specOf(fromAzure(deployment({ labels }), owner === undefined ? {} : { owner }), 'Rollout').owner;
    expect(ownerOf({ team: 'kiosks' }, 'ada')).toBe('ada');
    expect(ownerOf({ team: 'kiosks' })).toBe('kiosks');
    expect(ownerOf({})).toBe('owner-to-be-named');
    expect(saidOf(fromAzure(deployment(), {}))).toContain('act /labels');
  });
});

test('whatever is in an export, what is made of it validates', () => {
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom('', 'Ä b', 'x'.repeat(200), "a'b", '../../x', '1.2.3', '\ud800', 'a\u0000b'),
  );
  const given = fc.record({
    id: text,
    priority: fc.oneof(fc.integer({ min: 0, max: 2 }), fc.double()),
    condition: fc.constantFrom("tags.a = 'b'", '*', '', 'nonsense'),
    image: fc.constantFrom('a.example/b:1', 'kiosk', 'UPPER/x', 'a/b@sha256:12', '', 'localhost:5000/x:y'),
    env: fc.dictionary(text, fc.record({ value: fc.oneof(text, fc.integer(), fc.boolean()) })),
    labels: fc.dictionary(text, text),
    createdAt: text,
  });
  fc.assert(
    fc.property(fc.array(given, { maxLength: 4 }), (all) => {
      const imported = fromAzure(all.map(deployment));
      expect(problemsOf(imported)).toEqual([]);
      const paths = imported.documents.map(({ path }) => path);
      expect(new Set(paths).size).toBe(paths.length);
      expect(paths.filter((path) => path.includes('..'))).toEqual([]);
    }),
    { numRuns: 100 },
  );
});
