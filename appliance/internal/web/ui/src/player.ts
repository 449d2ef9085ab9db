import { Refusal } from "./box";
import { h, setAttribute, setText } from "./dom";
import { Overlay } from "./overlay";
import type { Camera } from "./types";
import { whyNoPicture } from "./words";
import { Session } from "./whep";

export type PlayerState = "connecting" | "playing" | "no-picture" | "reconnecting";

const freezeLimit = 3_000; // ms without a new frame while the camera says it plays
const startLimit = 8_000; // ms from the offer to the first frame
const keyframeLimit = 65_000; // the same where the camera's next keyframe has to be waited for
const lostLimit = 4_000; // ms that a disconnected transport gets to recover
const restDelay = 2_000; // ms out of sight before the session is given back
const longestWait = 10; // s between tries

/**
 * A live picture that looks after itself: it connects while it can be seen,
 * notices a frozen or lost picture, tries again, and always says what is going on.
 *
 * data-state and data-reason on the element tell the same to tests.
 */
export class Player {
  readonly video = h("video", { autoplay: true, muted: true, playsinline: true, disablepictureinpicture: true, tabindex: "-1" });
  private readonly words = h("p", { class: "why", role: "status", "data-testid": "player-reason" });
  private readonly overlay = new Overlay(this.video, (ms) => this.session?.delay(ms));
  readonly element: HTMLElement;

  private readonly endpoint: string;
  private readonly observer: IntersectionObserver;
  private readonly tick: number;
  private camera: Camera | undefined;
  private session: Session | undefined;
  private iceServers: RTCIceServer[] | undefined;
  private connecting = false;
  private inSight = false;
  private hiddenSince = 0;
  private failures = 0;
  private lostSince = 0;
  private startedAt = 0;
  private lastFrame = 0;
  private playingSince = 0; // the camera's picture gets time to arrive
  private attempt = 0; // tells the answers of an abandoned try from this one's
  private retryAt = 0; // ms; 0: no try is waiting
  private trouble = "";
  private transport: RTCPeerConnectionState = "new";
  private ended = false;

  constructor(id: string, name: string, private readonly onTransport: (words: string) => void = () => undefined) {
    this.endpoint = `/api/v1/cameras/${encodeURIComponent(id)}/whep`;
    this.video.muted = true; // the attribute alone does not count for elements made by scripts
    this.video.setAttribute("aria-label", `Live picture of ${name}`);
    this.element = h("div", { class: "player", "data-testid": "player", "data-camera": id, "data-state": "connecting", "data-reason": "" }, this.video, this.overlay.canvas, h("span", { class: "sight", "aria-hidden": "true" }), this.words);
    this.observer = new IntersectionObserver((entries) => {
      this.inSight = entries.some((e) => e.isIntersecting);
      this.look();
    }, { rootMargin: "200px" });
    this.observer.observe(this.element);
    document.addEventListener("visibilitychange", this.look);
    window.addEventListener("pagehide", this.leave);
    window.addEventListener("pageshow", this.look);
    this.countFrames();
    this.tick = window.setInterval(() => this.check(), 500);
    this.show();
  }

  /** Takes the camera's newest state. */
  update(camera: Camera): void {
    const was = this.camera?.state;
    this.camera = camera;
    // The camera is back: do not sit out a long wait.
    if (was !== undefined && was !== "playing" && camera.state === "playing") {
      this.playingSince = Date.now();
      if (this.retryAt > 0) this.retryAt = Date.now();
    }
    // The page knew nothing of the camera when it connected, or the way in which
    // boxes are shown has changed.
    if (this.session && !this.session.boxes && this.ownPicture()) {
      this.drop();
      void this.connect();
    }
    this.show();
  }

  /** The camera's own picture comes, and its boxes beside it. */
  private ownPicture(): boolean {
    return this.camera?.boxes === "client";
  }

  stats(): Promise<RTCStatsReport> | undefined {
    return this.session?.stats();
  }

  close(): void {
    this.ended = true;
    clearInterval(this.tick);
    this.observer.disconnect();
    document.removeEventListener("visibilitychange", this.look);
    window.removeEventListener("pagehide", this.leave);
    window.removeEventListener("pageshow", this.look);
    this.drop();
    this.overlay.close();
  }

  private readonly look = (): void => {
    if (this.inSight && !document.hidden) {
      this.hiddenSince = 0;
      if (!this.session && !this.connecting && this.retryAt === 0) void this.connect();
    } else if (this.hiddenSince === 0) {
      this.hiddenSince = Date.now();
    }
  };

  private readonly leave = (): void => this.drop();

  private drop(): void {
    this.attempt++;
    this.connecting = false;
    this.session?.close();
    this.session = undefined;
    this.overlay.clear();
    this.transport = "new";
    this.lostSince = 0;
    this.lastFrame = 0;
  }

  private async connect(): Promise<void> {
    const attempt = ++this.attempt;
    this.retryAt = 0;
    this.startedAt = Date.now();
    this.lastFrame = 0;
    try {
      this.connecting = true;
      this.iceServers ??= await Session.iceServers(this.endpoint);
      if (attempt !== this.attempt) return;
      this.session = new Session(this.endpoint, this.iceServers, this.events(attempt));
      this.show();
      await this.session.start();
    } catch (err) {
      if (attempt === this.attempt) this.failed(err instanceof Refusal ? err.message.replace(/\.$/, "") : "The box does not answer");
    } finally {
      if (attempt === this.attempt) this.connecting = false;
    }
  }

  private events(attempt: number) {
    return {
      stream: (stream: MediaStream) => {
        this.video.srcObject = stream;
        // Muted video may start without a click; where it may not, the frozen
        // picture check says so.
        void this.video.play().catch(() => undefined);
      },
      transport: (state: RTCPeerConnectionState) => {
        if (attempt !== this.attempt) return;
        this.transport = state;
        this.lostSince = state === "disconnected" ? Date.now() : 0;
        this.onTransport(transportWords[state]);
        if (state === "failed") this.failed("The connection to the box broke");
      },
      ...(this.ownPicture()
        ? {
            boxes: (message: string) => {
              if (attempt === this.attempt) this.overlay.take(message);
            },
          }
        : {}),
    };
  }

  private failed(why: string): void {
    this.drop();
    this.failures++;
    this.trouble = why;
    const wait = this.failures === 1 ? 0.3 : Math.min(2 ** (this.failures - 2), longestWait) * (0.8 + 0.4 * Math.random());
    this.retryAt = Date.now() + wait * 1000;
    this.onTransport("Not connected");
    this.show();
  }

  private countFrames(): void {
    const counted = (): void => {
      // A closing track shows its last frame once more: that is no new picture.
      if (this.ended || this.transport !== "connected") return;
      this.lastFrame = Date.now();
      this.failures = 0;
      this.trouble = "";
      this.show();
    };
    if (!("requestVideoFrameCallback" in HTMLVideoElement.prototype)) {
      // Older browsers: the clock of the video moves with its frames.
      this.video.addEventListener("timeupdate", counted);
      return;
    }
    const next = (_: number, frame?: VideoFrameCallbackMetadata): void => {
      counted();
      if (this.session?.boxes) this.overlay.shown(frame?.rtpTimestamp);
      if (!this.ended) this.video.requestVideoFrameCallback(next);
    };
    this.video.requestVideoFrameCallback(next);
  }

  private check(): void {
    const now = Date.now();
    this.overlay.check();
    if (this.hiddenSince > 0) {
      if (this.session && now - this.hiddenSince > restDelay) {
        this.drop();
        this.onTransport("Resting while out of sight");
      }
      this.show();
      return;
    }
    if (!this.session) {
      if (this.retryAt > 0 && now >= this.retryAt) void this.connect();
      this.show();
      return;
    }
    const expected = this.camera?.state === "playing";
    if (this.lostSince > 0 && now - this.lostSince > lostLimit) this.failed("Your browser lost the box");
    else if (this.lastFrame === 0 && now - this.startedAt > startLimit && this.transport !== "connected") this.failed("No way through to the box: is its UDP or TCP port for video blocked?");
    else if (this.lastFrame === 0 && expected && now - Math.max(this.startedAt, this.playingSince) > (this.ownPicture() ? keyframeLimit : startLimit)) this.failed("Connected, but no picture came");
    else if (this.lastFrame > 0 && expected && now - Math.max(this.lastFrame, this.playingSince) > freezeLimit) this.failed("The picture froze");
    this.show();
  }

  /** One place decides what is said; the camera's own trouble goes first. */
  private show(): void {
    const now = Date.now();
    const fresh = this.lastFrame > 0 && now - this.lastFrame < freezeLimit;
    const camera = this.camera ? whyNoPicture(this.camera) : "";
    let state: PlayerState = "connecting";
    let reason = "Connecting…";
    if (this.hiddenSince > 0 && !this.session) {
      reason = "Resting while out of sight";
    } else if (this.trouble !== "") {
      state = "reconnecting";
      const left = Math.ceil((this.retryAt - now) / 1000);
      reason = `${this.trouble}: ${this.retryAt > 0 && left > 0 ? `retrying in ${left} s` : "trying again…"}`;
      if (camera !== "") {
        state = "no-picture";
        reason = camera;
      }
    } else if (camera !== "") {
      state = "no-picture";
      reason = camera;
    } else if (fresh) {
      state = "playing";
      reason = "";
    } else if (this.ownPicture() && this.transport === "connected" && this.lastFrame === 0 && now - this.startedAt > 1_500) {
      reason = "Waiting for the camera's next keyframe…";
    }
    setAttribute(this.element, "data-state", state);
    setAttribute(this.element, "data-reason", reason);
    setAttribute(this.element, "data-camera-state", this.camera?.state ?? "");
    setAttribute(this.element, "data-frames", fresh ? "yes" : "no");
    setText(this.words, reason);
  }
}

const transportWords: Record<RTCPeerConnectionState, string> = {
  new: "Connecting",
  connecting: "Looking for a way to the box",
  connected: "Connected",
  disconnected: "The connection is interrupted",
  failed: "No way through to the box",
  closed: "Not connected",
};
