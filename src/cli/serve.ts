/** `tidegate serve`: reconciles a repository, here or elsewhere, and serves its fleet until it is told to stop. */
import { randomBytes, randomUUID } from 'node:crypto';
import { channel } from 'node:diagnostics_channel';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { steadyClock } from '../clock.ts';
import { formatInstant, parseDuration, SECOND } from '../core/model/time.ts';
import { errorCode } from '../durable-fs.ts';
import { type EngineChoice, openFleetGit } from '../fleet-repo/open.ts';
import { OUTCOMES_BRANCH } from '../fleet-repo/outcomes.ts';
import { forgeFor } from '../forge/choose.ts';
import { remoteBranchOnly } from '../git/local.ts';
import { parsePlace } from '../git/place.ts';
import { listen, parseAddress } from '../http/listen.ts';
import { judgeWebhookSecret } from '../http/webhook.ts';
import { hooksIn } from '../notify/receivers.ts';
import { createAsk, readAskConfig } from '../probes/ask.ts';
import { createService } from '../service.ts';
import { openArtifactFolder } from '../store/artifact-folder.ts';
import { holdFolder } from '../store/folder-lock.ts';
import { openStore } from '../store/open.ts';
import { isThisMachine } from '../this-machine.ts';
import { type AllowedSigners, parseAllowedSigners } from '../trust/allowed-signers.ts';
import { type Keys, openKeys } from '../trust/keys.ts';
import { OBSERVATION_TOKEN_ID } from '../trust/observation-token.ts';
import { sshPublicKey } from '../trust/ssh-signature.ts';
import { readSigningKeys, type SigningKeys } from '../trust/standard-webhooks.ts';
import { CommandError, EXIT, type ExitCode } from './errors.ts';
import { eventLines } from './event-text.ts';
import type { Io } from './io.ts';

export interface ServeOptions {
  readonly repo: string;
  readonly branch: string;
  readonly data: string;
  readonly listen: string;
  readonly git: EngineChoice;
  /** How often a remote repository is asked for news. */
  readonly poll: string;
  /** PostgreSQL; absent: SQLite in the data folder. */
  readonly databaseUrl?: string;
  /** A file with the keys whose commits count; absent: all commits do. */
  readonly allowedSigners?: string;
  /** What gates ask numbers of; absent: TIDEGATE_PROMETHEUS_URL. */
  readonly prometheusUrl?: string;
  /** Whom gates may ask for verdicts, `host` or `host:port`; absent: TIDEGATE_GATE_WEBHOOK_HOSTS. */
  readonly gateWebhookHost?: readonly string[];
}

/** Servers that share a database look this often at what the others have published. */
const SHARED_IDLE_MS = 5 * SECOND;

/** How far a pass has come, for whoever traces the process or ends it right there. */
const STEPS = channel('tidegate.pass');

/** Resolves when a signal has stopped it and everything accepted is on disk. */
export async function run(options: ServeOptions, io: Io): Promise<ExitCode> {
  const address = parseAddress(options.listen);
  if (address === undefined) {
    throw new CommandError(
      `--listen must be HOST:PORT, found "${options.listen}"; for example 127.0.0.1:8080`,
    );
  }
  const apiToken = io.env['TIDEGATE_API_TOKEN'];
  if (!isThisMachine(address.host) && apiToken === undefined) {
    throw new CommandError(
      `${address.host} can be reached from elsewhere; set TIDEGATE_API_TOKEN to protect the operators' API, or listen on 127.0.0.1`,
    );
  }
  const webhookSecret = io.env['TIDEGATE_WEBHOOK_SECRET'];
  const useless = webhookSecret === undefined ? undefined : judgeWebhookSecret(webhookSecret);
  if (useless !== undefined) throw new CommandError(`TIDEGATE_WEBHOOK_SECRET: ${useless}`);
  const signingKeys = readNotifySecret(io.env);
  const revokedObservationTokens = readRevokedTokens(io.env);
  const pollMs = parseDuration(options.poll);
  if (pollMs === undefined || pollMs === 0) {
    throw new CommandError(`--poll must be a duration above 0s, found "${options.poll}"; for example 30s`);
  }
  const forge = forgeFor(options.repo, io);
  const askConfig = readAskConfig(options, io.env);
  const allowedSigners =
    options.allowedSigners === undefined ? undefined : await readSigners(options.allowedSigners);
  const log = (line: string) => io.out.lines([`${formatInstant(io.clock.now())} ${line}`]);
  await refuseForgottenOutcomes(options.repo);
  const keys = await openDataFolder(options.data, io.env);
  const lock = holdFolder(options.data);
  if (lock === undefined) {
    throw new CommandError(
      `another server works in the data folder ${options.data}; end it, or name another folder with --data`,
    );
  }
  await using resources = new AsyncDisposableStack();
  resources.defer(() => lock.release());
  const git = await openFleetGit(options.repo, {
    folder: join(options.data, 'mirror'),
    branch: options.branch,
    engine: options.git,
    env: io.env,
    pollMs,
    random: Math.random,
    onProblem: log,
  });
  resources.defer(() => git.close());
  const database =
    options.databaseUrl ?? io.env['TIDEGATE_DATABASE_URL'] ?? join(options.data, 'tidegate.db');
  const store = await openStore(database, { epoch: randomUUID });
  resources.defer(() => store.close());
  const clock = steadyClock({
    wall: io.clock.now,
    elapsed: () => performance.now(),
    sleep: io.clock.sleep,
  });
  const randomHex = () => randomBytes(16).toString('hex');
  const service = createService(
    {
      git,
      store,
      keys,
      clock,
      artifacts: openArtifactFolder(join(options.data, 'artifacts')),
      randomHex,
      onEvent: (event) => eventLines(event, options.branch).forEach(log),
      onStep: (step, decisions) => STEPS.publish({ step, decisions }),
      onFault: (message) => log(`a request failed: ${message}`),
      ...(apiToken === undefined ? {} : { apiToken }),
      ...(webhookSecret === undefined ? {} : { webhookSecret }),
      ...(forge === undefined ? {} : { forge }),
      revokedObservationTokens,
      ask: createAsk(askConfig, { fetch: io.fetch, clock, randomHex }),
      notifications: {
        fetch: io.fetch,
        hooks: hooksIn(io.env),
        random: Math.random,
        onTrouble: (message) => log(`notifications: ${message}`),
        signingKeys,
      },
      ...(allowedSigners === undefined ? {} : { allowedSigners }),
    },
    { branch: options.branch, ...(store.place?.kind === 'postgres' ? { idleMs: SHARED_IDLE_MS } : {}) },
  );
  const server = await listen(service.app, address, service.direct).catch((error) => {
    throw new CommandError(`cannot listen on ${options.listen}: ${listenAdvice(error)}`, EXIT.usage, error);
  });
  try {
    log(`serving ${options.repo} (${options.branch}) on ${server.url}`);
    log(`what Tidegate commits is signed with ssh-ed25519 ${sshPublicKey(keys.commits)}`);
    const interrupted = io.interrupted();
    const delivering = service.deliver(interrupted);
    await service.reconciler.run(interrupted);
    log('stopping');
    await delivering;
  } finally {
    await service.close();
    await server.close();
  }
  return EXIT.fine;
}

/** What notices are signed with; nothing where no secret is set. */
function readNotifySecret(env: Io['env']): SigningKeys {
  const secret = env['TIDEGATE_NOTIFY_SECRET'];
  if (secret === undefined) return [];
  const read = readSigningKeys(secret);
  if (read.ok) return read.keys;
  throw new CommandError(`TIDEGATE_NOTIFY_SECRET: ${read.problem}`);
}

/** A token that was meant to be taken back and is not would be worse than a server that does not start. */
function readRevokedTokens(env: Io['env']): ReadonlySet<string> {
  const written = env['TIDEGATE_REVOKED_OBSERVATION_TOKENS'] ?? '';
  const ids = written
    .split(',')
    .map((id) => id.trim())
    .filter((id) => id !== '');
  const wrong = ids.findIndex((id) => !OBSERVATION_TOKEN_ID.test(id));
  if (wrong === -1) return new Set(ids);
  // What stands there may be a token, which is a secret: it is not repeated.
  throw new CommandError(
    `TIDEGATE_REVOKED_OBSERVATION_TOKENS: entry ${wrong + 1} is no id of a token; ids are UUIDs in lower case, with commas between, ` +
      'as tidegate observation token prints them and as "jti" in the token says',
  );
}

/** A line that adds nobody ends the start: a policy with a hole in it is none. */
async function readSigners(
  file: string,
): Promise<{ readonly allowed: AllowedSigners; readonly place: string }> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new CommandError(`--allowed-signers: ${file} cannot be read`, EXIT.usage, cause);
  });
  const allowed = parseAllowedSigners(text);
  const [problem] = allowed.problems;
  if (problem !== undefined) throw new CommandError(`${file}:${problem.line}: ${problem.message}`);
  if (allowed.signers.length > 0) return { allowed, place: file };
  throw new CommandError(`${file} allows nobody: no commit would count; list a key, one per line`);
}

/** A plain clone has other people's record only as a remote branch: beginning a new one would forget what is known-good. */
async function refuseForgottenOutcomes(repo: string): Promise<void> {
  if (parsePlace(repo).kind !== 'local') return;
  const remote = await remoteBranchOnly(repo, OUTCOMES_BRANCH);
  if (remote === undefined) return;
  throw new CommandError(
    `${repo} has ${remote} and no branch ${OUTCOMES_BRANCH}: its record would begin anew; ` +
      `run git -C ${repo} branch ${OUTCOMES_BRANCH} ${remote}`,
  );
}

/** Makes the folder if it is not there, and its keys if they are not. What the system refuses becomes a sentence. */
async function openDataFolder(folder: string, env: Io['env']): Promise<Keys> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    return await openKeys(join(folder, 'keys'), env);
  } catch (error) {
    const advice = FOLDER_ADVICE.get(errorCode(error) ?? '');
    if (advice === undefined) throw error;
    throw new CommandError(`the data folder ${folder} cannot be used: ${advice}`, EXIT.usage, error);
  }
}

const FOLDER_ADVICE: ReadonlyMap<string, string> = new Map([
  ['EACCES', 'this user may not read and write there; change that, or name another folder with --data'],
  ['EPERM', 'this user may not read and write there; change that, or name another folder with --data'],
  ['EROFS', 'its file system is read-only; mount it writable, or name another folder with --data'],
  ['ENOSPC', 'its disk is full; make room, or name another folder with --data'],
  ['EEXIST', 'it is a file; name a folder with --data'],
  ['ENOTDIR', 'a part of it is a file; name a folder with --data'],
]);

function listenAdvice(error: unknown): string {
  switch (errorCode(error)) {
    case 'EADDRINUSE':
      return 'another process listens there; end it, or choose another port with --listen';
    case 'EACCES':
      return 'this user may not use that port; choose one above 1023 with --listen';
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return 'this machine has no such address; choose one that it has, or 0.0.0.0 for all, with --listen';
    default:
      return error instanceof Error ? error.message : String(error);
  }
}
