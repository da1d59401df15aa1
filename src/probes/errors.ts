/** What can be wrong with how gates are to ask. */
export class ProbeError extends Error {
  override readonly name = 'ProbeError';
  readonly code = 'probe';
}
