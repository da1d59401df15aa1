/**
 * The commands, their options and their help. Each command's code is loaded when it is run, so that `--help` does not
 * wait for what it does not need.
 */
import { Command, Option } from 'commander';
import manifest from '../../package.json' with { type: 'json' };
import type { ExitCode } from './errors.ts';
import type { Io } from './io.ts';

/** `onExit` is told how the command that was run ended. */
export function createProgram(io: Io, onExit: (code: ExitCode) => void): Command {
  const program = new Command('tidegate')
    .description(manifest.description)
    .version(manifest.version)
    .configureHelp({ helpWidth: io.out.width ?? 80 })
    .configureOutput({ writeOut: (text) => io.out.write(text), writeErr: (text) => io.err.write(text) })
    .exitOverride()
    .showHelpAfterError('(--help shows examples)')
    .addHelpText('after', EXIT_CODES);
  const ends = async (running: Promise<ExitCode>) => onExit(await running);

  command(program, 'validate', 'check the documents of a fleet repository')
    .argument('[path]', 'root of its working folder, committed or not', '.')
    .addOption(format())
    .addHelpText('after', examples('validate', 'validate ~/fleet', 'validate --format json | jq .problems'))
    .action(async (path, options) => ends((await import('./validate.ts')).run({ path, ...options }, io)));

  command(program, 'init', 'make a fleet repository to start from')
    .argument('[folder]', 'where; what is there already is never touched', '.')
    .addHelpText('after', examples('init my-fleet', 'init'))
    .action(async (folder) => ends((await import('./init.ts')).run({ folder }, io)));

  addServing(program, io, ends);

  command(program, 'status', 'what is in force, what moves, what does not and why')
    .argument('[rollout]', 'this one only, in detail')
    .addOption(server())
    .option('-w, --watch', 'stay and show changes; Ctrl-C ends it')
    .addOption(format())
    .addHelpText(
      'after',
      examples(
        'status',
        'status thermostat-firmware --watch',
        'status --server https://fleet.example --format json',
      ),
    )
    .action(async (rollout, options) => ends((await import('./status.ts')).run({ rollout, ...options }, io)));

  command(program, 'why', 'what a device gets, and the rule that says so')
    .argument('<device>', "the device's id")
    .addOption(server())
    .addOption(format())
    .addHelpText('after', examples('why thermostat-0042', 'why thermostat-0042 --format json'))
    .action(async (device, options) => ends((await import('./why.ts')).run({ device, ...options }, io)));

  addSnapshots(program, io, ends);

  const device = command(program, 'device', 'let devices join the fleet');
  command(device, 'token', 'make an enrolment token, where the data of the server lies')
    .addOption(dataFolder().makeOptionMandatory())
    .option('--tag <key=value...>', 'tags that the device gets')
    .option('--id <id>', 'for this device only; it may also give that device a new key')
    .option('--expires <duration>', 'how long it may be used', '1h')
    .option('--fleet <name>', 'the name of the fleet; otherwise the running server is asked')
    .addOption(server())
    .addHelpText(
      'after',
      examples(
        'device token --data ./data --tag product=thermostat site=berlin-1',
        'device token --data ./data --id thermostat-0042 --expires 15m --fleet homes',
      ),
    )
    .action(async (options) => ends((await import('./device-token.ts')).run(options, io)));

  return program;
}

type Ends = (running: Promise<ExitCode>) => Promise<void>;

function addServing(program: Command, io: Io, ends: Ends): void {
  command(program, 'serve', 'reconcile a repository and answer devices')
    .requiredOption('--repo <path>', 'the fleet repository, best a bare one')
    .addOption(branch())
    .addOption(dataFolder().default('./data'))
    .option('--listen <host:port>', 'where to listen', '127.0.0.1:8080')
    .addHelpText(
      'after',
      examples(
        'serve --repo ../fleet.git',
        'serve --repo /srv/fleet.git --data /var/lib/tidegate --listen 0.0.0.0:8080',
      ),
    )
    .action(async (options) => ends((await import('./serve.ts')).run(options, io)));

  command(program, 'demo', 'a fleet in one process: a rollout fails and is undone')
    .option('--once', 'end when the story has been told', false)
    .addOption(dataFolder())
    .addHelpText('after', examples('demo', 'demo --once'))
    .action(async (options) => ends((await import('./demo.ts')).run(options, io)));
}

function addSnapshots(program: Command, io: Io, ends: Ends): void {
  const snapshot = command(program, 'snapshot', 'look at snapshots in a local repository');
  const names =
    'a branch, commit, tree id, the beginning of an id, or known-good/<rollout>; ~N goes N commits back';
  const add = (name: string, description: string) =>
    command(snapshot, name, description).addOption(repository()).addOption(branch()).addOption(format());

  add('list', 'snapshots that were rolled out, newest first')
    .addHelpText('after', examples('snapshot list --repo ../fleet.git'))
    .action(async (options) => ends((await import('./snapshot-list.ts')).run(options, io)));

  add('show', 'what is in a snapshot')
    .argument('<snapshot>', names)
    .addHelpText('after', examples('snapshot show main', 'snapshot show known-good/thermostat-firmware'))
    .action(async (name, options) =>
      ends((await import('./snapshot-show.ts')).run({ snapshot: name, ...options }, io)),
    );

  add('diff', 'what differs between two, and what that means for devices')
    .argument('<before>', names)
    .argument('<after>', names)
    .addHelpText(
      'after',
      examples('snapshot diff main~1 main', 'snapshot diff known-good/thermostat-firmware main'),
    )
    .action(async (before, after, options) =>
      ends((await import('./snapshot-diff.ts')).run({ before, after, ...options }, io)),
    );

  add('verify', 'prove that a snapshot is whole and known-good')
    .argument('[snapshot]', `${names}; the branch, unless said`)
    .option('--rollout <name>', 'whose known-good snapshot it must be')
    .addHelpText('after', examples('snapshot verify', 'snapshot verify main --rollout thermostat-firmware'))
    .action(async (name, options) =>
      ends((await import('./snapshot-verify.ts')).run({ snapshot: name, ...options }, io)),
    );
}

function command(parent: Command, name: string, description: string): Command {
  return parent.command(name).description(description);
}

function format(): Option {
  return new Option('--format <format>', 'for people or for programs')
    .choices(['text', 'json'])
    .default('text');
}

function server(): Option {
  return new Option(
    '--server <url>',
    'the running server (default: TIDEGATE_SERVER or http://127.0.0.1:8080)',
  );
}

function repository(): Option {
  return new Option('--repo <path>', 'the fleet repository').default('.');
}

function branch(): Option {
  return new Option('--branch <name>', 'the branch that people change').default('main');
}

function dataFolder(): Option {
  return new Option('--data <folder>', 'where the server keeps its database and keys');
}

function examples(...lines: readonly string[]): string {
  return `\nExamples:\n${lines.map((line) => `  $ tidegate ${line}\n`).join('')}`;
}

const EXIT_CODES = `
Exit codes: 0 fine, 1 problems found, 2 wrong use or environment.
`;
