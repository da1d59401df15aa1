/** One file → one validated document, remembered by the id of its blob. */
import { LRUCache } from 'lru-cache';
import { parseYaml } from './parse.ts';
import { type Validation, validate } from './validate.ts';

/** What was read, by blob id: a snapshot mostly has the same files as the one before. */
export type DocumentCache = LRUCache<string, CachedDocument>;

interface CachedDocument {
  readonly validation: Validation;
  readonly sizeBytes: number;
}

/** A file with more mistakes than this is wrong as a whole; the rest of them would only hide the first. */
const FINDINGS_MAX = 100;
const CACHED_BYTES = 16 * 1024 * 1024;

/** `maxSize` bounds the text of the documents that are remembered, in bytes; in memory they take several times that. */
export function createDocumentCache(maxSize: number = CACHED_BYTES): DocumentCache {
  return new LRUCache<string, CachedDocument>({ maxSize, sizeCalculation: ({ sizeBytes }) => sizeBytes });
}

export function readDocument(
  file: { content: Uint8Array; blob?: string },
  cache?: DocumentCache,
): Validation {
  const known = file.blob === undefined ? undefined : cache?.get(file.blob);
  if (known !== undefined) return known.validation;
  const validation = read(file.content);
  if (file.blob !== undefined)
    cache?.set(file.blob, { validation, sizeBytes: Math.max(1, file.content.byteLength) });
  return validation;
}

function read(content: Uint8Array): Validation {
  const parsed = parseYaml(content);
  const validation = parsed.ok ? validate(parsed.yaml) : { findings: parsed.findings };
  const { findings } = validation;
  const [first] = findings;
  if (first === undefined || findings.length <= FINDINGS_MAX) return validation;
  const rest = `${findings.length - FINDINGS_MAX} more problems in this file are not listed; fix the others first`;
  return {
    ...validation,
    findings: [...findings.slice(0, FINDINGS_MAX), { ...first, rule: 'too-many', message: rest }],
  };
}
