/** A proposal that cannot be looked at: the message says why and what to do, for whoever asked. */
export class ProposalError extends Error {
  override readonly name = 'ProposalError';
  readonly code = 'proposal';

  constructor(message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
  }
}
