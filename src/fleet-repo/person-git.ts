/**
 * The git of a person at work: their identity, their signing key, their credentials and hooks, as if they had typed it. (The
 * server's runs in native-git.ts, with nothing of that.)
 */
import { spawn } from 'node:child_process';
import { errorCode } from '../durable-fs.ts';

export interface Person {
  /** The environment that git is found and run in. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Whether git may ask for a password: somebody sits at a terminal. */
  readonly mayAsk: boolean;
  /** Ends what git is doing. */
  readonly signal: AbortSignal;
}

/** Runs to the end, whatever the exit code; `input` is its standard input. */
export type PersonGit = (
  args: readonly string[],
  options?: { readonly input?: string; readonly env?: Person['env'] },
) => Promise<GitRun>;

export interface GitRun {
  readonly isFine: boolean;
  /** Without the last line end. */
  readonly out: string;
  readonly err: string;
}

/** Git in the folder `cwd`, or undefined where this machine has none. */
export async function personGit(cwd: string, person: Person): Promise<PersonGit | undefined> {
  const git: PersonGit = (args, options = {}) => run(args, { cwd, person, ...options });
  try {
    await git(['--version']);
    return git;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Why git failed, on one line, for a sentence of ours: what the server said, else what git said at last. */
export function lastWords({ err }: GitRun): string {
  const lines = err.split('\n').filter((line) => !/^hint:|^error: failed to push some refs|^\s*$/.test(line));
  const server = lines.filter((line) => /^remote: *\S/.test(line));
  const said = (server.length > 0 ? server : lines.slice(-1)).map((line) =>
    line.replace(/^(?:fatal|error|remote): */, '').trim(),
  );
  return withoutPassword(said.join(' ').slice(0, WORDS_LENGTH_MAX)) || 'git did not say why';
}

const WORDS_LENGTH_MAX = 500;

/** Addresses are shown, and people do write passwords into them. */
export function withoutPassword(text: string): string {
  return text.replace(/([a-z][a-z0-9+.-]*:\/\/)[^/@\s]*@/gi, '$1');
}

const OUTPUT_BYTES_MAX = 16 * 1024 * 1024;

async function run(
  args: readonly string[],
  given: { cwd: string; person: Person; input?: string; env?: Person['env'] },
): Promise<GitRun> {
  const { cwd, person, input = '' } = given;
  const child = spawn('git', args, {
    cwd,
    signal: person.signal,
    // Its own words are looked at, so they must be in English.
    env: { ...person.env, LC_ALL: 'C', ...(person.mayAsk ? {} : { GIT_TERMINAL_PROMPT: '0' }), ...given.env },
  });
  const texts = { out: '', err: '' };
  for (const [name, stream] of [['out', child.stdout] as const, ['err', child.stderr] as const]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      texts[name] += chunk;
      if (texts[name].length > OUTPUT_BYTES_MAX) child.kill();
    });
  }
  // A git that ends before it has read everything is heard by its exit code.
  child.stdin.on('error', () => {}).end(input);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  return { isFine: code === 0, out: texts.out.trimEnd(), err: texts.err };
}
