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
