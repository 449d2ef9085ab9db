import { askIceServers, Exchange } from "./exchange";

// One viewing session over WHEP (draft-ietf-wish-whep): an offer that receives
// one video, all candidates gathered first, and DELETE at the end.

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
  private readonly exchange: Exchange;
  private closed = false;
  private readonly receiver: RTCRtpReceiver;
  /** Whether boxes come beside the picture. */
  readonly boxes: boolean;

  constructor(endpoint: string, iceServers: RTCIceServer[], events: SessionEvents) {
    this.exchange = new Exchange(endpoint);
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
  static iceServers(endpoint: string): Promise<RTCIceServer[]> {
    return askIceServers(endpoint);
  }

  /** Offers and takes the answer. Throws a Refusal when the box refuses. */
  start(): Promise<void> {
    return this.exchange.offer(this.pc);
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
    this.pc.close();
    this.exchange.leave();
  }
}
