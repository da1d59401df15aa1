/** The TUF repository of a server over HTTP: no more is read than is asked for. */
import type { TufPorts } from './tuf-client.ts';

/** `url` is the server's. Throws where it answers with anything but a file or that there is none. */
export function httpFetch(url: string, signal?: AbortSignal): TufPorts['fetch'] {
  return async (path, bytesMax) => {
    const address = `${url.replace(/\/$/, '')}/tuf/${path.split('/').map(encodeURIComponent).join('/')}`;
    const response = await fetch(address, { ...(signal === undefined ? {} : { signal }), redirect: 'error' });
    if (response.status === 404) {
      await response.body?.cancel();
      return undefined;
    }
    if (response.status !== 200) {
      await response.body?.cancel();
      throw new Error(`${address} answers with HTTP ${response.status}`);
    }
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    for await (const chunk of response.body ?? []) {
      chunks.push(chunk);
      bytes += chunk.byteLength;
      // One byte more says that it is too much; the rest is left unread.
      if (bytes > bytesMax) break;
    }
    return Buffer.concat(chunks);
  };
}
