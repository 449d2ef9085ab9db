import { inWords, Refusal } from "../box";

// A client of the resumable-upload protocol tus 1.0.0 (https://tus.io/protocols/resumable-upload):
// creation, parts by PATCH, and HEAD after anything that went wrong. What the box
// acknowledged is on its disk, so that nothing is ever sent twice knowingly.

const endpoint = "/api/v1/tus";
const part = 16 << 20; // bytes of one request: what a cut can cost at most
const stall = 60_000; // ms without a byte moving, after which a request is given up
const longestWait = 30; // s between tries

export interface Answer {
  status: number;
  header(name: string): string;
}

/** One request. XMLHttpRequest and not fetch: only that tells how much of a body has left. */
export function request(method: string, path: string, headers: Record<string, string>, body: Blob | null, signal: AbortSignal, moved: (bytes: number) => void = () => undefined): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest();
    let timer = 0;
    const alive = (): void => {
      clearTimeout(timer);
      timer = window.setTimeout(() => xhr.abort(), stall);
    };
    const stop = (): void => xhr.abort();
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
    };
    xhr.open(method, path);
    xhr.setRequestHeader("Tus-Resumable", "1.0.0");
    for (const [name, value] of Object.entries(headers)) xhr.setRequestHeader(name, value);
    xhr.upload.addEventListener("progress", (e) => {
      alive();
      moved(e.loaded);
    });
    xhr.addEventListener("load", () => {
      done();
      const header = (name: string): string => xhr.getResponseHeader(name) ?? "";
      if (xhr.status >= 200 && xhr.status < 300) resolve({ status: xhr.status, header });
      else reject(new TusRefusal(xhr.status, said(xhr), Number(header("Retry-After")) || 0));
    });
    const cut = (): void => {
      done();
      reject(new Error("the connection was cut"));
    };
    xhr.addEventListener("error", cut);
    xhr.addEventListener("abort", cut);
    signal.addEventListener("abort", stop);
    alive();
    if (signal.aborted) cut();
    else xhr.send(body);
  });
}

/** A refusal on the road of tus; wait is what the box asks to be waited, in seconds. */
export class TusRefusal extends Refusal {
  constructor(status: number, detail: string, readonly wait: number) {
    super(status, detail);
  }
}

/** What the box says about a refusal: "ERR_CODE: words", or a problem document. */
function said(xhr: XMLHttpRequest): string {
  if (xhr.status === 401) location.assign(`/sign-in?next=${encodeURIComponent(location.pathname)}`);
  const text = xhr.responseText.trim();
  if (xhr.getResponseHeader("Content-Type")?.includes("problem+json")) {
    try {
      return (JSON.parse(text) as { detail?: string }).detail ?? text;
    } catch {
      return text;
    }
  }
  return text.replace(/^ERR_[A-Z_]+: /, "") || `The box answered ${xhr.status}.`;
}

export type TransferState = "waiting" | "sending" | "retrying" | "paused" | "sent" | "failed";

/** Sends one file, on from where the box has it. */
export class Transfer {
  state: TransferState = "waiting";
  /** Bytes that left; the box may have fewer of them. */
  sent = 0;
  /** Bytes a second. */
  rate = 0;
  /** Why it is retrying or failed. */
  why = "";
  /** When the next try is, in ms since 1970. */
  retryAt = 0;
  private offset = 0; // bytes that the box acknowledged
  private known = false; // offset is what the box has
  private stopper = new AbortController();
  private wake: () => void = () => undefined;
  private marks: { at: number; sent: number }[] = [];

  /**
   * words go into the upload's metadata. id is that of an upload that was begun
   * before. changed is called often and returns at once; began when the box has
   * given an id, or the known one is of no use.
   */
  constructor(
    readonly file: File,
    private readonly words: Record<string, string>,
    public id: string | undefined,
    private readonly changed: () => void,
    private readonly began: (id: string | undefined) => void,
  ) {}

  /** Runs until everything is sent, or it is stopped or refused. */
  async run(): Promise<void> {
    const stopper = new AbortController();
    this.stopper = stopper;
    this.known = false;
    this.marks = [];
    let failures = 0;
    let reached = 0;
    while (!stopper.signal.aborted) {
      try {
        this.set("sending");
        await this.sendAll(stopper.signal);
        this.set("sent");
        return;
      } catch (err) {
        if (stopper.signal.aborted) return;
        failures = this.offset > reached ? 1 : failures + 1;
        reached = Math.max(reached, this.offset);
        this.known = false;
        const end = await this.verdict(err, failures);
        if (stopper.signal.aborted) return;
        if (end !== "") {
          this.why = end;
          this.set("failed");
          return;
        }
        await this.rest(err, failures);
      }
    }
  }

  /** Stops; run goes on later. */
  stop(state: "paused" | "waiting" | "failed"): void {
    this.stopper.abort();
    this.wake();
    this.set(state);
  }

  /** Ends a wait between two tries. */
  hurry(): void {
    this.wake();
  }

  private set(state: TransferState): void {
    this.state = state;
    if (state !== "sending") this.rate = 0;
    this.changed();
  }

  private async sendAll(signal: AbortSignal): Promise<void> {
    if (this.id !== undefined && !this.known) await this.ask(signal);
    if (this.id === undefined) await this.create(signal);
    while (this.offset < this.file.size) {
      const at = this.offset;
      const answer = await request(
        "PATCH",
        `${endpoint}/${this.id}`,
        { "Upload-Offset": String(at), "Content-Type": "application/offset+octet-stream" },
        this.file.slice(at, at + part),
        signal,
        (bytes) => this.progress(at + bytes),
      );
      this.acknowledged(answer, at + 1);
    }
  }

  private acknowledged(answer: Answer, least: number): void {
    const offset = Number(answer.header("Upload-Offset") || NaN);
    if (!(offset >= least && offset <= this.file.size)) throw new Refusal(502, "The box does not say how far the upload is: is something between this page and the box that changes its answers?");
    this.offset = offset;
    this.known = true;
    this.progress(offset);
  }

  private async create(signal: AbortSignal): Promise<void> {
    const words = { filename: this.file.name, ...(this.file.type ? { filetype: this.file.type } : {}), ...this.words };
    const metadata = Object.entries(words).map(([name, value]) => `${name} ${base64(value)}`).join(",");
    const answer = await request("POST", endpoint, { "Upload-Length": String(this.file.size), "Upload-Metadata": metadata }, null, signal);
    const id = /\/(u[0-9a-v]{25})$/.exec(new URL(answer.header("Location"), location.href).pathname)?.[1];
    if (id === undefined) throw new Refusal(502, "The box does not say where the upload is: is something between this page and the box that changes its answers?");
    this.id = id;
    this.offset = 0;
    this.known = true;
    this.began(id);
  }

  /** Asks how far the box has it; one that it does not have any more is begun anew. */
  private async ask(signal: AbortSignal): Promise<void> {
    try {
      const answer = await request("HEAD", `${endpoint}/${this.id}`, {}, null, signal);
      if (Number(answer.header("Upload-Length") || this.file.size) !== this.file.size) throw new TusRefusal(410, "", 0);
      this.acknowledged(answer, 0);
    } catch (err) {
      if (!(err instanceof Refusal) || (err.status !== 404 && err.status !== 410)) throw err;
      this.id = undefined;
      this.offset = 0;
      this.began(undefined);
    }
  }

  /** Why there is no use in trying again; "": there is. */
  private async verdict(err: unknown, failures: number): Promise<string> {
    if (!(err instanceof Refusal)) {
      // A file that was changed or removed fails just as a connection does.
      try {
        await this.file.slice(this.offset, this.offset + 1).arrayBuffer();
        return "";
      } catch {
        return "The file cannot be read any more: it was changed, moved or removed. Choose it again.";
      }
    }
    switch (err.status) {
      case 409:
        return failures < 4 ? "" : err.message; // mostly a request that was cut and still counts
      case 404:
      case 410:
        return failures < 4 ? "" : err.message;
      case 408:
      case 423:
      case 429:
      case 507: // what came is kept: there may be room later
        return "";
    }
    return err.status >= 500 ? "" : err.message;
  }

  private async rest(err: unknown, failures: number): Promise<void> {
    const asked = err instanceof TusRefusal ? err.wait : 0;
    const seconds = Math.min(Math.max(asked, 2 ** (failures - 1)), longestWait);
    this.why = (err instanceof Refusal ? inWords(err) : "The connection to the box was cut").replace(/\.$/, "");
    this.retryAt = Date.now() + seconds * 1000;
    this.set("retrying");
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, seconds * 1000);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.wake = () => undefined;
  }

  private progress(sent: number): void {
    this.sent = sent;
    const now = Date.now();
    const last = this.marks[this.marks.length - 1];
    if (!last || now - last.at >= 250) this.marks.push({ at: now, sent });
    while (this.marks.length > 2 && now - this.marks[0]!.at > 5_000) this.marks.shift();
    const first = this.marks[0]!;
    if (now - first.at > 400) this.rate = Math.max(0, ((sent - first.sent) * 1000) / (now - first.at));
    this.changed();
  }
}

function base64(text: string): string {
  let s = "";
  for (const byte of new TextEncoder().encode(text)) s += String.fromCharCode(byte);
  return btoa(s);
}
