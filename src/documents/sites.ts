/** Site documents → what sites have differently. A site may change two settings; the schema refuses all others. */
import type * as Desired from '../core/model/desired.ts';
import { parseDuration } from '../core/model/time.ts';
import type { Stepwise } from '../turns.ts';
import { type Place, type Report, type SourceDocument, whereIs } from './document.ts';
import { normaliseWindow, reportSleepers } from './install-window.ts';
import { createMemory } from './memory.ts';
import { valid } from './normalise.ts';
import { show } from './problem.ts';

/** By the value of the tag `site`. Two documents about one site would depend on the order of files: that is a problem. */
export function* normaliseSites(
  documents: readonly SourceDocument<'Site'>[],
  fleet: Pick<Desired.Fleet, 'pollIntervalMs'> | undefined,
  report: Report,
): Stepwise<ReadonlyMap<string, Desired.SiteOverride>> {
  const sites = new Map<string, Desired.SiteOverride>();
  const places = new Map<string, Place>();
  for (const document of documents) {
    const { site } = document.data.spec;
    const path = ['spec', 'site'];
    const first = places.get(site);
    if (first !== undefined) {
      const message = `the site ${show(site)} is in ${whereIs(first)} already; say everything about it in one place`;
      report({ document, path }, 'duplicate-name', message);
      continue;
    }
    places.set(site, { document, path });
    const inputs = [fleet?.pollIntervalMs];
    sites.set(
      site,
      rememberOverride(document, inputs, report, (told) => overrideOf(document, fleet, told)),
    );
    yield;
  }
  return sites;
}

const rememberOverride = createMemory<Desired.SiteOverride>();

function overrideOf(
  document: SourceDocument<'Site'>,
  fleet: Pick<Desired.Fleet, 'pollIntervalMs'> | undefined,
  report: Report,
): Desired.SiteOverride {
  const { pollInterval, installWindow } = document.data.spec.overrides;
  const poll = pollInterval === undefined ? undefined : valid(parseDuration(pollInterval), pollInterval);
  const place = { document, path: ['spec', 'overrides', 'installWindow'] };
  const window = installWindow === undefined ? undefined : normaliseWindow(installWindow, place, report);
  const pollIntervalMs = poll ?? fleet?.pollIntervalMs;
  if (window !== undefined && pollIntervalMs !== undefined) {
    reportSleepers(window, pollIntervalMs, { ...place, path: [...place.path, 'duration'] }, report);
  }
  return {
    ...(poll === undefined ? {} : { pollIntervalMs: poll }),
    ...(window === undefined ? {} : { installWindow: window }),
  };
}
