/**
 * The commands, their options and their help. Each command's code is loaded when it is run, so that `--help` does not
 * wait for what it does not need.
 */
import { Command, Option } from 'commander';
import manifest from '../../package.json' with { type: 'json' };
import { STAGE_BASES } from '../core/estimate/adaptive-duration.ts';
import { CIRCUMSTANCES } from '../core/estimate/circumstances.ts';
import { BUG_CLASSES } from '../core/estimate/duration.ts';
import type { ExitCode } from './errors.ts';
import type { Io } from './io.ts';
import type { EntryOptions } from './operation-entry.ts';
import {
  amount,
  duration,
  fault,
  instant,
  kilobytes,
  percentage,
  rate,
  ratio,
  signal,
  wholeNumber,
  wholeNumberOrNone,
} from './option-values.ts';

/** `onExit` is told how the command that was run ended. */
export function createProgram(io: Io, onExit: (code: ExitCode) => void): Command {
  const program = new Command('tidegate')
    .description(manifest.description)
    .version(manifest.version)
    .configureHelp({ helpWidth: io.out.width ?? 80 })
    .configureOutput({ writeOut: (text) => io.out.write(text), writeErr: (text) => io.err.write(text) })
    .exitOverride()
    // What comes after the name of a command is that command's, also where the command above it has an option of that name.
    .enablePositionalOptions()
    .showHelpAfterError('(--help shows examples)')
    .addHelpText('after', EXIT_CODES);
  const ends = async (running: Promise<ExitCode>) => onExit(await running);

  command(program, 'validate', 'check the documents of a fleet repository')
    .argument('[path]', 'root of its working folder, committed or not', '.')
    .option(
      '--base <commit>',
      'what trust/ is compared with: everything since may only add to it (default: HEAD~1)',
    )
    .option('--strict', 'warnings fail, too')
    .option('--explain <rule>', 'what a rule is about, and what to do; looks at nothing')
    .addOption(
      new Option('--format <format>', 'for people, programs, a workflow of GitHub, or code scanning')
        .choices(['text', 'json', 'github', 'sarif'])
        .default('text'),
    )
    .addHelpText(
      'after',
      examples(
        'validate',
        'validate ~/fleet --base origin/main --strict',
        'validate --explain one-stage',
        'validate --format json | jq .problems',
      ),
    )
    .action(async (path, options) => ends((await import('./validate.ts')).run({ path, ...options }, io)));

  command(program, 'init', 'make a fleet repository to start from')
    .argument('[folder]', 'where; what is there already is never touched', '.')
    .addHelpText('after', examples('init my-fleet', 'init'))
    .action(async (folder) => ends((await import('./init.ts')).run({ folder }, io)));

  addImports(program, io, ends);
  addServing(program, io, ends);
  addPlan(program, io, ends);
  addSimulate(program, io, ends);
  addPresets(program, io, ends);

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

  addGates(program, io, ends);
  addSelect(program, io, ends);
  addOperations(program, io, ends);
  addSnapshots(program, io, ends);
  addTrust(program, io, ends);

  const device = command(program, 'device', 'let devices join the fleet');
  command(device, 'token', 'make an enrolment token, where the data of the server lies')
    .addOption(dataFolder().makeOptionMandatory())
    .option('--tag <key=value...>', 'tags that the device gets')
    .option('--id <id>', 'for this device only; it may also give that device a new key')
    .option('--expires <duration>', 'how long it may be used', '1h')
    .option('--uses <number>', 'how many devices may join with it', wholeNumber, 1)
    .option('--fleet <name>', 'the name of the fleet; otherwise the running server is asked')
    .addOption(server())
    .addHelpText(
      'after',
      examples(
        'device token --data ./data --tag product=thermostat site=berlin-1',
        'device token --data ./data --tag product=thermostat --uses 200 --expires 7d',
        'device token --data ./data --id thermostat-0042 --expires 15m --fleet homes',
      ),
    )
    .action(async (options) => ends((await import('./device-token.ts')).run(options, io)));

  const observation = command(program, 'observation', 'let others post numbers that gates judge by');
  command(observation, 'token', 'make a token for posting them, where the data of the server lies')
    .addOption(dataFolder().default('./data'))
    .requiredOption(
      '--metric <name...>',
      'what may be posted with it, as gates name it; name=unit: what it is counted in; "*": anything',
    )
    .option('--expires <duration>', 'how long it may be used, at most 366d', '90d')
    .option('--fleet <name>', 'the name of the fleet; otherwise the running server is asked')
    .addOption(server())
    .addHelpText(
      'after',
      examples(
        'observation token --metric support-tickets',
        'observation token --metric complaints heating-time=h --expires 30d --data /var/lib/tidegate --fleet homes',
      ),
    )
    .action(async (options) => ends((await import('./observation-token.ts')).run(options, io)));

  const artifact = command(program, 'artifact', 'files that devices install');
  command(artifact, 'add', 'print what a distribution set says of a file, and keep it where devices get it')
    .argument('<file>', 'the file, however large')
    .option('--url <url...>', 'mirrors that have it, in the order in which devices try them')
    .option('--server <url>', 'where devices reach the server that is to keep it; goes with --product')
    .option('--product <name>', 'the product of the distribution sets that name it')
    .option('--name <name>', 'what it is called; otherwise as the file is')
    .option('--security-epoch <number>', 'devices whose own epoch is above refuse it')
    .option('--hardware <id...>', 'the only hardware that it is for')
    .option('--repo <folder>', 'the working folder of the fleet repository', '.')
    .addOption(dataFolder().default('./data'))
    .addOption(format())
    .addHelpText(
      'after',
      examples(
        'artifact add app-1.4.0.swu --url https://cdn.example/app-1.4.0.swu https://mirror.example/app-1.4.0.swu',
        'artifact add app-1.4.0.swu --server https://fleet.example --product kiosk --security-epoch 3 --hardware kiosk-b',
      ),
    )
    .action(async (file, options) => ends((await import('./artifact-add.ts')).run({ file, ...options }, io)));

  return program;
}

type Ends = (running: Promise<ExitCode>) => Promise<void>;

/** What other systems exported. */
function addImports(program: Command, io: Io, ends: Ends): void {
  const imports = command(program, 'import', 'turn what another system exported into documents');

  imported(
    command(
      imports,
      'azure',
      'deployments of Azure IoT Edge: what az iot edge deployment show or list prints',
    ),
  )
    .addHelpText(
      'after',
      examples(
        'import azure deployments.json --dry-run',
        'import azure thermostats.json gateways.json --into ~/fleet --owner hvac-oncall',
      ),
    )
    .action(async (files, options) =>
      ends((await import('./import.ts')).run({ system: 'azure', files, ...options }, io)),
    );

  imported(
    command(imports, 'hawkbit', "answers of hawkBit's Management API: rollouts and all that belongs to them"),
  )
    .option('--mirror <url>', 'where devices get artifacts: the address of a folder that has them by name')
    .addHelpText(
      'after',
      examples(
        'import hawkbit rollouts.json groups.json sets.json artifacts.json --mirror https://cdn.example/files',
        'import hawkbit export/*.json --dry-run --format json | jq .notCarried',
      ),
    )
    .action(async (files, options) =>
      ends((await import('./import.ts')).run({ system: 'hawkbit', files, ...options }, io)),
    );
}

function imported(parent: Command): Command {
  return parent
    .argument('<file...>', 'JSON, in any number of files')
    .option(
      '--into <folder>',
      'the working folder of the fleet repository; nothing there is overwritten',
      '.',
    )
    .option('--owner <name>', 'who answers for rollouts of which nothing says so')
    .option('--dry-run', 'print the documents and write nothing')
    .addOption(format());
}

function addServing(program: Command, io: Io, ends: Ends): void {
  command(program, 'serve', 'reconcile a repository and answer devices')
    .requiredOption(
      '--repo <url|path>',
      'the fleet repository: https, ssh, or best a bare one on this machine',
    )
    .addOption(branch())
    .addOption(
      new Option('--git <engine>', 'auto: native git for ssh, which needs it, else the one that is built in')
        .choices(['auto', 'isomorphic', 'native'])
        .default('auto'),
    )
    .option('--poll <duration>', 'how often a remote repository is asked for news', '30s')
    .addOption(dataFolder().default('./data'))
    .option(
      '--database-url <url>',
      'PostgreSQL (default: TIDEGATE_DATABASE_URL or SQLite in the data folder)',
    )
    .option(
      '--allowed-signers <file>',
      'take only commits that these SSH keys have signed, written as for ssh-keygen and git (default: all commits)',
    )
    .option(
      '--prometheus-url <url>',
      'what gates ask numbers of (default: TIDEGATE_PROMETHEUS_URL; TIDEGATE_PROMETHEUS_TOKEN logs in)',
    )
    .option(
      '--gate-webhook-host <host...>',
      'the only hosts that gates may ask for verdicts, as HOST or HOST:PORT (default: TIDEGATE_GATE_WEBHOOK_HOSTS)',
    )
    .option('--listen <host:port>', 'where to listen', '127.0.0.1:8080')
    .addHelpText(
      'after',
      examples(
        'serve --repo ../fleet.git',
        'serve --repo /srv/fleet.git --data /var/lib/tidegate --listen 0.0.0.0:8080',
        'serve --repo https://github.com/acme/fleet.git --data /var/lib/tidegate',
        'serve --repo git@git.example:fleet.git --poll 10s --database-url postgres://db/tidegate',
        'serve --repo ../fleet.git --prometheus-url http://prometheus:9090 --gate-webhook-host checks.example.org',
      ),
    )
    .action(async (options) => ends((await import('./serve.ts')).run(options, io)));

  command(program, 'demo', 'a fleet in one process: a rollout fails and is undone')
    .option('--once', 'end when the story has been told', false)
    .addOption(dataFolder())
    .addHelpText('after', examples('demo', 'demo --once'))
    .action(async (options) => ends((await import('./demo.ts')).run(options, io)));
}

/** What a rollout would take and cost, before anything is committed. */
function addPlan(program: Command, io: Io, ends: Ends): void {
  const plan = command(program, 'plan', 'what a change to the fleet would do if it were merged now')
    .enablePositionalOptions()
    .argument('[path]', 'root of the working folder of a fleet repository', '.')
    .option('--base <revision>', 'what it is compared with, where the two parted (default: the branch)')
    .addOption(branch())
    .addOption(
      new Option(
        '--devices <file>',
        'the fleet: JSON, JSON lines, CSV with the column id, or a DeviceList',
      ).conflicts(['server', 'census']),
    )
    .addOption(
      new Option('--server <url>', 'take the census of a running server (TIDEGATE_API_TOKEN)').conflicts(
        'census',
      ),
    )
    .option('--census <file>', 'a census, as the branch outcomes has it in census.json')
    .addOption(
      new Option('--format <format>', 'for people, for a pull request, or for programs')
        .choices(['text', 'markdown', 'json'])
        .default('text'),
    )
    .addHelpText(
      'after',
      examples(
        'plan',
        'plan ~/fleet --base origin/main',
        'plan --devices inventory.csv --format markdown',
        'plan --server https://fleet.example --format json | jq .proposal.rollouts',
      ),
    )
    .action(async (path, options) => ends((await import('./plan.ts')).run({ path, ...options }, io)));

  const stage = command(plan, 'duration', 'how long a stage must last for a bug to show in it')
    .requiredOption('--devices <number>', 'devices in the stage', wholeNumber)
    .requiredOption('--failure-rate <percentage>', 'the share of them that the bug makes fail', percentage)
    .requiredOption(
      '--mttf <duration>',
      'mean time to failure: how long one that fails runs before it does',
      duration,
    )
    .addOption(
      new Option('--confidence <percentage>', 'the share of the failures that is to have shown')
        .argParser(percentage)
        .default(0.95, '95%'),
    )
    .addOption(
      new Option('--stage <kind>', 'what the stage is for')
        .choices(Object.keys(STAGE_BASES))
        .default('canary'),
    )
    .addOption(new Option('--bug-class <class>', 'sets a minimum').choices(Object.keys(BUG_CLASSES)))
    .option('--rare-bug-rate <share>', 'how likely a bug that shows rarely is: 0.2 or 20%', ratio, 0)
    .option(
      '--fleet-size <number>',
      'all devices that the rollout reaches: what halting spares',
      wholeNumber,
    );
  for (const [name, { pace, words }] of Object.entries(CIRCUMSTANCES)) {
    const circumstance = new Option(`--${kebabCase(name)}`, `${pace}: ${words}`);
    stage.addOption(name === 'weakRollback' ? circumstance.conflicts('strongRollback') : circumstance);
  }
  stage
    .addOption(format())
    .addHelpText(
      'after',
      examples(
        'plan duration --devices 1000 --failure-rate 0.5% --mttf 4h',
        'plan duration --devices 1250 --failure-rate 0.5% --mttf 4h --bug-class moderate --rare-bug-rate 0.2 --safety-critical',
        'plan duration --stage full --devices 173750 --failure-rate 0.02% --mttf 1d --format json | jq .recommendedMs',
      ),
    )
    .action(async (options) => ends((await import('./plan-duration.ts')).run(options, io)));

  command(plan, 'cost', 'whether a slow rollout pays: what a bug costs, and what the delay does')
    .requiredOption('--fast <duration>', 'how long the fast rollout takes', duration)
    .requiredOption('--slow <duration>', 'how long the slow one takes', duration)
    .requiredOption(
      '--affected-fast <number>',
      'devices that a bug reaches in the fast one',
      wholeNumberOrNone,
    )
    .requiredOption('--affected-slow <number>', 'devices that it reaches in the slow one', wholeNumberOrNone)
    .requiredOption('--cost-per-device <dollars>', 'what each of them costs', amount)
    .requiredOption('--delay-cost <dollars>', 'what it costs in all that the slow one ends later', amount)
    .addOption(format())
    .addHelpText(
      'after',
      examples(
        'plan cost --fast 9d --slow 6w --affected-fast 10000 --affected-slow 1000 --cost-per-device 200 --delay-cost 80000',
      ),
    )
    .action(async (options) => ends((await import('./plan-cost.ts')).run(options, io)));

  command(
    plan,
    'traffic',
    'whether deltas pay: what full images and deltas move in a year, and what that costs',
  )
    .requiredOption('--devices <number>', 'devices that are updated', wholeNumber)
    .requiredOption('--size <size>', 'of a full image: 512KB, 1.8MB', kilobytes)
    .requiredOption('--changed <percentage>', 'the share of it that differs between releases', percentage)
    .option('--overhead <share>', 'what a delta has on top of that, as a share of it', ratio, 0)
    .option('--retries <share>', 'the share of downloads that is begun again', ratio, 0)
    .option('--updates-per-year <number>', 'releases in a year', wholeNumber, 4)
    .option('--cost-per-mb <dollars>', 'what a megabyte costs', amount, 0)
    .option('--tooling <dollars>', 'what making deltas costs in a year', amount, 0)
    .addOption(
      new Option('--worth-below <percentage>', 'a delta of this share of a full image is not worth making')
        .argParser(percentage)
        .default(0.5, '50%'),
    )
    .addOption(format())
    .addHelpText(
      'after',
      examples(
        'plan traffic --devices 15000 --size 512KB --changed 15% --overhead 8% --retries 3% --cost-per-mb 0.50 --tooling 2000',
      ),
    )
    .action(async (options) => ends((await import('./plan-traffic.ts')).run(options, io)));
}

/** What a rollout would do, on devices that there are none of. */
function addSimulate(program: Command, io: Io, ends: Ends): void {
  command(
    program,
    'simulate',
    'play a rollout over a virtual fleet: when a fault would be found, and what by',
  )
    .argument('[path]', 'root of the working folder, committed or not', '.')
    .requiredOption('--rollout <name>', 'the rollout that is played')
    .option('--base <commit>', 'what the fleet runs before (default: a predecessor that is made up)')
    .option('--devices <number>', 'how many devices there are, up to 250,000', wholeNumber, 10_000)
    .option('--census <file>', "a fleet's mix of devices (default: guessed from the documents)")
    .addOption(
      new Option(
        '--fault <fault>',
        'what is wrong with the release; crash=4x, install=5%, silence=20%, season=1.5x, signal:drops=17@10%, prometheus:GATE=12, webhook:GATE=halt, observations:METRIC=40; several: say it again',
      )
        .argParser(fault)
        .default([], 'nothing'),
    )
    .option('--seed <text>', 'another seed is another run', '1')
    .option('--seeds <number>', 'play as many runs, and tell how they spread', wholeNumber, 1)
    .addOption(
      new Option('--rate <event=rate>', 'what healthy devices have, as crash=0.0002/d')
        .argParser(rate)
        .default([], 'as gates know it, or 0.002/h'),
    )
    .addOption(
      new Option('--signal <name=value>', 'what healthy devices report')
        .argParser(signal)
        .default([], 'as gates want it'),
    )
    .option('--approve-after <duration>', 'how long approvals take (default: none)', duration)
    .option('--start <instant>', 'when the release is merged (default: 2026-01-05T08:00:00Z)', instant)
    .option('--duration <duration>', 'end after so much time (default: 30d)', duration)
    .option('--chart <file>', 'draw the run, as SVG')
    .addOption(format())
    .addHelpText(
      'after',
      examples(
        'simulate --rollout thermostat-firmware',
        'simulate --rollout thermostat-firmware --devices 100000 --fault crash=4x --chart run.svg',
        `simulate --rollout thermostat-firmware --fault "install=30% where tags.hardwareRevision = 'c'" --seeds 50`,
      ),
    )
    .action(async (path, options) => ends((await import('./simulate.ts')).run({ path, ...options }, io)));
}

/** Stage plans and gates that come with Tidegate. */
function addPresets(program: Command, io: Io, ends: Ends): void {
  const preset = command(program, 'preset', 'stage plans and gates to name in a rollout, or to copy');

  command(preset, 'list', 'their names, and when to use them')
    .addOption(format())
    .addHelpText('after', examples('preset list'))
    .action(async (options) => ends((await import('./preset-list.ts')).run(options, io)));

  command(preset, 'show', 'one of them, as the document that it is')
    .argument('<name>', 'its name')
    .addOption(
      new Option('--format <format>', 'a file for the repository, or for programs')
        .choices(['yaml', 'json'])
        .default('yaml'),
    )
    .addHelpText(
      'after',
      examples(
        'preset show textbook-canary',
        'preset show crash-rate > fleet/gates/crash-rate.yaml',
        'preset show rings --format json | jq .spec.stages',
      ),
    )
    .action(async (name, options) => ends((await import('./preset-show.ts')).run({ name, ...options }, io)));
}

/** What rollouts are judged by, and why it says what it says. */
function addGates(program: Command, io: Io, ends: Ends): void {
  const gate = command(program, 'gate', 'why a gate holds or halts, now and in what was recorded');

  command(gate, 'explain', 'what each gate of a rollout says now, why, and how far it is from a decision')
    .argument('[rollout]', 'this one only')
    .argument('[gate]', 'this one of its gates only')
    .addOption(server())
    .addOption(format())
    .addHelpText(
      'after',
      examples(
        'gate explain',
        'gate explain thermostat-firmware crashes',
        'gate explain --format json | jq .rollouts',
      ),
    )
    .action(async (rollout, name, options) =>
      ends((await import('./gate-explain.ts')).run({ rollout, gate: name, ...options }, io)),
    );

  command(
    gate,
    'replay',
    'judge again, hour by hour, what an outcome recorded or what you have seen yourself',
  )
    .argument(
      '<gate>',
      "a gate of the outcome; for observations a Gate document, or a rollout's as ROLLOUT.GATE",
    )
    .option('--outcome <ref>', 'ROLLOUT (its latest attempt), ROLLOUT/ATTEMPT, or a commit of outcomes')
    .option('--observations <file>', 'hours in YAML or JSON: what the gate would have made of them')
    .option('--stage <name>', 'of the outcome (default: the last that judged by the gate)')
    .addOption(repositoryOrAddress())
    .addOption(branch())
    .addOption(format())
    .addHelpText(
      'after',
      examples(
        'gate replay crashes --outcome thermostat-firmware',
        'gate replay crashes --outcome thermostat-firmware/3 --stage canary',
        'gate replay crash-rate --observations last-night.yaml',
        'gate replay thermostat-firmware.crashes --observations last-night.yaml --format json',
      ),
    )
    .action(async (name, options) =>
      ends((await import('./gate-replay.ts')).run({ gate: name, ...options }, io)),
    );
}

/** Devices chosen by hand: one commit, too, and the server says whom it means. */
function addSelect(program: Command, io: Io, ends: Ends): void {
  command(program, 'select', 'choose devices by hand, as the next stage of a rollout')
    .argument('<rollout>', 'the rollout')
    .requiredOption('--stage <name>', 'what the stage is called; one that has not opened is replaced')
    .option('--group <name>', 'only devices of this Group document')
    .option('--limit <number|share>', 'so many of them, at random: 10, or 5% (default: all)')
    .option(
      '--ids <list>',
      'only these devices, separated by commas, semicolons, pipes or white space; @FILE reads a file, @- what is piped in',
    )
    .option('--dry-run', 'show whom it would take in, and commit nothing', false)
    .option('--print-ids', 'print the ids of the devices, one per line, and nothing else', false)
    .addOption(server())
    .addOption(repositoryOrAddress())
    .addOption(branch())
    .option('--reason <text>', 'why, for everybody who reads it later')
    .option('--by <name>', "who asks (default: git's user.name)")
    .addOption(format())
    .addHelpText(
      'after',
      examples(
        'select thermostat-firmware --stage ripple-1 --limit 10',
        'select thermostat-firmware --stage ripple-2 --group berlin --limit 5% --dry-run',
        'select thermostat-firmware --stage lab --ids @lab.txt',
        'select thermostat-firmware --stage ripple-1 --limit 10 --dry-run --print-ids | xargs -n1 tidegate why',
      ),
    )
    .action(async (rollout, options) => ends((await import('./select.ts')).run({ rollout, ...options }, io)));
}

/** What people do to rollouts: each makes one commit. */
function addOperations(program: Command, io: Io, ends: Ends): void {
  const add = (name: string, description: string) =>
    command(program, name, description)
      .addOption(repositoryOrAddress())
      .addOption(branch())
      .option('--reason <text>', 'why, for everybody who reads it later')
      .option('--by <name>', "who asks (default: git's user.name)")
      .option('--dry-run', 'show the commit instead of making it', false)
      .addOption(format());
  const attempt = () =>
    new Option('--attempt <number>', 'what it is about (default: the latest)').argParser(wholeNumber);
  const one = 'the rollout';
  const entry = async (action: EntryOptions['action'], rollout: string | undefined, options: object) =>
    ends(
      (await import('./operation-entry.ts')).run(
        { ...(options as EntryOptions), ...(rollout === undefined ? {} : { rollout }), action },
        io,
      ),
    );

  add('pause', 'offer nothing further; who has the revision keeps it')
    .argument('[rollout]', one)
    .option('--all', 'every rollout that is under way, in one commit')
    .addOption(attempt())
    .addHelpText(
      'after',
      examples(
        'pause thermostat-firmware --reason "Calls from site 12"',
        'pause --all --repo git@git.example:fleet.git',
      ),
    )
    .action((rollout, options) => entry('pause', rollout, options));

  add('resume', 'go on where it stopped; what had failed by then is forgiven')
    .argument('[rollout]', one)
    .option('--all', 'every rollout that a person paused, in one commit')
    .addOption(attempt())
    .addHelpText('after', examples('resume thermostat-firmware', 'resume --all --dry-run'))
    .action((rollout, options) => entry('resume', rollout, options));

  add('approve', 'one of the approvals that a stage needs before it opens, or a gate of it before it passes')
    .argument('<rollout>', one)
    .requiredOption('--stage <name>', 'the stage')
    .option('--gate <name>', 'the gate of that stage')
    .addOption(attempt())
    .addHelpText(
      'after',
      examples(
        'approve thermostat-firmware --stage batch',
        'approve thermostat-firmware --stage batch --gate lab',
      ),
    )
    .action((rollout, options) => entry('approve', rollout, options));

  add('promote', 'skip what is left of a stage, or go back in an emergency')
    .argument('<rollout>', one)
    .option('--stage <name>', 'the open stage whose soak and exposure are skipped; thresholds still hold')
    .option('--emergency', 'all devices at once, back to what succeeded here before', false)
    .addOption(attempt())
    .addHelpText(
      'after',
      examples('promote thermostat-firmware --stage canary', 'promote thermostat-firmware --emergency'),
    )
    .action((rollout, options) => entry('promote', rollout, options));

  add('cancel', 'end the attempt; who has the revision keeps it')
    .argument('<rollout>', one)
    .addOption(attempt())
    .addHelpText('after', examples('cancel thermostat-firmware --reason "2.6.1 will do it better"'))
    .action((rollout, options) => entry('cancel', rollout, options));

  add('retry', 'try again what failed or was cancelled')
    .argument('<rollout>', one)
    .addOption(attempt())
    .addHelpText('after', examples('retry thermostat-firmware'))
    .action((rollout, options) => entry('retry', rollout, options));

  add('rollback', 'make main want again what worked before')
    .argument('<rollout>', one)
    .option('--to <attempt>', 'the number of an attempt that succeeded, or known-good', 'known-good')
    .option('--emergency', 'to an earlier success: on all devices at once instead of by stages', false)
    .option(
      '--where <condition>',
      'only devices that match go back, to what they had before; the others go on',
    )
    .addHelpText(
      'after',
      examples(
        'rollback thermostat-firmware',
        'rollback thermostat-firmware --to 3 --emergency --dry-run',
        `rollback thermostat-firmware --where "tags.hardwareRevision = 'rev-b'"`,
      ),
    )
    .action(async (rollout, options) =>
      ends((await import('./operation-rollback.ts')).run({ rollout, ...options }, io)),
    );
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

/** What people sign: each writes files of `trust/`, for a pull request. */
function addTrust(program: Command, io: Io, ends: Ends): void {
  const trust = command(program, 'trust', 'keys of people, and what they sign for devices');
  const add = (name: string, description: string) =>
    command(trust, name, description).option(
      '--repo <folder>',
      'the working folder of the fleet repository',
      '.',
    );

  command(trust, 'key', 'make a key of your own, encrypted with the passphrase in TIDEGATE_KEYS_PASSPHRASE')
    .argument('<file>', 'where the private key is put; its public half lies beside it')
    .addHelpText('after', examples('trust key ~/keys/ada.pem'))
    .action(async (file) => ends((await import('./trust-key.ts')).run({ file }, io)));

  add('init', 'propose trust of your own, in place of what the server made for itself')
    .option('--root <key...>', 'public keys that sign for who signs what: names in trust/keys, or files')
    .option('--root-threshold <number>', 'how many of them it takes (default: more than half)', wholeNumber)
    .option('--products <key...>', 'public keys that vouch for what is installed')
    .option(
      '--products-threshold <number>',
      'how many of them it takes (default: more than half)',
      wholeNumber,
    )
    .option('--development <folder>', 'with keys that are made there, to try it out')
    .addOption(server())
    .addHelpText(
      'after',
      examples(
        'trust init --root ada.pub ben.pub cyd.pub dee.pub eve.pub --products ada.pub ben.pub cyd.pub',
        'trust init --development ../trial-keys',
      ),
    )
    .action(async (options) => ends((await import('./trust-init.ts')).run(options, io)));

  add('status', 'who signs for what, who has, until when it is good, and what is missing')
    .addOption(format())
    .addHelpText('after', examples('trust status', 'trust status --format json | jq .problems'))
    .action(async (options) => ends((await import('./trust-status.ts')).run(options, io)));

  add('sign', 'list what the documents release, and sign what waits for your key')
    .option('--key <file...>', 'private keys; without one it is listed, and not signed')
    .option('--signer <module>', 'a module that signs with keys of a service, as examples/kms-signer.mjs')
    .option('--withdraw <path...>', 'targets that nobody is to vouch for any more')
    .option('--dry-run', 'show what would be signed', false)
    .addHelpText('after', examples('trust sign --dry-run', 'trust sign --key ~/keys/ada.pem'))
    .action(async (options) => ends((await import('./trust-sign.ts')).run(options, io)));

  add('rotate', 'propose other keys for a role, or the same for longer')
    .argument(
      '<role>',
      'root, targets, snapshot, timestamp, assignment; artifacts or manifests, of all products or of one: artifacts-kiosk',
    )
    .option('--add <key...>', 'public keys: names in trust/keys, or files')
    .option('--remove <key...>', 'names, or beginnings of ids')
    .option('--threshold <number>', 'how many of the keys it takes (default: as before)', wholeNumber)
    .addHelpText(
      'after',
      examples(
        'trust rotate root --add fay.pub --remove ada',
        'trust rotate snapshot --add server-2.pub --remove 3f2a91c0',
      ),
    )
    .action(async (role, options) => ends((await import('./trust-rotate.ts')).run({ role, ...options }, io)));
}

/** `weakRollback` → `weak-rollback`: commander's own way back from an option's property to its flag. */
function kebabCase(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
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

function repositoryOrAddress(): Option {
  return new Option('--repo <place>', 'the fleet repository: a path, or an address that git clones').default(
    '.',
  );
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
