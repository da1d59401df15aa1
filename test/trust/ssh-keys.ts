/** Keys of people, made by the real ssh-keygen. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { hasPrograms } from '../system.ts';

/** Whether this machine has ssh-keygen and git: continuous integration installs them and fails on skipped tests. */
export function hasSshKeygen(): boolean {
  return hasPrograms('ssh-keygen', 'git');
}

/** An Ed25519 key in `folder`: where it lies, and its line of `allowed_signers` without the principals. */
export function makeSshKey(folder: string, name: string): { readonly path: string; readonly line: string } {
  const path = join(folder, name);
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', '', '-f', path], { stdio: 'pipe' });
  return { path, line: readFileSync(`${path}.pub`, 'utf8').trim() };
}
