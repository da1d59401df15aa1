/**
 * Writes docs/rules/ from the registry of rules; with `--check` it writes nothing and exits 1 where a page is missing, stale
 * or left over.
 */
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { rulePage } from '../src/documents/rule-page.ts';
import { RULE_IDS, RULES, type RuleClass } from '../src/documents/rules.ts';

const FOLDER = new URL('../docs/rules/', import.meta.url);

const TITLES: Readonly<Record<RuleClass, readonly [title: string, words: string]>> = {
  error: [
    'Errors',
    'A document with one cannot be used. In `fleet/` it blocks the snapshot: the last good one stays in force.',
  ],
  policy: [
    'Policies',
    'Allowed, and what goes wrong in practice. `tidegate validate` fails; a server warns, and refuses the commit where the fleet has `policy: enforce`.',
  ],
  advice: ['Advice', 'Worth a look. A warning everywhere; with `tidegate validate --strict` warnings fail.'],
};

const ALLOWING = `## Allowing a problem

A document may break a rule of the last two kinds with a reason, in its annotations:

\`\`\`yaml
metadata:
  name: lab-kiosks
  annotations: {tidegate.dev/allow.no-gates: "lab devices only"}
\`\`\`

It is then listed as allowed, with the reason, and neither fails nor warns. An allowance that allows nothing is a
[problem of its own](unused-allowance.md). \`emergency: true\` in the \`spec\` of a rollout allows the rules about going slowly.
`;

const pages = new Map(RULE_IDS.map((id) => [`${id}.md`, rulePage(id)]));
pages.set('README.md', overview());
if (process.argv.includes('--check')) {
  const stale = await differing();
  if (stale.length > 0) {
    console.error(`docs/rules/ is not what the rules give (${stale.join(', ')}); run: npm run generate`);
    process.exitCode = 1;
  }
} else {
  await mkdir(FOLDER, { recursive: true });
  for (const name of await readdir(FOLDER)) if (!pages.has(name)) await rm(new URL(name, FOLDER));
  for (const [name, text] of pages) await writeFile(new URL(name, FOLDER), text);
}

async function differing(): Promise<readonly string[]> {
  const names = new Set([...pages.keys(), ...(await readdir(FOLDER))]);
  const stale: string[] = [];
  for (const name of names) {
    const written = await readFile(new URL(name, FOLDER), 'utf8').catch(unlessAbsent);
    if (written !== pages.get(name)) stale.push(name);
  }
  return stale.sort();
}

function unlessAbsent(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
}

function overview(): string {
  const intro = `# Rules

What \`tidegate validate\` and a server find in a repository. \`tidegate validate --explain RULE\` prints the same pages.
`;
  const tables = (Object.keys(TITLES) as RuleClass[]).map((of) => {
    const [title, words] = TITLES[of];
    const rows = RULE_IDS.filter((id) => RULES[id].class === of).map(
      (id) => `| [${id}](${id}.md) | ${RULES[id].summary} |`,
    );
    return `## ${title}\n\n${words}\n\n| rule | what breaks it |\n|---|---|\n${rows.join('\n')}\n`;
  });
  return [intro, ...tables, ALLOWING].join('\n');
}
