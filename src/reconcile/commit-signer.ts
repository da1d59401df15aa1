/** Who signed a commit: an SSH signature that holds, by a key that somebody is allowed to sign with. */
import type { Commit } from '../git/git.ts';
import { type AllowedSigners, signerOf } from '../trust/allowed-signers.ts';
import { parseSshSignature, verifySshSignature } from '../trust/ssh-signature.ts';

export type CommitSigner =
  | { readonly name: string }
  /** Why it is nobody's that counts, in a sentence's end; `key`: who signed all the same, as SSH encodes it, in base64. */
  | { readonly refused: string; readonly key?: string };

/** `place`: where `allowed` is written, for messages. */
export function signerOfCommit(commit: Commit, allowed: AllowedSigners, place: string): CommitSigner {
  if (commit.signature === undefined) return { refused: 'is not signed' };
  const { armoured, payload } = commit.signature;
  const signature = parseSshSignature(armoured);
  // A forge signs the commits that it makes itself with OpenPGP, squashes and rebases among them.
  if (signature === undefined) return { refused: 'is not signed with an SSH key' };
  if (signature.namespace !== 'git')
    return { refused: `is signed for ${JSON.stringify(signature.namespace)}, not for git` };
  if (!verifySshSignature(signature, payload)) return { refused: 'has a signature that does not hold' };
  const { key, namespace } = signature;
  const signer = signerOf(allowed, { key, namespace, at: commit.committedAt, place });
  return 'name' in signer ? signer : { refused: `is signed, but ${signer.refused}`, key };
}
