/**
 * `npm run bench [NAME …]`: measures, prints, asserts nothing. Every figure is a ratio within one run on one machine;
 * absolute numbers say little on a machine that others share.
 */
import { availableParallelism, cpus, totalmem } from 'node:os';
import { coldPolls } from './cold-polls.ts';
import { gateReadings } from './gate-readings.ts';
import { metadata } from './metadata.ts';
import { plan } from './plan.ts';
import { pollWork } from './poll-work.ts';
import { quietPass } from './quiet-pass.ts';
import { recount } from './recount.ts';
import { releases } from './releases.ts';
import { reports } from './reports.ts';
import { selection } from './selection.ts';
import { simulate } from './simulate.ts';
import { validation } from './validation.ts';
import { warmPolls } from './warm-polls.ts';
import { watchedReports } from './watched-reports.ts';

const BENCHES: Readonly<Record<string, () => Promise<readonly string[]> | AsyncIterable<string>>> = {
  'warm-polls': warmPolls,
  'cold-polls': coldPolls,
  reports,
  'watched-reports': watchedReports,
  'poll-work': pollWork,
  recount,
  'quiet-pass': quietPass,
  'gate-readings': gateReadings,
  releases,
  metadata,
  validation,
  plan,
  selection,
  simulate,
};

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !(name in BENCHES));
if (unknown.length > 0) {
  console.error(`no benchmark ${unknown.join(', ')}; there are: ${Object.keys(BENCHES).join(', ')}`);
  process.exit(2);
}
const gibibytes = Math.round(totalmem() / 2 ** 30);
console.log(
  `${cpus()[0]?.model.trim()}, ${availableParallelism()} cores, ${gibibytes} GiB, Node ${process.version}`,
);
for (const [name, bench] of Object.entries(BENCHES)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  console.log(`\n${name}`);
  for await (const line of await bench()) console.log(`  ${line}`);
}
process.exit();
