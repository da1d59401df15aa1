/** Reads objects through one long-lived `git cat-file --batch`, which needs neither memory nor time of ours for large packs. */
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import type { Socket } from 'node:net';
import { type ObjectReader, type ReadObject, unreadable } from '../engine.ts';
import { GitObjectError } from '../errors.ts';
import type { Oid } from '../git.ts';
import { isObjectId, isObjectType, objectId } from '../objects.ts';
import { type NativeGit, startError } from './git.ts';

const OBJECT_BYTES_MAX = 512 * 1024 * 1024;
const HEADER_BYTES_MAX = 1024;
/** An object that ends git twice is corrupt. The second time it is asked for alone. */
const ATTEMPTS_MAX = 2;

interface Request {
  readonly oid: Oid;
  readonly resolve: (answer: ReadObject | 'missing') => void;
  readonly reject: (error: unknown) => void;
}

export function nativeObjects(native: NativeGit, commonDir: string): ObjectReader {
  let batch: Batch | undefined;
  let isClosed = false;

  /** Git ends on a corrupt object: whoever asked for it hears of that, the others ask the next process. */
  function ask(request: Request): void {
    if (isClosed) {
      request.reject(new Error('the repository has been closed'));
      return;
    }
    batch ??= startBatch(native.start(['cat-file', '--batch'], commonDir), (unanswered, error) => {
      batch = undefined;
      const [asked, ...others] = unanswered;
      for (const other of others) ask(other);
      asked?.reject(error);
    });
    batch.ask(request);
  }

  async function readOnce(oid: Oid): Promise<ReadObject> {
    const answer = await new Promise<ReadObject | 'missing'>((resolve, reject) =>
      ask({ oid, resolve, reject }),
    );
    if (answer === 'missing') throw Object.assign(new Error(`${oid} missing`), { name: 'NotFoundError' });
    const { type, content } = answer;
    const hash = isObjectType(type) ? objectId(type, content) : 'nothing';
    if (hash !== oid) throw new Error(`its bytes hash to ${hash}`);
    return answer;
  }

  return {
    async read(oid) {
      if (!isObjectId(oid))
        throw new GitObjectError(oid, `an object id must be 40 hex digits, found "${oid}"`);
      for (let attempt = 1; ; attempt += 1) {
        try {
          return await readOnce(oid);
        } catch (error) {
          const cause = startError(error);
          if (cause !== error) throw cause;
          if (attempt === ATTEMPTS_MAX || isClosed) throw unreadable(oid, commonDir, error);
        }
      }
    },
    async close() {
      isClosed = true;
      await batch?.end();
    },
  };
}

interface Batch {
  ask(request: Request): void;
  /** Resolves when the process has ended. */
  end(): Promise<void>;
}

/**
 * The protocol of `git cat-file --batch` (git-cat-file(1)): an id and a newline in; `<id> <type> <size>`, newline,
 * content, newline out, or `<id> missing`. Answers come in the order of the questions.
 *
 * The process does not keep ours alive while nobody waits for an answer: it ends with its standard input.
 */
function startBatch(
  child: ChildProcessWithoutNullStreams,
  onEnd: (unanswered: readonly Request[], error: unknown) => void,
): Batch {
  const waiting: Request[] = [];
  const answers = answerReader();
  let stderr = '';
  let failure: unknown;

  const holds = (isHeld: boolean) => {
    for (const handle of [child, child.stdin as Socket, child.stdout as Socket, child.stderr as Socket]) {
      if (isHeld) handle.ref();
      else handle.unref();
    }
  };

  child.stdout.on('data', (chunk: Buffer) => {
    try {
      for (const answer of answers.read(chunk)) waiting.shift()?.resolve(answer);
    } catch (error) {
      failure = error;
      child.kill('SIGKILL');
    }
    if (waiting.length === 0) holds(false);
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr = `${stderr}${chunk}`.slice(-HEADER_BYTES_MAX);
  });
  // A question to a process that has just ended: its end says so.
  child.stdin.on('error', () => {});
  const ended = new Promise<void>((resolve) => {
    let isOver = false;
    const over = (error: unknown) => {
      if (isOver) return;
      isOver = true;
      onEnd(waiting.splice(0), failure ?? error);
      resolve();
    };
    child.once('error', over);
    child.once('close', () => over(new Error(stderr.trim() || 'git cat-file ended')));
  });

  return {
    ask(request) {
      if (waiting.length === 0) holds(true);
      waiting.push(request);
      child.stdin.write(`${request.oid}\n`);
    },
    async end() {
      holds(true);
      child.stdin.end();
      await ended;
    },
  };
}

function answerReader(): { read(chunk: Buffer): (ReadObject | 'missing')[] } {
  let chunks: Buffer[] = [];
  let bytes = 0;
  let header: { readonly type: string; readonly sizeBytes: number } | undefined;
  const take = () => {
    const whole = chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks);
    chunks = [];
    bytes = 0;
    return whole;
  };
  const put = (rest: Buffer) => {
    chunks = [rest];
    bytes = rest.length;
  };
  const next = (): ReadObject | 'missing' | undefined => {
    if (header === undefined) {
      const buffer = take();
      const newline = buffer.indexOf(0x0a);
      put(newline < 0 ? buffer : buffer.subarray(newline + 1));
      if (newline < 0 && bytes <= HEADER_BYTES_MAX) return undefined;
      const line = buffer.toString('latin1', 0, newline);
      if (line.endsWith(' missing')) return 'missing';
      const [, type, size] = /^[0-9a-f]{40} (\w+) (\d+)$/.exec(line) ?? [];
      if (type === undefined) throw new Error(`git cat-file answered ${JSON.stringify(line.slice(0, 80))}`);
      header = { type, sizeBytes: Number(size) };
      if (header.sizeBytes > OBJECT_BYTES_MAX)
        throw new Error(`it has ${size} bytes; at most ${OBJECT_BYTES_MAX} are read`);
    }
    const { type, sizeBytes } = header;
    if (bytes <= sizeBytes) return undefined;
    const buffer = take();
    put(buffer.subarray(sizeBytes + 1));
    header = undefined;
    return { type, content: Uint8Array.from(buffer.subarray(0, sizeBytes)) };
  };
  return {
    read(chunk) {
      chunks.push(chunk);
      bytes += chunk.length;
      const found: (ReadObject | 'missing')[] = [];
      for (let answer = next(); answer !== undefined; answer = next()) found.push(answer);
      return found;
    },
  };
}
