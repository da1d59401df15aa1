/** A gate's rule in a few words, for changes and lists. */
import type { Baseline, Gate, Method } from '../model/gate.ts';
import { formatDuration } from '../model/time.ts';
import { figure, percent, points } from './words.ts';

export function describeGate(gate: Gate): string {
  switch (gate.kind) {
    case 'expression':
      return gate.expression;
    case 'events':
      return `${gate.event} per device-hour ${describeMethod(gate.method)} ${describeBaseline(gate.against)}`;
    case 'metric':
      return `mean ${gate.signal}${gate.worse === 'lower' ? ' (lower is worse)' : ''} ${describeMethod(gate.method)} ${describeBaseline(gate.against)}`;
    case 'share':
      return `devices that are ${SHARES[gate.of]}: ${describeShare(gate.limit)}`;
    case 'observations':
      return `${gate.metric} at most ${figure(gate.above)} within ${formatDuration(gate.windowMs)}`;
    case 'prometheus': {
      const most = gate.limit.kind === 'above' ? 'at most' : 'at least';
      const lasting = gate.forMs > 0 ? ` for ${formatDuration(gate.forMs)}` : '';
      return `${gate.query} ${most} ${figure(gate.limit.value)}${lasting}`;
    }
    case 'webhook':
      return `the verdict of ${gate.url}`;
    case 'approval':
      return gate.count === 1 ? 'one approval' : `${gate.count} approvals`;
  }
}

const SHARES = { failed: 'failed', rolledBack: 'back by themselves', silent: 'silent' } as const;

function describeMethod(method: Method): string {
  if (method.kind === 'sequential') return `up to ${figure(method.margin)} times`;
  return `at most ${figure(method.haltRatio)} times${method.forMs > 0 ? `, for ${formatDuration(method.forMs)},` : ''}`;
}

function describeBaseline(against: Baseline): string {
  if (against.kind === 'known') return figure(against.value);
  return against.kind === 'control' ? 'that of untouched devices' : 'that of the known-good attempt';
}

function describeShare(limit: Extract<Gate, { kind: 'share' }>['limit']): string {
  if (limit.kind === 'allowed') return `${percent(limit.share)} are allowed`;
  if (limit.kind === 'above') return `at most ${percent(limit.share)}`;
  return 'points' in limit
    ? `at most ${points(limit.points)} fewer heard of than untouched ones`
    : `at most ${percent(limit.share)} fewer heard of than untouched ones`;
}
