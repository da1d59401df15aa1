/**
 * A week of a quarter of a million virtual devices: a plan of half a per cent, five, a quarter and all that soaks for 6, 24, 48 and 72
 * hours, once with nothing wrong and once with four times the crashes, until that is found. A process of its own for each, so that nothing
 * else is in the figures.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';

const DEVICES = 250_000;

export interface SimulateFigures {
  readonly state: string;
  readonly playedDays: number;
  readonly foundAfterHours?: number;
  readonly wallSeconds: number;
  /** Processor time, kernel included. */
  readonly cpuSeconds: number;
  readonly peakMebibytes: number;
}

/** `BENCH_DEVICES` makes the fleet smaller. */
export async function* simulate(): AsyncIterable<string> {
  const devices = Number(process.env['BENCH_DEVICES'] ?? DEVICES);
  yield `${devices} devices, stages of 0.5 %, 5 %, 25 % and all, soaking for 6, 24, 48 and 72 h, a gate over crashes`;
  for (const fault of ['', 'crash=4x']) {
    const child = fork(new URL('./simulate-process.ts', import.meta.url), [String(devices), fault]);
    const [figures] = (await once(child, 'message')) as [SimulateFigures];
    await once(child, 'exit');
    const { state, playedDays, foundAfterHours, wallSeconds, cpuSeconds, peakMebibytes } = figures;
    const outcome =
      foundAfterHours === undefined
        ? `${state} after ${playedDays.toFixed(1)} days`
        : `found after ${foundAfterHours.toFixed(1)} h`;
    yield `${fault === '' ? 'nothing wrong' : fault}: ${outcome}; ${cpuSeconds.toFixed(1)} s of processor time (${wallSeconds.toFixed(1)} s by the clock), ` +
      `peak memory ${Math.round(peakMebibytes)} MiB`;
  }
}
