#!/usr/bin/env node
/** The `tidegate` command: runs one command, says in a sentence why it could not, and turns the result into an exit code. */
import { CommanderError } from 'commander';
import { CommandError, EXIT, type ExitCode } from './errors.ts';
import { type Io, processIo } from './io.ts';
import { printable } from './output.ts';
import { createProgram } from './program.ts';

/** `argv` without the program's own name. */
export async function main(argv: readonly string[], io: Io): Promise<ExitCode> {
  let exit: ExitCode = EXIT.fine;
  try {
    const program = createProgram(io, (code) => {
      exit = code;
    });
    await program.parseAsync(argv, { from: 'user' });
    return exit;
  } catch (error) {
    // It has said what was wrong, or shown the help that was asked for.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.fine : EXIT.usage;
    if (io.env['TIDEGATE_DEBUG'] === '1' && error instanceof Error)
      io.err.lines([error.stack ?? error.message]);
    else io.err.lines([`${io.err.paint('red', 'tidegate:')} ${sentenceOf(error)}`]);
    return error instanceof CommandError ? error.exit : EXIT.usage;
  }
}

/** Our own errors are written for people; others at least say what failed. */
function sentenceOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return printable(
    message.split('\n')[0] || 'failed without saying why; set TIDEGATE_DEBUG=1 for the stack trace',
  );
}

/** A reader that has seen enough (`| head`) is no failure. */
function endQuietlyAtClosedPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error;
  process.exit();
}

if (import.meta.main) {
  process.stdout.on('error', endQuietlyAtClosedPipe);
  process.stderr.on('error', endQuietlyAtClosedPipe);
  process.exitCode = await main(process.argv.slice(2), processIo());
}
