/**
 * A push over HTTP (gitprotocol-pack(5), "Pushing Data To a Server"). Isomorphic-git can push, too, but walks everything that
 * the commit contains twice to find what to send: seconds, where a record links whole snapshots. Here the caller says what
 * to send; isomorphic-git lists the server's branches and makes the pack.
 */
import git, { type HttpClient, type PromiseFsClient } from 'isomorphic-git';
import type { PushAnswer } from '../engine.ts';
import type { Oid } from '../git.ts';
import { printable } from '../remote-trouble.ts';

const NO_OBJECT = '0'.repeat(40);
/** What we understand of what a server may offer. */
const CAPABILITIES = ['report-status', 'side-band-64k'];

export interface Push {
  readonly http: HttpClient;
  readonly fs: PromiseFsClient;
  readonly url: string;
  readonly commonDir: string;
  /** `refs/heads/…` */
  readonly ref: string;
  readonly from: Oid | undefined;
  readonly to: Oid;
  readonly objects: () => Promise<readonly Oid[]>;
}

/** Throws what `http` throws, and an Error where the answer is none. */
export async function push({ http, fs, url, commonDir, ref, from, to, objects }: Push): Promise<PushAnswer> {
  const server = await git.getRemoteInfo2({ http, url, forPush: true, protocolVersion: 1 });
  if (server.protocolVersion !== 1) throw new Error(`a push in protocol version ${server.protocolVersion}`);
  const found = server.refs?.find((each) => each.ref === ref)?.oid;
  if (found !== from) return { kind: 'rejected', reason: `${ref} is at ${found ?? 'nothing'}` };

  const { packfile } = await git.packObjects({
    fs,
    gitdir: commonDir,
    oids: [...(await objects())],
    write: false,
  });
  if (packfile === undefined) throw new Error('isomorphic-git made no pack');
  const capabilities = CAPABILITIES.filter((name) => Object.hasOwn(server.capabilities, name));
  // The server compares `from` with where the branch is at the moment of the move.
  const command = packet(`${from ?? NO_OBJECT} ${to} ${ref}\0 ${capabilities.join(' ')}\n`);
  const { body } = await http.request({
    url: `${url}/git-receive-pack`,
    method: 'POST',
    headers: {
      'content-type': 'application/x-git-receive-pack-request',
      accept: 'application/x-git-receive-pack-result',
    },
    body: only(Buffer.concat([command, Buffer.from(FLUSH), packfile])),
  });
  const chunks: Uint8Array[] = [];
  for await (const chunk of body ?? []) chunks.push(chunk);
  return answerOf(Buffer.concat(chunks), ref, capabilities.includes('side-band-64k'));
}

/** The report, and what the server printed beside it. */
function answerOf(content: Buffer, ref: string, isBanded: boolean): PushAnswer {
  const bands = isBanded ? packets(content) : [];
  const band = (number: number) =>
    Buffer.concat(bands.filter((each) => each[0] === number).map((each) => each.subarray(1)));
  const said = printable(band(2).toString() + band(3).toString()).slice(0, SAID_MAX);
  const report = packets(isBanded ? band(1) : content).map((line) => line.toString().trimEnd());
  const [unpacked, ...refs] = report;
  if (unpacked === undefined || !unpacked.startsWith('unpack '))
    throw new Error('an answer without a report');
  if (unpacked === 'unpack ok' && refs.includes(`ok ${ref}`)) return { kind: 'accepted' };
  const refused = refs.find((line) => line.startsWith(`ng ${ref} `))?.slice(`ng ${ref} `.length);
  const reason = printable(refused ?? unpacked) || 'no reason given';
  return { kind: 'rejected', reason: said === '' ? reason : `${reason}: ${said}` };
}

const SAID_MAX = 300;
const FLUSH = '0000';
/** Hex digits of a packet's length, which counts them. */
const LENGTH_DIGITS = 4;

function packet(text: string): Buffer {
  const content = Buffer.from(text);
  const length = (content.length + LENGTH_DIGITS).toString(16).padStart(LENGTH_DIGITS, '0');
  return Buffer.concat([Buffer.from(length), content]);
}

/** The packets up to the first flush. Throws where there is none. */
function packets(content: Buffer): Buffer[] {
  const found: Buffer[] = [];
  for (let at = 0; ; ) {
    const digits = content.toString('latin1', at, at + LENGTH_DIGITS);
    if (digits === FLUSH) return found;
    const length = /^[0-9a-f]{4}$/.test(digits) ? Number.parseInt(digits, 16) : 0;
    if (length <= LENGTH_DIGITS || at + length > content.length)
      throw new Error('an answer that is not whole');
    found.push(content.subarray(at + LENGTH_DIGITS, at + length));
    at += length;
  }
}

async function* only(content: Uint8Array): AsyncIterableIterator<Uint8Array> {
  yield content;
}
