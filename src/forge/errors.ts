/** What can be wrong with how a forge is to be reached. */
export class ForgeError extends Error {
  override readonly name = 'ForgeError';
  readonly code = 'forge';
}
