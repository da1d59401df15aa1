/** Rules about what a document says, and what documents say of each other. */
import { defineRules } from './rule.ts';

export const DOCUMENT_RULES = defineRules({
  schema: {
    class: 'error',
    source: 'documents',
    summary: 'A value is not of the form that its key asks for.',
    why: 'Nobody can tell what was meant, and a guess would reach devices.',
    fix: 'write the value as the message says; the schema of the kind describes every key',
    example: {
      spec: 'Rollout',
      bad: 'priority: high\n',
      good: 'priority: 10\n',
    },
  },
  'unknown-key': {
    class: 'error',
    source: 'documents',
    summary: 'A key is none that the document may have.',
    why: 'It would be read by nobody: a misspelt errorThreshold would leave the default in force.',
    fix: 'correct the spelling or take the key away',
    example: {
      spec: 'Rollout',
      bad: 'errorTreshold: 1%\n',
      good: 'errorThreshold: 1%\n',
    },
  },
  'missing-key': {
    class: 'error',
    source: 'documents',
    summary: 'A key that the document must have is not there.',
    why: 'There is no value that would be right for everybody.',
    fix: 'add the key',
    example: {
      file: 'fleet/flags/night-setback.yaml',
      bad: `apiVersion: tidegate.dev/v1
kind: Flag
metadata: {name: night-setback}
spec: {owner: hvac-apps, values: {on: true, off: false}}
`,
      good: `apiVersion: tidegate.dev/v1
kind: Flag
metadata: {name: night-setback}
spec: {owner: hvac-apps, values: {on: true, off: false}, default: off}
`,
    },
  },
  fleet: {
    class: 'error',
    source: 'documents',
    summary: 'There is no Fleet document, or there are several.',
    why: 'It says what holds for all devices; two of them could say different things.',
    fix: 'keep exactly one, in fleet/fleet.yaml',
  },
  folder: {
    class: 'error',
    source: 'documents',
    summary: 'A document lies in a folder that is not for its kind.',
    why: 'People look for rollouts in fleet/rollouts/, and give rights to folders.',
    fix: 'move the file to the folder of its kind',
    example: {
      file: 'fleet/gates/kiosks.yaml',
      bad: `apiVersion: tidegate.dev/v1
kind: Group
metadata: {name: kiosks}
spec: {targetCondition: tags.product = 'kiosk'}
`,
      good: `apiVersion: tidegate.dev/v1
kind: Gate
metadata: {name: kiosks}
spec: {expression: screen_on}
`,
    },
  },
  'duplicate-name': {
    class: 'error',
    source: 'documents',
    summary: 'Two documents of a kind, two devices, or two entries of one list have the same name.',
    why: 'Which of them counts would depend on the order in which they are read.',
    fix: 'rename or delete one of the two',
    example: {
      spec: 'DistributionSet',
      bad: `modules:
- {name: app, version: 1.0.0, type: docker}
- {name: app, version: 1.1.0, type: docker}
`,
      good: `modules:
- {name: app, version: 1.0.0, type: docker}
- {name: agent, version: 1.1.0, type: docker}
`,
    },
  },
  'reserved-name': {
    class: 'error',
    source: 'documents',
    summary: 'A stage is called emergency.',
    why: 'That is the name of the stage that an emergency opens, and the record would not tell the two apart.',
    fix: 'give the stage another name',
    example: {
      spec: 'Rollout',
      bad: 'stages:\n- {name: emergency, size: 5%, soak: 1h}\n- fleet: all\n',
      good: 'stages:\n- {name: canary, size: 5%, soak: 1h}\n- fleet: all\n',
    },
  },
  reference: {
    class: 'error',
    source: 'documents',
    summary: 'A document names another one that does not exist.',
    why: 'Nothing can be made of the document without what it names.',
    fix: 'correct the name, or add the document',
    example: {
      spec: 'Rollout',
      bad: 'distributionSet: kiosk@1.0.O\n',
      good: 'distributionSet: kiosk@1.0.0\n',
    },
  },
  'required-module': {
    class: 'error',
    source: 'documents',
    summary: 'A distribution set lacks a module that its type requires.',
    why: 'The fleet says that devices of this type cannot do without it, such as the agent that installs the next version.',
    fix: 'add the module to the set, or take it out of distributionSetTypes in fleet.yaml',
    example: {
      spec: 'DistributionSet',
      bad: 'type: kiosk\nmodules:\n- {name: screen, version: 1.0.0, type: docker}\n',
      good: `type: kiosk
modules:
- {name: screen, version: 1.0.0, type: docker}
- {name: app, version: 1.0.0, type: docker}
`,
    },
  },
  condition: {
    class: 'error',
    source: 'documents',
    summary: 'A target condition cannot be read.',
    why: 'It says which devices are meant.',
    fix: "write it as in tags.product = 'kiosk' AND deviceId <> 'kiosk-7': texts stand in single quotes",
    example: {
      spec: 'Rollout',
      bad: 'targetCondition: tags.product = "kiosk"\n',
      good: "targetCondition: tags.product = 'kiosk'\n",
    },
  },
  gate: {
    class: 'error',
    source: 'documents',
    summary: 'A gate cannot be read, or has keys that do not go together.',
    why: 'A gate that is not understood guards nothing.',
    fix: 'correct it; docs/gates.md has each kind of gate with its keys',
    example: {
      spec: 'Rollout',
      bad: 'gates: {telemetry: gap < 10 seconds}\n',
      good: 'gates: {telemetry: gap < 10s}\n',
    },
  },
  'install-window': {
    class: 'error',
    source: 'documents',
    summary: 'An install window never opens, or is shorter than a minute or longer than it may be.',
    why: 'Devices would wait for it for ever.',
    fix: 'correct cron or duration',
    example: {
      spec: 'Rollout',
      bad: 'installWindow: {cron: "0 25 * * *", duration: 4h}\n',
      good: 'installWindow: {cron: "0 2 * * *", duration: 4h}\n',
    },
  },
  'short-window': {
    class: 'advice',
    source: 'documents',
    summary: 'An install window is shorter than the time between two polls of a device.',
    why: 'A device that asks less often than the window is long may never ask while it is open.',
    fix: 'make the window longer or pollInterval shorter',
    example: {
      spec: 'Rollout',
      bad: 'installWindow: {cron: "0 2 * * *", duration: 5m}\n',
      good: 'installWindow: {cron: "0 2 * * *", duration: 4h}\n',
    },
  },
  'time-zone': {
    class: 'error',
    source: 'documents',
    summary: 'There is no time zone of that name.',
    why: 'Nobody could say when it is 02:00 there.',
    fix: 'write an IANA name such as Europe/Berlin',
    example: {
      spec: 'Fleet',
      bad: 'timezone: Europe/Berlinn\n',
      good: 'timezone: Europe/Berlin\n',
    },
  },
  secret: {
    class: 'error',
    source: 'documents',
    summary: 'The address of a receiver of notices has a password in it, or is one itself.',
    why: 'Whoever can read the repository can use it, also after it was taken out: history keeps it.',
    fix: 'revoke it, put a new one into the environment of the server, and name that with urlFrom',
    example: {
      spec: 'Fleet',
      bad: 'notifications:\n- url: https://tidegate:pa55word@hooks.example/fleet\n',
      good: 'notifications:\n- urlFrom: {env: TIDEGATE_HOOK_FLEET}\n',
    },
  },
  'secret-variable': {
    class: 'policy',
    source: 'documents',
    summary: 'A variable of a module is called like a secret and has a value.',
    why: 'Whoever can read the repository, or has a device, can read it, also after it was taken out: history keeps it.',
    fix: 'keep the secret on the devices, and name here where it lies',
    example: {
      spec: 'DistributionSet',
      bad: 'modules:\n- {name: app, version: 1.0.0, type: docker, env: {API_TOKEN: 0b5cb2f1}}\n',
      good: 'modules:\n- {name: app, version: 1.0.0, type: docker, env: {API_TOKEN_FILE: /run/secrets/api-token}}\n',
    },
  },
  'flag-value': {
    class: 'error',
    source: 'documents',
    summary: 'The values of a flag are not of one type, or one is a number that cannot be kept exactly.',
    why: 'A device asks for a flag as one type, and must get what was written.',
    fix: 'write the values alike; very large numbers as texts',
    example: {
      spec: 'Flag',
      bad: 'values: {on: true, off: "false"}\ndefault: off\n',
      good: 'values: {on: true, off: false}\ndefault: off\n',
    },
  },
  'flag-variant': {
    class: 'error',
    source: 'documents',
    summary: 'A flag names a variant that it has no value for.',
    why: 'Devices would get nothing, or what was meant for others.',
    fix: 'correct the name, or add the variant to spec.values',
    example: {
      spec: 'Flag',
      bad: 'values: {on: true, off: false}\ndefault: of\n',
      good: 'values: {on: true, off: false}\ndefault: off\n',
    },
  },
  'flag-split': {
    class: 'error',
    source: 'documents',
    summary: 'The shares of a split are more than 100% together.',
    why: 'The last ones would get fewer devices than they say.',
    fix: 'lower one of the shares',
    example: {
      spec: 'Flag',
      bad: 'values: {a: 1, b: 2}\ndefault: a\nrules: [{split: {a: 60%, b: 60%}}]\n',
      good: 'values: {a: 1, b: 2}\ndefault: a\nrules: [{split: {a: 50%, b: 50%}}]\n',
    },
  },
  'flag-unreachable': {
    class: 'advice',
    source: 'documents',
    summary: 'An earlier rule of a flag takes every device that a later one is for.',
    why: 'Whoever wrote the later one expects it to do something.',
    fix: 'put the narrower rule first, or remove it',
    example: {
      spec: 'Flag',
      bad: `values: {on: true, off: false}
default: off
rules:
- {variant: off}
- {targetCondition: tags.site = 'lab', variant: on}
`,
      good: `values: {on: true, off: false}
default: off
rules:
- {targetCondition: tags.site = 'lab', variant: on}
- {variant: off}
`,
    },
  },
  'not-yet-enforced': {
    class: 'advice',
    source: 'documents',
    summary: 'A key is accepted and has no effect yet.',
    why: 'Whoever writes it relies on it.',
    fix: 'take it away until it does something',
    example: {
      spec: 'Rollout',
      bad: 'retries: {max: 3}\n',
      good: 'suspend: false\n',
    },
  },
  operation: {
    class: 'error',
    source: 'documents',
    summary: 'An entry in ops/ lacks its stage, or asks for two things that exclude each other.',
    why: 'It would wait for ever and say nothing. The other entries of the file are obeyed.',
    fix: 'write the stage that it is about; an emergency has none',
    example: {
      file: 'ops/kiosk.yaml',
      bad: `apiVersion: tidegate.dev/v1
kind: Operation
metadata: {name: kiosk}
spec:
  operations:
  - {action: approve, attempt: 1, by: ada}
`,
      good: `apiVersion: tidegate.dev/v1
kind: Operation
metadata: {name: kiosk}
spec:
  operations:
  - {action: approve, attempt: 1, stage: fleet, by: ada}
`,
    },
  },
  'unused-allowance': {
    class: 'advice',
    source: 'documents',
    summary: 'An annotation tidegate.dev/allow.<rule> allows nothing.',
    why: 'It is misspelt, has no reason, names a rule that cannot be allowed, or its reason is gone and it would hide the next mistake.',
    fix: 'take the annotation away, or correct the name of the rule',
  },
});
