/** What can go wrong between Tidegate and a git repository. */

/** An object is missing, corrupt or not what was expected. */
export class GitObjectError extends Error {
  override readonly name = 'GitObjectError';
  readonly code = 'git-object';
  readonly oid: string;
  constructor(oid: string, message: string, cause?: unknown) {
    super(message, { cause });
    this.oid = oid;
  }
}

/** The repository cannot be opened or used at all; the message says what to do about it. */
export class GitRepositoryError extends Error {
  override readonly name = 'GitRepositoryError';
  readonly code = 'git-repository';
  readonly path: string;
  constructor(path: string, message: string, cause?: unknown) {
    super(message, { cause });
    this.path = path;
  }
}

/** What kind of trouble a remote is in; what to do about it depends on that. */
export type RemoteTrouble =
  /** No answer, a broken one, or one that says "later". */
  | 'unreachable'
  /** The credentials are missing, wrong or expired. */
  | 'unauthorized'
  /** The credentials are known and do not suffice. */
  | 'forbidden'
  /** Nothing there, or nothing that the credentials may see. */
  | 'missing'
  /** Something answers that is no git server, or not under this URL. */
  | 'not-git';

/** A remote could not be reached or did not let us; the message is a sentence with the next step. */
export class GitRemoteError extends Error {
  override readonly name = 'GitRemoteError';
  readonly code = 'git-remote';
  readonly trouble: RemoteTrouble;
  constructor(trouble: RemoteTrouble, message: string, cause?: unknown) {
    super(message, { cause });
    this.trouble = trouble;
  }
}
