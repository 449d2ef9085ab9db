import { refusal } from "../box";
import { askIceServers, wholeOffer } from "../exchange";
import { Assembler, parse, type Findings } from "./documents";
import type { Source } from "./request";
import { sendFile } from "./upload";

const address = "/initialise_webrtc_worker";
// The box's ICE servers are the same for everything that is live.
const iceAddress = "/api/v1/whip/ice";
const answerTimeout = 15_000; // ms
const endTimeout = 15_000; // ms that the box's last pictures may take, and its closing

/** Why the box opens no session. */
export class SessionRefused extends Error {
  constructor(
    message: string,
    readonly field = "",
    readonly expected = "",
    readonly available: string[] = [],
    readonly retryAfter = "",
  ) {
    super(message);
  }
}

/** How a session ended: in the box's words, or without any. */
export type End = { said: true; reason: string | null; errors: string[] } | { said: false; why: string };

export interface WorkerEvents {
  state(words: string): void;
  notes(notes: string[]): void;
  video(stream: MediaStream): void;
  findings(frame: number, f: Findings, bytes: number): void;
  sent(bytes: number): void;
  /** Comes once; nothing comes after it. Not called for a session that was closed here, or never opened. */
  ended(end: End): void;
}

/** One session of the worker protocol, from its offer on. */
export class WorkerSession {
  private pc: RTCPeerConnection | undefined;
  private inference: RTCDataChannel | undefined;
  private readonly abort = new AbortController();
  private readonly assembler = new Assembler();
  private reading = Promise.resolve();
  private last: End | undefined;
  private timer = 0;
  private told = false;
  private over = false;

  constructor(private readonly source: Source, private readonly fields: Record<string, unknown>, private readonly events: WorkerEvents) {}

  /** Opens the session. Throws a SessionRefused or a Refusal when the box refuses. */
  async start(): Promise<void> {
    this.events.state("Asking the box");
    const iceServers = await askIceServers(iceAddress);
    if (this.over) return;
    const pc = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" });
    this.pc = pc;
    this.inference = pc.createDataChannel("inference");
    this.inference.binaryType = "arraybuffer";
    this.inference.addEventListener("message", (e) => this.message(e.data));
    this.inference.addEventListener("close", () => this.closedByBox());
    if (this.source.kind === "file") this.upload(pc, this.source.file);
    const track = this.source.kind === "camera" ? this.source.stream.getVideoTracks()[0] : undefined;
    const transceiver = pc.addTransceiver(track ?? "video", { direction: track ? "sendrecv" : "recvonly" });
    if ("jitterBufferTarget" in transceiver.receiver) transceiver.receiver.jitterBufferTarget = 0;
    pc.addEventListener("track", (e) => {
      if (!this.over) this.events.video(new MediaStream([e.track]));
    });
    pc.addEventListener("connectionstatechange", () => this.transport(pc.connectionState));
    await this.negotiate(pc);
  }

  private async negotiate(pc: RTCPeerConnection): Promise<void> {
    const sdp = await wholeOffer(pc);
    const response = await fetch(address, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ ...this.fields, webrtc_offer: { type: "offer", sdp } }),
      signal: AbortSignal.any([this.abort.signal, AbortSignal.timeout(answerTimeout)]),
    });
    if (!response.ok) throw await refused(response);
    const answer = (await response.json()) as { sdp: string; context?: { notes?: string[] } | null };
    if (this.over) return; // the box misses its peer, and gives the session up
    if (answer.context?.notes) this.events.notes(answer.context.notes);
    await pc.setRemoteDescription({ type: "answer", sdp: answer.sdp });
  }

  /** Has the box send another picture from now on. */
  show(output: string): void {
    this.say({ stream_output: [output] });
  }

  stats(): Promise<RTCStatsReport> | undefined {
    return this.pc?.getStats();
  }

  /** Ends the session and lets go of everything. */
  close(): void {
    if (this.over) return;
    this.over = true;
    clearTimeout(this.timer);
    this.abort.abort();
    this.pc?.close();
  }

  private say(what: unknown): void {
    if (this.inference?.readyState === "open") this.inference.send(JSON.stringify(what));
  }

  private end(end: End): void {
    if (this.over || this.told) return;
    this.told = true;
    this.events.ended(end); // while the last picture can still be seen
    this.close();
  }

  private transport(state: RTCPeerConnectionState): void {
    if (this.over || this.last) return;
    if (state === "connecting") this.events.state("Looking for a way to the box");
    if (state === "connected") this.events.state(waitingFor[this.source.kind]);
    if (state === "disconnected") this.events.state("The connection is interrupted");
    if (state === "failed") this.end({ said: false, why: "The connection to the box broke. Is its UDP or TCP port for video blocked?" });
  }

  private message(data: unknown): void {
    if (this.over || !(data instanceof ArrayBuffer)) return;
    let whole;
    try {
      whole = this.assembler.take(data);
    } catch (err) {
      this.end({ said: false, why: `The box sent what is no part of a document: ${String(err)}` });
      return;
    }
    if (!whole) return;
    const { frame, parts } = whole;
    // One after the other: reading a compressed one takes a moment, and acks are in order.
    this.reading = this.reading.then(async () => {
      try {
        const f = await parse(parts);
        if (!this.over) this.document(frame, f, parts.reduce((n, p) => n + p.length, 0));
      } catch (err) {
        this.end({ said: false, why: `The box sent a document that cannot be read: ${String(err)}` });
      }
    });
  }

  private document(frame: number, f: Findings, bytes: number): void {
    if (!f.processing_complete) {
      this.events.findings(frame, f, bytes);
      if (frame > 0) this.say({ ack: frame });
      return;
    }
    // The box closes the connection once its last pictures are here.
    this.last = { said: true, reason: f.termination_reason, errors: f.errors };
    this.events.state("Over");
    const last = this.last;
    if (f.termination_reason !== null) this.end(last);
    else this.timer = window.setTimeout(() => this.end(last), endTimeout);
  }

  private closedByBox(): void {
    // What came before is read first.
    void this.reading.then(() => this.end(this.last ?? { said: false, why: "The box closed the connection without saying why. Its log may." }));
  }

  private upload(pc: RTCPeerConnection, file: File): void {
    const channel = pc.createDataChannel("video_upload");
    channel.binaryType = "arraybuffer";
    channel.addEventListener("open", () => {
      sendFile(channel, file, (n) => this.events.sent(n)).catch((err: unknown) => {
        this.end({ said: false, why: `The file could not be read: ${err instanceof Error ? err.message : String(err)}` });
      });
    });
  }
}

const waitingFor = {
  camera: "Connected: waiting for the first frame",
  file: "Connected: the file is being sent",
  address: "Connected: the box opens the stream",
};

async function refused(response: Response): Promise<Error> {
  const type = response.headers.get("Content-Type") ?? "";
  if (response.status === 401 || type.includes("problem+json") || !type.includes("json")) return refusal(response);
  const r = (await response.json().catch(() => ({}))) as { message?: string; field?: string; expected?: string; available?: string[] };
  const available = Array.isArray(r.available) ? r.available.map(String) : [];
  // Some messages are whole by themselves; what is shown beside them is left out.
  let message = r.message ?? `The box answered ${response.status}.`;
  for (const said of [`; available: ${available.join(", ")}`, `; expected: ${r.expected ?? ""}`]) if (message.endsWith(said)) message = message.slice(0, -said.length);
  if (r.field && message.startsWith(`${r.field}: `)) message = message.slice(r.field.length + 2);
  return new SessionRefused(message, r.field, r.expected, available, response.headers.get("Retry-After") ?? "");
}
