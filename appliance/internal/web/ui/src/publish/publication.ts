import { Refusal } from "../box";
import { askIceServers, Exchange } from "../exchange";

export type PublicationState = "connecting" | "publishing" | "retrying" | "refused";

/** What really leaves the browser. */
export interface Sending {
  bitsPerSecond: number;
  fps: number;
  size: string;
  codec: string;
}

const startLimit = 15_000; // ms until the connection has to be there
const lostLimit = 8_000; // ms that an interruption may take
const longestWait = 15; // s between tries

/** A picture of this browser, published to the box over WHIP (RFC 9725) until it is closed. A connection that breaks is made anew. */
export class Publication {
  private pc: RTCPeerConnection | undefined;
  private exchange: Exchange | undefined;
  private timer = 0;
  private failures = 0;
  private closed = false;
  private before: { at: number; bytes: number; frames: number } | undefined;
  private readonly endpoint: string;

  constructor(name: string, private readonly stream: MediaStream, private readonly state: (state: PublicationState, words: string) => void) {
    this.endpoint = `/api/v1/whip/${encodeURIComponent(name)}`;
    void this.connect();
  }

  close(): void {
    this.closed = true;
    this.drop();
  }

  private drop(): void {
    clearTimeout(this.timer);
    this.exchange?.leave();
    this.exchange = undefined;
    this.pc?.close();
    this.pc = undefined;
    this.before = undefined;
  }

  private async connect(): Promise<void> {
    if (this.failures === 0) this.state("connecting", "Asking the box…");
    let pc: RTCPeerConnection | undefined;
    try {
      const iceServers = await askIceServers(this.endpoint);
      if (this.closed) return;
      const mine = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" });
      pc = mine;
      this.pc = mine;
      this.exchange = new Exchange(this.endpoint);
      for (const track of this.stream.getVideoTracks()) mine.addTransceiver(track, { direction: "sendonly", streams: [this.stream] });
      mine.addEventListener("connectionstatechange", () => this.transport(mine));
      this.wait(startLimit, "No way through to the box: is its UDP or TCP port for video blocked?");
      await this.exchange.offer(mine);
    } catch (err) {
      if (this.closed || (pc && pc !== this.pc)) return;
      // The person has to change something, unless it is only that all places are taken,
      // or that the box does not know yet that we are gone.
      if (err instanceof Refusal && err.status !== 503 && !(err.status === 409 && this.failures > 0)) {
        this.close();
        this.state("refused", err.message);
        return;
      }
      this.again(err instanceof Refusal ? err.message.replace(/\.$/, "") : "The box does not answer");
    }
  }

  private wait(ms: number, why: string): void {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.again(why), ms);
  }

  private transport(pc: RTCPeerConnection): void {
    if (this.closed || pc !== this.pc) return;
    switch (pc.connectionState) {
      case "connected":
        clearTimeout(this.timer);
        this.failures = 0;
        this.state("publishing", "The box takes the picture.");
        break;
      case "disconnected":
        this.wait(lostLimit, "The connection to the box broke");
        break;
      case "failed":
      case "closed":
        this.again("The connection to the box broke");
        break;
      default:
    }
  }

  private again(why: string): void {
    this.drop();
    if (this.closed) return;
    this.failures++;
    const seconds = this.failures === 1 ? 1 : Math.min(2 ** (this.failures - 1), longestWait);
    this.countDown(seconds, why);
  }

  private countDown(seconds: number, why: string): void {
    if (seconds <= 0) {
      void this.connect();
      return;
    }
    this.state("retrying", `${why}: trying again in ${seconds} s`);
    this.timer = window.setTimeout(() => this.countDown(seconds - 1, why), 1_000);
  }

  /** What was sent since it was asked last. */
  async sending(): Promise<Sending | undefined> {
    const pc = this.pc;
    const report = await pc?.getStats().catch(() => undefined);
    if (!report || pc !== this.pc || pc?.connectionState !== "connected") return undefined;
    const all = new Map<string, Record<string, unknown>>();
    report.forEach((s: Record<string, unknown> & { id: string }) => all.set(s.id, s));
    const video = [...all.values()].find((s) => s["type"] === "outbound-rtp" && s["kind"] === "video");
    if (!video) return undefined;
    const now = { at: Date.now(), bytes: Number(video["bytesSent"] ?? 0), frames: Number(video["framesEncoded"] ?? 0) };
    const was = this.before;
    this.before = now;
    if (!was || now.at <= was.at) return undefined;
    const seconds = (now.at - was.at) / 1000;
    return {
      bitsPerSecond: ((now.bytes - was.bytes) * 8) / seconds,
      fps: (now.frames - was.frames) / seconds,
      size: video["frameWidth"] ? `${String(video["frameWidth"])} × ${String(video["frameHeight"])}` : "",
      codec: String(all.get(String(video["codecId"]))?.["mimeType"] ?? "").replace("video/", ""),
    };
  }
}
