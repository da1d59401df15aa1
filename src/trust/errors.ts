/** What can go wrong with the keys that Tidegate keeps. A token that does not hold is no error: it is refused. */

/** A key file cannot be used; the message says what was found and what to do about it. */
export class KeyFileError extends Error {
  override readonly name = 'KeyFileError';
  readonly code = 'key-file';
  readonly path: string;
  constructor(path: string, message: string, cause?: unknown) {
    super(`${path}: ${message}`, { cause });
    this.path = path;
  }
}
