/**
 * How long a thread keeps everything else waiting, as a timer sees it that asks to be called every millisecond. On a machine
 * that others share a thread also waits for a processor: the processor time between two calls is what is its own fault.
 */
import { realNow } from '../src/clock.ts';

export interface Waited {
  readonly msMax: number;
  readonly cpuMsMax: number;
}

/** Watches this thread; each call gives the longest stretches since the last one. */
export function watchTurns(): () => Waited {
  let calledAt = realNow();
  let cpuAt = cpuMs();
  let msMax = 0;
  let cpuMsMax = 0;
  const called = () => {
    const [now, cpu] = [realNow(), cpuMs()];
    msMax = Math.max(msMax, now - calledAt);
    cpuMsMax = Math.max(cpuMsMax, cpu - cpuAt);
    [calledAt, cpuAt] = [now, cpu];
  };
  setInterval(called, 1).unref();
  return () => {
    called();
    const waited = { msMax, cpuMsMax };
    [msMax, cpuMsMax] = [0, 0];
    return waited;
  };
}

function cpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}
