/** GitHub and GitHub Enterprise: the port, and who we are there. */
import { memberOf } from '../request.ts';
import type { Forge, Refused } from './forge.ts';
import { ask, contextOf, type GithubOptions } from './github/asking.ts';
import { keepComment } from './github/comments.ts';
import { openPullRequest, pullRequestOf } from './github/pull-requests.ts';
import { refusal } from './github/refusals.ts';

/**
 * `author`: who the token acts as; absent: GitHub is asked, which answers people and machine users. The token of a workflow of GitHub
 * Actions may not ask: it is `github-actions[bot]`. Throws {@link ForgeError} for settings of no use.
 */
export function githubApi(options: GithubOptions & { readonly author?: string }): Forge {
  const context = contextOf(options);
  let author = options.author;

  /** https://docs.github.com/en/rest/users/users#get-the-authenticated-user */
  async function whoWeAre(signal: AbortSignal): Promise<string | Refused> {
    if (author !== undefined) return author;
    const asked = await ask(context, signal, { method: 'GET', url: `${context.apiBase}/user` });
    if (asked.kind !== 'answered') return asked;
    const login = asked.status === 200 ? memberOf(asked.body, 'login') : undefined;
    if (typeof login !== 'string') {
      return refusal(context, asked, {
        may: 'say whose it is',
        permission: '"Pull requests: write" as one of a person or a machine user, not of an app,',
        refuses: 'to say whose the token is',
        next: 'it is tried again',
      });
    }
    author = login;
    return login;
  }

  return {
    openPullRequest: (request, signal) => openPullRequest(context, request, signal),
    pullRequestOf: (commit, signal) => pullRequestOf(context, commit, signal),
    async keepComment(comment, signal) {
      const us = await whoWeAre(signal);
      return typeof us === 'string' ? await keepComment(context, { ...comment, author: us }, signal) : us;
    },
  };
}
