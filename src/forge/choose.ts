/** Which forge a repository is on, by its URL and by the tokens that there are. */
import type { Clock } from '../clock.ts';
import type { Forge } from './forge.ts';
import { githubApi } from './github.ts';
import { repositoryAt } from './repository-url.ts';

export interface ForgeOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly fetch: typeof fetch;
  readonly clock: Pick<Clock, 'now'>;
}

/**
 * GitHub's, where `TIDEGATE_GITHUB_TOKEN` is set and `url` is of a repository on a server. Without, people find the branch
 * by themselves. Throws {@link ForgeError} for settings of no use.
 */
export function forgeFor(url: string, { env, fetch, clock }: ForgeOptions): Forge | undefined {
  const token = env['TIDEGATE_GITHUB_TOKEN'];
  const repository = token === undefined ? undefined : repositoryAt(url);
  if (token === undefined || repository === undefined) return undefined;
  return githubApi({ repository, token, apiUrl: env['TIDEGATE_GITHUB_API_URL'], fetch, clock });
}
