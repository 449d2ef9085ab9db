import type { Camera, Detections } from "./types";

// The connection to the box: requests, and one event stream for the page. One
// stream and not one per camera: browsers open six connections to a host, and a
// grid of cameras would use them all up.

/** An answer of the box that is no success. */
export class Refusal extends Error {
  constructor(readonly status: number, detail: string) {
    super(detail);
  }
}

/** Turns an answer into an error that can be shown; goes to the sign-in page when asked to. */
export async function refusal(response: Response): Promise<Refusal> {
  if (response.status === 401) {
    location.assign(`/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`);
  }
  let detail = `The box answered ${response.status} ${response.statusText}.`;
  if (response.headers.get("Content-Type")?.includes("problem+json")) {
    const problem = (await response.json().catch(() => ({}))) as { detail?: string };
    detail = problem.detail ?? detail;
  }
  return new Refusal(response.status, detail);
}

export async function get<T>(path: string): Promise<T> {
  const response = await fetch(path, { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(10_000) });
  if (!response.ok) throw await refusal(response);
  return (await response.json()) as T;
}

export async function post(path: string): Promise<void> {
  const response = await fetch(path, { method: "POST", signal: AbortSignal.timeout(10_000) });
  if (!response.ok) throw await refusal(response);
}

export type LinkState = "connecting" | "connected" | "lost" | "resting";

export interface Listener {
  camera(camera: Camera): void;
  detections(detections: Detections): void;
  link(state: LinkState, words: string): void;
}

const silenceLimit = 25_000; // ms; the box gives a sign of life every ten seconds

const lost = "Your browser lost the box";

/** The event stream of one page. It rests while the tab is hidden. */
export class Events {
  private source: EventSource | undefined;
  private failures = 0;
  private timer = 0;
  private watch = 0;
  private lastEvent = 0;
  private closed = false;

  constructor(private readonly path: string, private readonly listener: Listener) {
    document.addEventListener("visibilitychange", this.visibility);
    this.watch = window.setInterval(() => this.checkSilence(), 5_000);
    this.visibility();
  }

  close(): void {
    this.closed = true;
    document.removeEventListener("visibilitychange", this.visibility);
    clearInterval(this.watch);
    this.stop();
  }

  private readonly visibility = (): void => {
    if (this.closed) return;
    if (document.hidden) {
      this.stop();
      this.listener.link("resting", "Resting while this tab is hidden");
    } else if (!this.source) {
      this.open();
    }
  };

  private stop(): void {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = undefined;
  }

  private open(): void {
    this.stop();
    if (this.failures === 0) this.listener.link("connecting", "Connecting to the box…");
    const source = new EventSource(this.path);
    this.source = source;
    this.lastEvent = Date.now();
    source.addEventListener("open", () => {
      this.failures = 0;
      this.lastEvent = Date.now();
      this.listener.link("connected", "Connected to the box");
    });
    source.addEventListener("alive", () => (this.lastEvent = Date.now()));
    source.addEventListener("camera", (e) => {
      this.lastEvent = Date.now();
      this.listener.camera(JSON.parse(e.data) as Camera);
    });
    source.addEventListener("detections", (e) => {
      this.lastEvent = Date.now();
      this.listener.detections(JSON.parse(e.data) as Detections);
    });
    source.addEventListener("error", () => void this.failed(source));
  }

  // The browser would try again by itself after a cut, but not after an error
  // answer, and it does not say when: so every try is ours.
  private async failed(source: EventSource): Promise<void> {
    if (this.source !== source) return;
    this.stop();
    this.failures++;
    const wait = this.failures === 1 ? 1 : Math.min(2 ** (this.failures - 1), 15);
    this.countDown(wait, this.failures > 1 ? await this.why() : lost);
  }

  // An EventSource does not tell why it failed: ask once more, as a request.
  private async why(): Promise<string> {
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), 5_000);
    try {
      const response = await fetch(this.path, { signal: stop.signal });
      return response.ok ? lost : (await refusal(response)).message.replace(/\.$/, "");
    } catch {
      return lost;
    } finally {
      clearTimeout(timer);
      stop.abort();
    }
  }

  private countDown(seconds: number, why: string): void {
    if (this.closed || document.hidden || this.source) return;
    if (seconds <= 0) {
      this.open();
      return;
    }
    this.listener.link("lost", `${why}: retrying in ${seconds} s`);
    this.timer = window.setTimeout(() => this.countDown(seconds - 1, why), 1_000);
  }

  private checkSilence(): void {
    if (this.source && Date.now() - this.lastEvent > silenceLimit) void this.failed(this.source);
  }
}
