/** The `notifications` of the Fleet document: who is told, where, in which form. Nothing here reads an environment. */
import { DEFAULT_OCCASIONS, type Receiver } from '../core/model/receiver.ts';
import type { Place, Report, SourceDocument } from './document.ts';
import type { RuleId } from './rules.ts';
import type { Fleet } from './types.generated.ts';

type Entry = NonNullable<Fleet['spec']['notifications']>[number];

/** The receivers; an entry that names none, or two, is reported and left out. */
export function receiversOf(document: SourceDocument<'Fleet'>, report: Report): readonly Receiver[] {
  const entries = document.data.spec.notifications ?? [];
  return entries.flatMap((entry, at) => {
    const address = addressOf(entry, { document, path: ['spec', 'notifications', at] }, report);
    if (address === undefined) return [];
    return [
      {
        address,
        format: entry.format ?? 'cloudevents',
        on: entry.on ?? DEFAULT_OCCASIONS,
      },
    ];
  });
}

function addressOf({ url, urlFrom }: Entry, place: Place, report: Report): Receiver['address'] | undefined {
  if ((url === undefined) === (urlFrom === undefined)) {
    const found = url === undefined ? 'neither' : 'both';
    report(
      place,
      'schema',
      `an entry needs either url or urlFrom, found ${found}; keep the one that is meant`,
    );
    return undefined;
  }
  if (urlFrom !== undefined) return { env: urlFrom.env };
  if (url === undefined) return undefined;
  const problem = problemOf(url);
  if (problem !== undefined) report({ ...place, path: [...place.path, 'url'] }, ...problem);
  return { url };
}

/** Slack's webhooks are addresses that whoever knows them can post to. */
const SLACK_HOST = /(?:^|\.)slack(?:-gov)?\.com\.?$/;

/** The rule and the message. Neither shows the address: the message is for more eyes than the repository. */
function problemOf(text: string): readonly [rule: RuleId, message: string] | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || url.hostname === '') {
    return ['schema', 'it is no address that can be asked; write it as https://hooks.example/tidegate'];
  }
  const next = 'revoke it, put the new one into the environment of the server, and name it with urlFrom';
  if (url.username !== '' || url.password !== '') {
    return ['secret', `it has credentials in it, which whoever can read the repository can use; ${next}`];
  }
  if (SLACK_HOST.test(url.hostname)) {
    return ['secret', `whoever can read it in the repository can post to your Slack; ${next}`];
  }
  return undefined;
}
