/** Image references as Docker reads them, written out with their registry. */

export interface ImageReference {
  /** With registry, as a distribution set has it. */
  readonly image: string;
  readonly registry: string;
  /** The tag's, or the beginning of the digest where there is no tag. */
  readonly version: string;
  /** What runs under this reference may change without a commit: it has neither a digest nor a tag but `latest`. */
  readonly isMovable: boolean;
}

const REFERENCE = /^([^\s@]+?)(?::([A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?:@sha256:([0-9a-f]{64}))?$/;
/** What the schema of distribution sets takes. */
const NAME = /^[a-z0-9][a-z0-9.-]*(:[0-9]+)?(\/[a-z0-9._-]+)+$/;
const DIGEST_SHOWN = 12;

/** Undefined where it is no image reference, a placeholder of a template for one. */
export function parseImage(text: string): ImageReference | undefined {
  const [, written, tag, digest] = REFERENCE.exec(text.trim()) ?? [];
  if (written === undefined) return undefined;
  const name = withRegistry(written);
  if (!NAME.test(name)) return undefined;
  const version = tag ?? (digest === undefined ? 'latest' : `sha256-${digest.slice(0, DIGEST_SHOWN)}`);
  return {
    image: `${name}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@sha256:${digest}`}`,
    registry: name.slice(0, name.indexOf('/')),
    version: version.replace(/^[^A-Za-z0-9]+/, '').slice(0, 64) || 'latest',
    isMovable: digest === undefined && (tag === undefined || tag === 'latest'),
  };
}

/** Docker's rule: the first part is a registry if it has a dot or a port, or is localhost; otherwise it is Docker Hub. */
function withRegistry(name: string): string {
  const [first = '', ...rest] = name.split('/');
  if (rest.length === 0) return `docker.io/library/${name}`;
  return /[.:]/.test(first) || first === 'localhost' ? name : `docker.io/${name}`;
}
