import { refusal } from "./box";

// What a peer of the box says over HTTP: an offer with all its candidates, and DELETE
// at the end. The same for watching (WHEP) and for publishing (WHIP, RFC 9725).

const gatherTimeout = 800; // ms; on a LAN the candidates are there after a few
const answerTimeout = 10_000;

/** One session's exchange with the box. */
export class Exchange {
  private readonly abort = new AbortController();
  private resource: string | undefined;
  private etag: string | undefined;
  private left = false;

  constructor(private readonly endpoint: string) {}

  /** Offers and takes the answer. Throws a Refusal when the box refuses. */
  async offer(pc: RTCPeerConnection): Promise<void> {
    const response = await fetch(this.endpoint, {
      method: "POST",
      headers: { "Content-Type": "application/sdp" },
      body: await wholeOffer(pc),
      signal: AbortSignal.any([this.abort.signal, AbortSignal.timeout(answerTimeout)]),
    });
    if (!response.ok) throw await refusal(response);
    const where = response.headers.get("Location");
    if (where) this.resource = new URL(where, new URL(this.endpoint, location.href)).href;
    this.etag = response.headers.get("ETag") ?? undefined;
    const sdp = await response.text();
    if (this.left) {
      this.remove();
      return;
    }
    await pc.setRemoteDescription({ type: "answer", sdp });
  }

  /** Ends the session on the box; also while the page goes away. */
  leave(): void {
    if (this.left) return;
    this.left = true;
    this.abort.abort();
    this.remove();
  }

  private remove(): void {
    if (!this.resource) return;
    const headers: Record<string, string> = this.etag ? { "If-Match": this.etag } : {};
    // keepalive lets the request outlive the page; without an answer the box
    // notices by itself that nobody is there.
    void fetch(this.resource, { method: "DELETE", headers, keepalive: true }).catch(() => undefined);
    this.resource = undefined;
  }
}

/** Makes the offer of a connection and waits for its candidates: none is sent later. */
export async function wholeOffer(pc: RTCPeerConnection): Promise<string> {
  await pc.setLocalDescription(await pc.createOffer());
  if (pc.iceGatheringState !== "complete") {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, gatherTimeout);
      pc.addEventListener("icegatheringstatechange", () => {
        if (pc.iceGatheringState !== "complete") return;
        clearTimeout(timer);
        resolve();
      });
    });
  }
  return pc.localDescription?.sdp ?? "";
}

/** Asks the box for its ICE servers; none when it does not say. */
export async function askIceServers(endpoint: string): Promise<RTCIceServer[]> {
  const response = await fetch(endpoint, { method: "OPTIONS", signal: AbortSignal.timeout(answerTimeout) });
  return response.ok ? parseLinks(response.headers.get("Link") ?? "") : [];
}

/** Reads `<stun:host>; rel="ice-server"; username="u"; credential="c"` links. */
export function parseLinks(header: string): RTCIceServer[] {
  const servers: RTCIceServer[] = [];
  for (const [, url, rest] of header.matchAll(/<([^>]*)>((?:\s*;\s*[\w-]+\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^\s;,"]+))*)/g)) {
    const parameters = new Map<string, string>();
    for (const [, name, quoted, plain] of (rest ?? "").matchAll(/;\s*([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]+))/g)) {
      parameters.set((name ?? "").toLowerCase(), quoted?.replace(/\\(.)/g, "$1") ?? plain ?? "");
    }
    if (!url || parameters.get("rel") !== "ice-server" || !/^(stun|turn)s?:/.test(url)) continue;
    const server: RTCIceServer = { urls: url };
    const username = parameters.get("username");
    const credential = parameters.get("credential");
    if (username !== undefined) server.username = username;
    if (credential !== undefined) server.credential = credential;
    servers.push(server);
  }
  return servers;
}
