/** Rules about files, before it matters what they say. */
import { defineRules } from './rule.ts';

const FLAG = 'fleet/flags/night-setback.yaml';

export const FILE_RULES = defineRules({
  yaml: {
    class: 'error',
    source: 'documents',
    summary: 'The file is not YAML 1.2, or uses something of YAML that documents do without.',
    why: 'What cannot be read cannot be checked. Tags, keys that are no texts and half characters are read differently by different programs, so documents have none of them.',
    fix: 'correct the place that is named; what follows it is often a consequence of it',
    example: {
      file: FLAG,
      bad: `apiVersion: tidegate.dev/v1
kind: Flag
metadata: {name: night-setback}
spec:
  owner: hvac-apps
  values: {on: true, off: false
  default: off
`,
      good: `apiVersion: tidegate.dev/v1
kind: Flag
metadata: {name: night-setback}
spec:
  owner: hvac-apps
  values: {on: true, off: false}
  default: off
`,
    },
  },
  encoding: {
    class: 'error',
    source: 'documents',
    summary: 'The file is not UTF-8.',
    why: 'In another encoding the same bytes are other words, and nobody would know which.',
    fix: 'save the file as UTF-8',
  },
  'too-large': {
    class: 'error',
    source: 'documents',
    summary: 'A document has more than 1 MiB.',
    why: 'No document that people write comes near it. Every server reads every document.',
    fix: 'split it into several documents',
  },
  'too-deep': {
    class: 'error',
    source: 'documents',
    summary: 'Values are nested more than 64 deep.',
    why: 'No document needs it, and reading it could take a server down.',
    fix: 'write the value with less nesting',
  },
  aliases: {
    class: 'error',
    source: 'documents',
    summary: 'Aliases of a file stand for more than 10,000 values.',
    why: 'A few lines of aliases that name aliases can stand for more values than a machine has memory.',
    fix: 'write the values out',
  },
  'duplicate-key': {
    class: 'error',
    source: 'documents',
    summary: 'A mapping has one key twice.',
    why: 'One of the two would count, and readers would believe the other.',
    fix: 'keep one of the two',
    example: {
      spec: 'Rollout',
      bad: 'priority: 10\npriority: 20\n',
      good: 'priority: 20\n',
    },
  },
  'no-document': {
    class: 'error',
    source: 'documents',
    summary: 'A YAML file below fleet/ or ops/ is empty, or holds nothing but comments.',
    why: 'It may be a document that got lost.',
    fix: 'write the document or delete the file',
    example: {
      file: FLAG,
      bad: '# To be written.\n',
      good: `apiVersion: tidegate.dev/v1
kind: Flag
metadata: {name: night-setback}
spec: {owner: hvac-apps, values: {on: true, off: false}, default: off}
`,
    },
  },
  'one-document': {
    class: 'error',
    source: 'documents',
    summary: 'A file holds a second document.',
    why: 'A file is what a commit shows as changed and what a problem names; with two documents in it neither says which.',
    fix: 'move the second document to a file of its own',
    example: {
      file: FLAG,
      bad: `apiVersion: tidegate.dev/v1
kind: Flag
metadata: {name: night-setback}
spec: {owner: hvac-apps, values: {on: true, off: false}, default: off}
---
apiVersion: tidegate.dev/v1
kind: Flag
metadata: {name: eco-mode}
spec: {owner: hvac-apps, values: {on: true, off: false}, default: off}
`,
      good: `apiVersion: tidegate.dev/v1
kind: Flag
metadata: {name: night-setback}
spec: {owner: hvac-apps, values: {on: true, off: false}, default: off}
`,
    },
  },
  'too-many': {
    class: 'error',
    source: 'documents',
    summary: 'A file has more than 100 problems; the others are not listed.',
    why: 'A file like this is wrong as a whole, mostly for one reason.',
    fix: 'correct the first problems and validate again',
  },
  link: {
    class: 'error',
    source: 'documents',
    summary: 'There is a symbolic link or a submodule below fleet/ or ops/.',
    why: 'A snapshot is one git tree. What a link leads to is not in it, and may be different tomorrow.',
    fix: 'put the files themselves there',
  },
  unreadable: {
    class: 'error',
    source: 'folder',
    summary: 'A file or folder cannot be read on this machine.',
    why: 'What is in it was not checked.',
    fix: 'give yourself the right to read it',
  },
  'document-folder': {
    class: 'advice',
    source: 'folder',
    summary: 'A folder is called like a document.',
    why: 'Whoever looks for a document of that name finds a folder, and git records nothing of it while it is empty.',
    fix: 'give the folder a name that does not end in .yaml or .yml',
  },
  'large-file': {
    class: 'advice',
    source: 'folder',
    summary: 'A file below fleet/, ops/ or trust/ has more than 1 MiB.',
    why: 'Everybody who clones the repository, and every server, gets each version of it for ever. It is most often a firmware image that was added by mistake.',
    fix: 'keep the file where devices download it, and say so in a distribution set: `tidegate artifact add FILE` prints what to write',
  },
  'blob-too-large': {
    class: 'policy',
    source: 'folder',
    summary: 'A file below fleet/, ops/ or trust/ has more than 50 MiB.',
    why: 'GitHub warns of files of more than 50 MiB and refuses a push with one of more than 100 MiB; once it is committed, deleting it in a later commit does not help. A server that reads the repository takes the whole pack into memory.',
    fix: 'take the file out before you push, keep it where devices download it, and say so in a distribution set: `tidegate artifact add FILE` prints what to write',
  },
});
