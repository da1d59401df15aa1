/**
 * A full recount of a large fleet, in its thread, against reading the same devices and evaluating the target conditions
 * alone; how long the recount keeps the main thread from anything else; and the memory of it all. A process of its own
 * does it, so that nothing else is in the figures.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { median } from './measure.ts';

const DEVICES = 1_000_000;

export interface RecountFigures {
  readonly devices: number;
  readonly rollouts: number;
  readonly conditionsMs: readonly number[];
  readonly recountMs: readonly number[];
  readonly blockedMsMax: number;
  readonly mainThreadMs: number;
  readonly populationMs: number;
  readonly peakMebibytes: number;
}

/** `BENCH_DEVICES` makes the fleet smaller. */
export async function recount(): Promise<readonly string[]> {
  const devices = Number(process.env['BENCH_DEVICES'] ?? DEVICES);
  const child = fork(new URL('./recount-process.ts', import.meta.url), [String(devices)]);
  const [figures] = (await once(child, 'message')) as [RecountFigures];
  await once(child, 'exit');
  const ratios = figures.recountMs.map((ms, round) => ms / (figures.conditionsMs[round] ?? Number.NaN));
  return [
    `${figures.devices} devices, ${figures.rollouts} rollouts that most of them match`,
    `a recount takes ${median(ratios).toFixed(2)} times as long as reading the devices and evaluating the target ` +
      `conditions alone (${Math.round(median(figures.recountMs))} ms, ${Math.round(median(figures.conditionsMs))} ms)`,
    `who enters the next stage is answered in ${Math.round(figures.populationMs)} ms`,
    `the main thread worked for ${figures.mainThreadMs.toFixed(1)} ms meanwhile; its longest delay was ` +
      `${figures.blockedMsMax.toFixed(1)} ms, what else ran on the machine included`,
    `peak memory of the process: ${Math.round(figures.peakMebibytes)} MiB`,
  ];
}
