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

/** Asks the box to do something; body is sent as JSON. */
export async function send<T>(method: "POST" | "PATCH" | "DELETE", path: string, body?: unknown): Promise<T | undefined> {
  const request: RequestInit = { method, signal: AbortSignal.timeout(30_000) };
  if (body !== undefined) {
    request.headers = { "Content-Type": "application/json" };
    request.body = JSON.stringify(body);
  }
  const response = await fetch(path, request);
  if (!response.ok) throw await refusal(response);
  if (!response.headers.get("Content-Type")?.includes("json")) return undefined;
  return (await response.json()) as T;
}

export async function post(path: string): Promise<void> {
  await send("POST", path);
}

/** An error in words for the person at the page. */
export function inWords(err: unknown): string {
  return err instanceof Refusal ? err.message : "The box does not answer: try again in a moment.";
}

export type LinkState = "connecting" | "connected" | "lost" | "resting";

export interface Listener {
  camera(camera: Camera): void;
  detections(detections: Detections): void;
  link: ShowLink;
}

/** Says how the connection to the box is. */
export type ShowLink = (state: LinkState, words: string) => void;

/**
 * Makes one link of several streams': each gets a function of its own, and what
 * is shown is the worst of them.
 */
export function worst(streams: number, show: ShowLink): ShowLink[] {
  const order: LinkState[] = ["lost", "connecting", "resting", "connected"];
  const now = Array.from({ length: streams }, () => ({ state: "connecting" as LinkState, words: "Connecting to the box…" }));
  return now.map((mine) => (state, words) => {
    mine.state = state;
    mine.words = words;
    const shown = order.map((o) => now.find((n) => n.state === o)).find((n) => n !== undefined) ?? mine;
    show(shown.state, shown.words);
  });
}

/** What is done with each kind of event; the value is its parsed data. */
export type Handlers = Record<string, (data: never) => void>;

const silenceLimit = 25_000; // ms; the box gives a sign of life every ten seconds

const lost = "Your browser lost the box";

/** The cameras' event stream of one page. */
export class Events {
  private readonly stream: EventStream;

  constructor(path: string, listener: Listener) {
    this.stream = new EventStream(path, { camera: (c: Camera) => listener.camera(c), detections: (d: Detections) => listener.detections(d) }, (state, words) => listener.link(state, words));
  }

  close(): void {
    this.stream.close();
  }
}

/** An event stream of the box. It rests while the tab is hidden. */
export class EventStream {
  private source: EventSource | undefined;
  private failures = 0;
  private timer = 0;
  private watch = 0;
  private lastEvent = 0;
  private closed = false;

  constructor(
    private readonly path: string,
    private readonly handlers: Handlers,
    private readonly link: ShowLink,
    private readonly begins: () => void = () => undefined,
  ) {
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
      this.link("resting", "Resting while this tab is hidden");
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
    if (this.failures === 0) this.link("connecting", "Connecting to the box…");
    const source = new EventSource(this.path);
    this.source = source;
    this.lastEvent = Date.now();
    source.addEventListener("open", () => {
      this.failures = 0;
      this.lastEvent = Date.now();
      this.begins();
      this.link("connected", "Connected to the box");
    });
    source.addEventListener("alive", () => (this.lastEvent = Date.now()));
    for (const [name, handle] of Object.entries(this.handlers)) {
      source.addEventListener(name, (e: MessageEvent<string>) => {
        if (this.source !== source) return; // an event that was on its way when the page was left
        this.lastEvent = Date.now();
        handle(JSON.parse(e.data) as never);
      });
    }
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
    this.link("lost", `${why}: retrying in ${seconds} s`);
    this.timer = window.setTimeout(() => this.countDown(seconds - 1, why), 1_000);
  }

  private checkSilence(): void {
    if (this.source && Date.now() - this.lastEvent > silenceLimit) void this.failed(this.source);
  }
}
