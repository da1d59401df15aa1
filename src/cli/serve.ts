/** `tidegate serve`: reconciles a local repository and serves its fleet until it is told to stop. */
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { formatInstant } from '../core/model/time.ts';
import { openRepository } from '../fleet-repo/isomorphic.ts';
import { isLoopback, listen, parseAddress } from '../http/listen.ts';
import { createService } from '../service.ts';
import { openSqliteStore } from '../store/sqlite.ts';
import { openKeys } from '../trust/keys.ts';
import { CommandError, EXIT, type ExitCode } from './errors.ts';
import { eventLines } from './event-text.ts';
import type { Io } from './io.ts';

export interface ServeOptions {
  readonly repo: string;
  readonly branch: string;
  readonly data: string;
  readonly listen: string;
}

/** Resolves when a signal has stopped it and everything accepted is on disk. */
export async function run(options: ServeOptions, io: Io): Promise<ExitCode> {
  const address = parseAddress(options.listen);
  if (address === undefined) {
    throw new CommandError(
      `--listen must be HOST:PORT, found "${options.listen}"; for example 127.0.0.1:8080`,
    );
  }
  const apiToken = io.env['TIDEGATE_API_TOKEN'];
  if (!isLoopback(address.host) && apiToken === undefined) {
    throw new CommandError(
      `${address.host} can be reached from elsewhere; set TIDEGATE_API_TOKEN to protect the operators' API, or listen on 127.0.0.1`,
    );
  }
  await mkdir(options.data, { recursive: true, mode: 0o700 });
  const git = await openRepository(options.repo);
  const keys = await openKeys(join(options.data, 'keys'));
  const store = await openSqliteStore(join(options.data, 'tidegate.db'), { epoch: randomUUID });
  try {
    const log = (line: string) => io.out.lines([`${formatInstant(io.clock.now())} ${line}`]);
    const service = createService(
      {
        git,
        store,
        keys,
        clock: io.clock,
        randomHex: () => randomBytes(16).toString('hex'),
        onEvent: (event) => eventLines(event).forEach(log),
        onFault: (message) => log(`a request failed: ${message}`),
        ...(apiToken === undefined ? {} : { apiToken }),
      },
      { branch: options.branch },
    );
    const server = await listen(service.app, address);
    log(`serving ${options.repo} (${options.branch}) on ${server.url}`);

    await service.reconciler.run(io.interrupted());
    log('stopping');
    await service.close();
    await server.close();
    return EXIT.fine;
  } finally {
    await store.close();
  }
}
