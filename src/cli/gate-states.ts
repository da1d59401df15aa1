/** How what a gate says looks: the same wherever it is shown. */
import type { GateReading } from '../core/gates/reading.ts';
import type { Style } from './output.ts';

export const GATE_STATES: Readonly<
  Record<GateReading['state'], { readonly glyph: string; readonly style: Style; readonly words: string }>
> = {
  holds: { glyph: '✓', style: 'green', words: 'holds' },
  halts: { glyph: '✗', style: 'red', words: 'halts' },
  missing: { glyph: '?', style: 'yellow', words: 'cannot say' },
};
