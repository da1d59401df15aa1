/** What a command says when it cannot do what it was asked, and the exit codes of all commands. */

/** What the shell is told. Scripts rely on these. */
export const EXIT = {
  fine: 0,
  /** The command did its work and found problems: an invalid document, a difference, an unknown device. */
  problems: 1,
  /** The command could not do its work: wrong options, no repository, no server, a bug. */
  usage: 2,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Ends a command. The message is one sentence for people, with the next step. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  readonly code = 'command';
  readonly exit: ExitCode;
  constructor(message: string, exit: ExitCode = EXIT.usage, cause?: unknown) {
    super(message, { cause });
    this.exit = exit;
  }
}
