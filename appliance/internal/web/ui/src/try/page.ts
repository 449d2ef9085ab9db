import { get, Refusal, type ShowLink } from "../box";
import { capture, release } from "../capture";
import type { Page } from "../cameras";
import { Facts, h, setAttribute, setText } from "../dom";
import type { System } from "../types";
import { bytes, count } from "../words";
import { preview, type Findings } from "./documents";
import { TryForm } from "./form";
import { Rate } from "./rates";
import { pictureOf, request, type Source } from "./request";
import { endWords } from "./words";
import { SessionRefused, WorkerSession } from "./worker";

const renewFigures = 500; // ms
const renewDocument = 250; // ms: faster nobody reads
const mostErrors = 5; // different ones that are shown
const mostNamed = 60; // things that are available, in a refusal

type State = "idle" | "opening" | "running" | "ended" | "refused";

/** A session of the box's worker protocol, opened from this browser. */
export function tryPage(showLink: ShowLink): Page {
  const view = new TryView(showLink);
  return { title: "Try", element: view.element, close: () => view.close() };
}

class TryView {
  readonly element: HTMLElement;
  private readonly startButton = h("button", { type: "submit", class: "main", "data-testid": "start" }, "Start");
  private readonly stopButton = h("button", { type: "button", disabled: true, "data-testid": "stop" }, "Stop");
  private readonly form = new TryForm(h("div", { class: "choices" }, this.stopButton, this.startButton));
  private readonly video = h("video", { autoplay: true, playsinline: true, "aria-label": "The picture that the box sends" });
  private readonly still = h("canvas", { hidden: true, "aria-hidden": "true" }); // the last picture of a session that is over
  private readonly why = h("p", { class: "why", role: "status", "data-testid": "state" }, "Choose a source and press Start.");
  private readonly refusedBox = h("div", { class: "refused", role: "alert", "data-testid": "refusal", hidden: true });
  private readonly notes = h("ul", { class: "remarks", "data-testid": "notes", hidden: true });
  private readonly errors = h("ul", { class: "remarks bad", "data-testid": "errors", hidden: true });
  private readonly sending = h("progress", { max: "1", hidden: true, "aria-label": "Sent of the file" });
  private readonly facts = new Facts();
  private readonly document = h("pre", { class: "stderr", tabindex: "0", "data-testid": "document" }, "–");
  private readonly hold = h("input", { type: "checkbox" });

  private session: WorkerSession | undefined;
  private stream: MediaStream | undefined; // of this browser's camera
  private attempt = 0;
  private frames = 0;
  private documents = 0;
  private leftOut = 0;
  private received = 0;
  private pictures = 0;
  private newest: Findings | undefined;
  private shownAt = 0;
  private readonly documentRate = new Rate();
  private readonly pictureRate = new Rate();
  private readonly problems = new Map<string, number>();
  private readonly timers: number[];

  constructor(private readonly showLink: ShowLink) {
    this.video.muted = true;
    this.element = h(
      "div",
      { class: "try", "data-testid": "try", "data-state": "idle" },
      h("div", { class: "title" }, h("h1", {}, "Try"), h("p", { class: "label" }, "A session of the box, opened from this browser. Nothing of it is kept.")),
      h(
        "div",
        { class: "stage" },
        h("div", { class: "picture", "data-testid": "picture" }, this.video, this.still, this.why),
        this.sending,
        this.refusedBox,
        h("div", { class: "remarks" }, this.errors, this.notes),
      ),
      h("section", { class: "beside" }, this.form.element),
      h(
        "div",
        { class: "stage" },
        h("section", {}, h("h2", {}, "Figures"), this.facts.element),
        h("section", {}, h("h2", {}, "The newest document"), h("label", { class: "tick field" }, this.hold, h("span", {}, "Hold it, to read it")), this.document),
      ),
    );
    this.form.element.addEventListener("submit", (e) => {
      e.preventDefault();
      void this.start();
    });
    this.stopButton.addEventListener("click", () => this.stop("You ended the session."));
    this.form.onDrawn = (d) => this.session?.show(pictureOf(d));
    this.countPictures();
    this.figures();
    this.timers = [
      window.setInterval(() => this.figures(), renewFigures),
      window.setInterval(() => this.showDocument(), renewDocument),
      window.setInterval(() => void this.link(), 10_000),
    ];
    void this.link();
    window.addEventListener("pagehide", this.leaving);
  }

  close(): void {
    window.removeEventListener("pagehide", this.leaving);
    for (const t of this.timers) clearInterval(t);
    this.letGo();
  }

  // A page that is left may be kept for the way back: what it holds is let go of.
  private readonly leaving = (): void => this.stop("The session ended when the page was left.");

  private async link(): Promise<void> {
    if (document.hidden) return;
    try {
      await get<System>("/api/v1/system");
      this.showLink("connected", "Connected to the box");
    } catch (err) {
      this.showLink("lost", err instanceof Refusal ? err.message : "Your browser lost the box");
    }
  }

  private async source(): Promise<Source> {
    switch (this.form.kind) {
      case "camera": {
        const stream = await capture("camera", this.form.cameras.element.value);
        void this.form.cameras.read(); // their names are told now
        return { kind: "camera", stream };
      }
      case "file": {
        const file = this.form.file.files?.[0];
        if (!file) throw new Error("Choose a file first.");
        if (file.size === 0) throw new Error("The file is empty. Choose another one.");
        return { kind: "file", file };
      }
      case "address": {
        const url = this.form.url.value.trim();
        if (url === "") throw new Error("Say which address the box is to open first.");
        return { kind: "address", url };
      }
    }
  }

  private async start(): Promise<void> {
    this.letGo();
    const attempt = ++this.attempt;
    this.reset();
    this.become("opening", this.form.kind === "camera" ? "Asking for the camera…" : "Asking the box…");
    let session: WorkerSession | undefined;
    try {
      const source = await this.source();
      if (attempt !== this.attempt) {
        if (source.kind === "camera") release(source.stream);
        return;
      }
      if (source.kind === "camera") this.own(source.stream);
      this.sending.hidden = source.kind !== "file";
      const size = source.kind === "file" ? source.file.size : 0;
      session = new WorkerSession(source, request(source, this.form.wish(), this.form.drawn()), {
        state: (words) => this.become("opening", words),
        notes: (list) => this.list(this.notes, list),
        video: (stream) => {
          this.video.srcObject = stream;
          void this.video.play().catch(() => undefined); // muted video may start
        },
        findings: (frame, f, size) => this.findings(frame, f, size),
        sent: (n) => this.sent(n, size),
        ended: (end) => {
          const { words, bad } = endWords(end);
          this.stop(words, bad);
        },
      });
      this.session = session;
      await session.start();
    } catch (err) {
      if (attempt !== this.attempt) return;
      this.letGo();
      this.refused(err);
    }
  }

  /** Takes the browser's camera; it may end by itself. */
  private own(stream: MediaStream): void {
    this.stream = stream;
    for (const track of stream.getTracks()) {
      track.addEventListener("ended", () => {
        if (this.stream === stream) this.stop("The camera was unplugged, or taken away from this page.", true);
      });
    }
  }

  private letGo(): void {
    this.attempt++;
    this.session?.close();
    this.session = undefined;
    release(this.stream);
    this.stream = undefined;
  }

  private stop(words: string, bad = false): void {
    if (!this.session && this.element.dataset["state"] !== "opening") return;
    this.keepPicture();
    this.letGo();
    this.figures();
    this.showDocument(true);
    this.become("ended", words, bad);
  }

  /** Browsers show black in place of a track that is over. */
  private keepPicture(): void {
    const { videoWidth: width, videoHeight: height } = this.video;
    if (width === 0 || this.pictures === 0) return;
    this.still.width = width;
    this.still.height = height;
    this.still.getContext("2d")?.drawImage(this.video, 0, 0, width, height);
    this.still.hidden = false;
  }

  private reset(): void {
    this.still.hidden = true;
    this.frames = this.documents = this.leftOut = this.received = this.pictures = 0;
    this.newest = undefined;
    this.problems.clear();
    this.hold.checked = false;
    this.refusedBox.hidden = true;
    this.sending.hidden = true;
    this.sending.removeAttribute("value");
    this.video.srcObject = null;
    this.list(this.notes, []);
    this.list(this.errors, []);
    setText(this.document, "–");
  }

  private become(state: State, words: string, bad = false): void {
    setAttribute(this.element, "data-state", state);
    setAttribute(this.why, "data-bad", String(bad));
    setText(this.why, words);
    const busy = state === "opening" || state === "running";
    this.form.freeze(busy);
    this.startButton.disabled = busy;
    this.stopButton.disabled = !busy;
    setText(this.startButton, state === "idle" || busy ? "Start" : "Start again");
  }

  private refused(err: unknown): void {
    const parts: HTMLElement[] = [];
    if (err instanceof SessionRefused) {
      const rows: [string, string][] = [["Field", err.field], ["Expected", err.expected], ["Available", named(err.available)], ["Try again in", err.retryAfter && `${err.retryAfter} s`]];
      const list = h("dl", { class: "facts" });
      for (const [name, value] of rows) if (value) list.append(h("div", {}, h("dt", {}, name), h("dd", { "data-refusal": name.toLowerCase() }, value)));
      parts.push(h("p", {}, h("strong", {}, "The box opens no session. "), err.message), list);
    } else {
      parts.push(h("p", {}, err instanceof Error && !(err instanceof TypeError) && !(err instanceof DOMException) ? err.message : "The box does not answer: try again in a moment."));
    }
    this.refusedBox.replaceChildren(...parts);
    this.refusedBox.hidden = false;
    this.become("refused", "No session.", true);
  }

  private findings(frame: number, f: Findings, size: number): void {
    for (const e of f.errors) this.problem(e);
    this.received += size;
    if (frame === 0) return; // a notice that belongs to no frame
    if (this.element.dataset["state"] !== "running") this.become("running", "");
    if (this.documents > 0 && frame > this.frames + 1) this.leftOut += frame - this.frames - 1;
    this.documents++;
    this.frames = Math.max(this.frames, frame);
    this.documentRate.count();
    this.newest = f;
  }

  private problem(words: string): void {
    this.problems.set(words, (this.problems.get(words) ?? 0) + 1);
    for (const old of this.problems.keys()) {
      if (this.problems.size <= mostErrors) break;
      this.problems.delete(old);
    }
    this.list(this.errors, [...this.problems].map(([w, n]) => (n > 1 ? `${w} (${count(n)} times)` : w)));
  }

  private list(into: HTMLElement, lines: string[]): void {
    into.hidden = lines.length === 0;
    into.replaceChildren(...lines.map((line) => h("li", {}, line)));
  }

  private sent(n: number, size: number): void {
    this.sending.value = n / size;
    if (n >= size) {
      this.sending.hidden = true;
      if (this.element.dataset["state"] === "opening") this.become("opening", "The file was sent: the box opens it");
    } else if (this.element.dataset["state"] === "opening") {
      setText(this.why, `Sending the file: ${bytes(n)} of ${bytes(size)}`);
    }
  }

  private countPictures(): void {
    if (!("requestVideoFrameCallback" in HTMLVideoElement.prototype)) return;
    let before = 0;
    const next = (_: number, frame: VideoFrameCallbackMetadata): void => {
      this.pictures += Math.max(1, Math.min(frame.presentedFrames - before, 60));
      before = frame.presentedFrames;
      this.pictureRate.count();
      setAttribute(this.element, "data-pictures", String(this.pictures));
      this.video.requestVideoFrameCallback(next);
    };
    this.video.requestVideoFrameCallback(next);
  }

  private figures(): void {
    const meta = this.newest?.video_metadata;
    const fps = (n: number | null | undefined): string => (n ? `${n.toFixed(1)} fps` : "–");
    setAttribute(this.element, "data-documents", String(this.documents));
    this.facts.set("Frames handled", this.frames > 0 ? count(this.frames) : "");
    this.facts.set("Documents a second", this.documentRate.perSecond().toFixed(1));
    this.facts.set("Pictures shown a second", this.pictureRate.perSecond().toFixed(1));
    this.facts.set("The source's rate: declared, measured", meta ? `${fps(meta.declared_fps)}, ${fps(meta.measured_fps)}` : "");
    this.facts.set("Size of a frame", meta ? `${meta.width} × ${meta.height}` : "");
    this.facts.set("Documents", this.documents > 0 ? `${count(this.documents)}, ${bytes(this.received)}${this.leftOut > 0 ? `, ${count(this.leftOut)} left out` : ""}` : "");
  }

  private showDocument(always = false): void {
    const now = Date.now();
    if (!this.newest || (this.hold.checked && !always) || (now - this.shownAt < renewDocument / 2 && !always)) return;
    this.shownAt = now;
    setText(this.document, preview(this.newest));
  }
}

function named(all: string[]): string {
  const shown = all.slice(0, mostNamed).join(", ");
  return all.length > mostNamed ? `${shown} and ${count(all.length - mostNamed)} more` : shown;
}
