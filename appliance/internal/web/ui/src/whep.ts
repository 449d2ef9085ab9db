import { refusal } from "./box";

// One viewing session over WHEP (draft-ietf-wish-whep): an offer that receives
// one video, all candidates gathered first, and DELETE at the end.

const gatherTimeout = 800; // ms; on a LAN the candidates are there after a few
const answerTimeout = 10_000;

/** What a session says about itself. */
export interface SessionEvents {
  stream(stream: MediaStream): void;
  /** The transport's state, in the browser's words. */
  transport(state: RTCPeerConnectionState): void;
  /** A message about the boxes of a frame; absent: they are on the picture. */
  boxes?(message: string): void;
}

export class Session {
  private readonly pc: RTCPeerConnection;
  private readonly abort = new AbortController();
  private resource: string | undefined;
  private etag: string | undefined;
  private closed = false;
  private readonly receiver: RTCRtpReceiver;
  /** Whether boxes come beside the picture. */
  readonly boxes: boolean;

  constructor(private readonly endpoint: string, iceServers: RTCIceServer[], events: SessionEvents) {
    this.pc = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" });
    this.receiver = this.pc.addTransceiver("video", { direction: "recvonly" }).receiver;
    this.boxes = events.boxes !== undefined;
    if (events.boxes) {
      // Boxes that are lost or late are of no use: the next ones follow.
      const channel = this.pc.createDataChannel("boxes", { ordered: false, maxRetransmits: 0 });
      channel.addEventListener("message", (e) => {
        if (!this.closed && typeof e.data === "string") events.boxes?.(e.data);
      });
    }
    this.pc.addEventListener("track", (e) => {
      // A live picture: as little delay as the network allows.
      if ("jitterBufferTarget" in e.receiver) e.receiver.jitterBufferTarget = 0;
      if (!this.closed) events.stream(e.streams[0] ?? new MediaStream([e.track]));
    });
    this.pc.addEventListener("connectionstatechange", () => {
      if (!this.closed) events.transport(this.pc.connectionState);
    });
  }

  /** Asks the box for its ICE servers; none when it does not say. */
  static async iceServers(endpoint: string): Promise<RTCIceServer[]> {
    const response = await fetch(endpoint, { method: "OPTIONS", signal: AbortSignal.timeout(answerTimeout) });
    return response.ok ? parseLinks(response.headers.get("Link") ?? "") : [];
  }

  /** Offers and takes the answer. Throws a Refusal when the box refuses. */
  async start(): Promise<void> {
    await this.pc.setLocalDescription(await this.pc.createOffer());
    await this.gathered();
    const response = await fetch(this.endpoint, {
      method: "POST",
      headers: { "Content-Type": "application/sdp" },
      body: this.pc.localDescription?.sdp ?? "",
      signal: AbortSignal.any([this.abort.signal, AbortSignal.timeout(answerTimeout)]),
    });
    if (!response.ok) throw await refusal(response);
    const where = response.headers.get("Location");
    if (where) this.resource = new URL(where, new URL(this.endpoint, location.href)).href;
    this.etag = response.headers.get("ETag") ?? undefined;
    const sdp = await response.text();
    if (this.closed) {
      this.leave();
      return;
    }
    await this.pc.setRemoteDescription({ type: "answer", sdp });
  }

  /** Has pictures wait before they are shown, ms. */
  delay(ms: number): void {
    if ("jitterBufferTarget" in this.receiver) this.receiver.jitterBufferTarget = ms;
  }

  stats(): Promise<RTCStatsReport> {
    return this.pc.getStats();
  }

  /** Ends the session, here and on the box; also while the page goes away. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.abort.abort();
    this.pc.close();
    this.leave();
  }

  private leave(): void {
    if (!this.resource) return;
    const headers: Record<string, string> = this.etag ? { "If-Match": this.etag } : {};
    // keepalive lets the request outlive the page; without an answer the box
    // notices by itself that nobody is there.
    void fetch(this.resource, { method: "DELETE", headers, keepalive: true }).catch(() => undefined);
    this.resource = undefined;
  }

  private gathered(): Promise<void> {
    if (this.pc.iceGatheringState === "complete") return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, gatherTimeout);
      this.pc.addEventListener("icegatheringstatechange", () => {
        if (this.pc.iceGatheringState !== "complete") return;
        clearTimeout(timer);
        resolve();
      });
    });
  }
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
