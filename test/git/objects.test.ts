/** What git itself says of a signed commit is what is read here. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { decodeCommit, objectId } from '../../src/git/objects.ts';
import { hasSshKeygen } from '../trust/ssh-keys.ts';
import { nativeGit } from './remote-fixture.ts';

const run = promisify(execFile);
const HEADERS = [
  'tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904',
  'author Ada <ada@example.org> 1735689600 +0000',
  'committer Ada <ada@example.org> 1735689600 +0000',
];

function decoded(headers: readonly string[], message = 'Subject\n\ngpgsig not a header\n') {
  const content = Buffer.from(`${headers.join('\n')}\n\n${message}`);
  return { content, commit: decodeCommit(objectId('commit', content), content) };
}

it('reads the signature of a commit, and what it is a signature of', async () => {
  const plain = decoded(HEADERS);
  expect(plain.commit.signature).toBeUndefined();

  const signature = ['gpgsig -----BEGIN SSH SIGNATURE-----', ' U1NI', ' ', ' -----END SSH SIGNATURE-----'];
  const other = ['gpgsig-sha256 -----BEGIN', ' OTHER', ' -----END'];
  const { commit } = decoded([...HEADERS, ...signature, ...other]);
  expect(commit.signature?.armoured).toBe(
    '-----BEGIN SSH SIGNATURE-----\nU1NI\n\n-----END SSH SIGNATURE-----\n',
  );
  expect(Buffer.from(commit.signature?.payload ?? []).equals(plain.content)).toBe(true);

  // Headers after it, and bytes that are no text, stay where they are.
  const extra = Buffer.from(`${[...HEADERS, ...signature, 'encoding latin1'].join('\n')}\n\ncaf`);
  const content = Buffer.concat([extra, Buffer.from([0xe9, 0x0a])]);
  const payload = Buffer.concat([
    Buffer.from(`${[...HEADERS, 'encoding latin1'].join('\n')}\n\ncaf`),
    Buffer.from([0xe9, 0x0a]),
  ]);
  const latin = decodeCommit(objectId('commit', content), content);
  expect(Buffer.from(latin.signature?.payload ?? []).equals(payload)).toBe(true);
});

it.skipIf(!hasSshKeygen())('hands over what ssh-keygen verifies, of a commit that git signed', async () => {
  const root = await mkdtemp(join(tmpdir(), 'tidegate-signed-'));
  const key = join(root, 'key');
  await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key]);
  await nativeGit(root, 'init', '--quiet', 'work');
  const work = join(root, 'work');
  const signing = ['-c', 'gpg.format=ssh', '-c', `user.signingKey=${key}`];
  await nativeGit(work, ...signing, 'commit', '--quiet', '--allow-empty', '-S', '-m', 'Signed');
  const { stdout } = await run('git', ['cat-file', 'commit', 'HEAD'], { cwd: work, encoding: 'buffer' });
  const { signature } = decodeCommit(objectId('commit', stdout), stdout);
  await writeFile(join(root, 'signature'), signature?.armoured ?? '');
  const verify = (payload: Uint8Array) =>
    new Promise<boolean>((resolve) => {
      const args = ['-Y', 'check-novalidate', '-n', 'git', '-s', join(root, 'signature')];
      const child = execFile('ssh-keygen', args, (error) => resolve(error === null));
      child.stdin?.end(payload);
    });
  expect(await verify(signature?.payload ?? Buffer.of())).toBe(true);
  expect(await verify(stdout)).toBe(false);
  await rm(root, { recursive: true });
});
