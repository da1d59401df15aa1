/** Conditional requests: whether the client has the representation already. */

/** RFC 9110 §13.1.2: a list of entity tags, compared weakly, or `*` for any. */
export function matchesEtag(ifNoneMatch: string | undefined, etag: string): boolean {
  if (ifNoneMatch === undefined || ifNoneMatch === etag) return ifNoneMatch === etag;
  if (ifNoneMatch.trim() === '*') return true;
  return ifNoneMatch.matchAll(/"[^"]*"/g).some(([tag]) => tag === etag);
}
