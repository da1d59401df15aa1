/** What the documentation says and a machine can check: that links lead somewhere, and that the commands are those that exist. */
import { existsSync, readFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { processIo } from '../../src/cli/io.ts';
import { createProgram } from '../../src/cli/program.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const documents = [
  ...['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md'],
  ...(await readdir(join(ROOT, 'docs'), { recursive: true }))
    .filter((path) => path.endsWith('.md'))
    .map((path) => join('docs', path)),
];

const textOf = (path: string) => readFileSync(join(ROOT, path), 'utf8');

/** The anchors that GitHub gives a document's headings. */
function anchorsOf(markdown: string): ReadonlySet<string> {
  const headings = markdown.matchAll(/^#+ (.*)$/gm);
  return new Set(
    [...headings].map(([, heading = '']) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}

/** The links inside the checkout that lead nowhere. */
function brokenLinks(path: string, markdown: string): string[] {
  const prose = markdown.replaceAll(/^```[\s\S]*?^```/gm, '');
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, link = '']) => {
    if (/^https?:/.test(link)) return [];
    const [target = '', anchor] = link.split('#');
    const file = join(ROOT, dirname(path), target);
    if (!existsSync(file)) return [link];
    if (anchor === undefined) return [];
    return anchorsOf(target === '' ? markdown : readFileSync(file, 'utf8')).has(anchor) ? [] : [link];
  });
}

describe('links', () => {
  test.each(documents)('%s links to what exists', (path) => {
    expect(brokenLinks(path, textOf(path))).toEqual([]);
  });

  test('a link to a missing file or heading is found', () => {
    const markdown = '# Here\n[a](gone.md) [b](README.md#nowhere) [c](#here) [d](https://example.org/x)';
    expect(brokenLinks('README.md', markdown)).toEqual(['gone.md', 'README.md#nowhere']);
  });
});

test('the README shows every command, and none that does not exist', () => {
  const rows = [...textOf('README.md').matchAll(/^\| `tidegate ([a-z]+)(?: ([a-z|\\]+))?/gm)];
  const shown = rows.flatMap(([, command = '', inner]) =>
    inner === undefined
      ? [command]
      : inner
          .replaceAll('\\', '')
          .split('|')
          .map((each) => `${command} ${each}`),
  );
  const program = createProgram(processIo(), () => undefined);
  expect([...shown].sort()).toEqual(leaves(program).sort());
});

/** What can be run: a command that takes arguments may have others below it. */
function leaves(command: Command): string[] {
  return command.commands.flatMap((each) => {
    const below = leaves(each).map((inner) => `${each.name()} ${inner}`);
    return below.length === 0 || each.registeredArguments.length > 0 ? [each.name(), ...below] : below;
  });
}

test('every decision is in the list of decisions, under its own title', async () => {
  const files = (await readdir(join(ROOT, 'docs/adr'))).filter((name) => /^\d{4}-/.test(name)).sort();
  const expected = files.map((name) => {
    const [title = ''] = textOf(join('docs/adr', name)).split('\n');
    const [, number, words] = /^# (\d+)\. (.*)$/.exec(title) ?? [];
    expect(Number(number), name).toBe(Number(name.slice(0, 4)));
    return `${number}. [${words}](${name})`;
  });
  const listed = textOf('docs/adr/README.md')
    .split('\n')
    .filter((line) => /^\d+\. /.test(line));
  expect(listed).toEqual(expected);
});

test('every dependency has its reason in the decision about libraries', () => {
  const reasons = textOf('docs/adr/0004-libraries.md');
  const { dependencies, devDependencies } = JSON.parse(textOf('package.json')) as Record<string, object>;
  const names = Object.keys({ ...dependencies, ...devDependencies });
  expect(names.filter((name) => !reasons.includes(`\`${name}\``))).toEqual([]);
});

test('the map of the code names every folder of it', async () => {
  const map = textOf('docs/ARCHITECTURE.md');
  const entries = await readdir(join(ROOT, 'src'), { withFileTypes: true });
  const folders = entries.filter((entry) => entry.isDirectory()).map((entry) => `src/${entry.name}/`);
  expect(folders.filter((folder) => !map.includes(`\`${folder}\``))).toEqual([]);
});
