import { get, Refusal, type ShowLink } from "../box";
import type { Page } from "../cameras";
import { CameraSelect, capture, noCapture, release, type CaptureKind } from "../capture";
import { Facts, h, setAttribute, setText } from "../dom";
import type { Camera } from "../types";
import { badge, tally, whyNoPicture } from "../words";
import { Publication, type PublicationState } from "./publication";

const remembered = "watchpost.publish";
const renew = 2_000; // ms between readings of the camera's state

/** This browser's camera, or screen, as a camera of the box. */
export function publishPage(showLink: ShowLink): Page {
  const view = new PublishView(showLink);
  return { title: "Publish", element: view.element, close: () => view.close() };
}

class PublishView {
  readonly element: HTMLElement;
  // As the box has it: config's ids.
  private readonly name = h("input", { name: "name", type: "text", required: true, maxlength: "64", pattern: "[a-z0-9][a-z0-9_\\-]{0,63}", autocomplete: "off", spellcheck: "false", autocapitalize: "off", placeholder: "phone", title: "1 to 64 of a-z, 0-9, - and _, the first a letter or a digit" });
  private readonly what = h("select", { name: "what" }, h("option", { value: "camera" }, "A camera"), h("option", { value: "screen" }, "The screen, or a window"));
  private readonly cameras = new CameraSelect();
  private readonly device = h("label", { class: "field" }, h("span", {}, "Camera"), this.cameras.element);
  private readonly fixed: HTMLFieldSetElement;
  private readonly startButton = h("button", { type: "submit", class: "main", "data-testid": "start" }, "Publish");
  private readonly stopButton = h("button", { type: "button", disabled: true, "data-testid": "stop" }, "Stop");
  private readonly video = h("video", { autoplay: true, playsinline: true, "aria-label": "What this browser publishes" });
  private readonly why = h("p", { class: "why", role: "status", "data-testid": "state" }, "Choose a name and press Publish.");
  private readonly facts = new Facts();
  private readonly link = h("p", { hidden: true, "data-testid": "link-to-camera" });

  private stream: MediaStream | undefined;
  private publication: Publication | undefined;
  private attempt = 0;
  private readonly timer: number;

  constructor(private readonly showLink: ShowLink) {
    this.video.muted = true;
    this.name.value = recall();
    const why = noCapture();
    this.fixed = h("fieldset", { class: "plain" }, h("label", { class: "field" }, h("span", {}, "Name of the camera on the box"), this.name), h("label", { class: "field" }, h("span", {}, "What is published"), this.what), this.device);
    const form = h(
      "form",
      { class: "wish", "data-testid": "publishing" },
      ...(why === "" ? [] : [h("p", { class: "why", "data-bad": "true", "data-testid": "no-capture" }, why)]),
      this.fixed,
      h("p", { class: "hint" }, "The camera exists while this page publishes it, unless the configuration has one of this name with “source: whip:”. It is analysed like every other."),
      h("div", { class: "choices" }, this.stopButton, this.startButton),
    );
    if (why !== "") {
      this.fixed.disabled = true;
      this.startButton.disabled = true;
      setText(this.why, "This browser hands out no camera to this page.");
    }
    if (why === "" && !("getDisplayMedia" in navigator.mediaDevices)) this.what.remove(1);
    this.element = h(
      "div",
      { class: "try", "data-testid": "publish", "data-state": "idle" },
      h("div", { class: "title" }, h("h1", {}, "Publish"), h("p", { class: "label" }, "This browser as a camera of the box, for as long as this page is open.")),
      h("div", { class: "stage" }, h("div", { class: "picture" }, this.video, this.why), this.link),
      h("section", { class: "beside" }, form),
      h("div", { class: "stage" }, h("section", {}, h("h2", {}, "State"), this.facts.element)),
    );
    this.facts.set("This browser", "publishes nothing");
    this.what.addEventListener("change", () => (this.device.hidden = this.what.value !== "camera"));
    form.addEventListener("submit", (e) => {
      e.preventDefault();
      void this.start();
    });
    this.stopButton.addEventListener("click", () => this.stop("You stopped publishing."));
    window.addEventListener("pagehide", this.leaving);
    this.timer = window.setInterval(() => void this.read(), renew);
    void this.read();
  }

  close(): void {
    window.removeEventListener("pagehide", this.leaving);
    clearInterval(this.timer);
    this.letGo();
  }

  private readonly leaving = (): void => this.stop("Publishing ended when the page was left.");

  private letGo(): void {
    this.attempt++;
    this.publication?.close();
    this.publication = undefined;
    release(this.stream);
    this.stream = undefined;
    this.video.srcObject = null;
  }

  private async start(): Promise<void> {
    this.letGo();
    const attempt = this.attempt;
    const name = this.name.value;
    this.become("connecting", "Waiting for the browser's permission…");
    try {
      const stream = await capture(this.what.value as CaptureKind, this.cameras.element.value);
      if (attempt !== this.attempt) {
        release(stream);
        return;
      }
      this.stream = stream;
      for (const track of stream.getTracks()) {
        track.addEventListener("ended", () => {
          if (this.stream === stream) this.stop("The browser ended the picture: the camera was unplugged, or sharing was stopped.", true);
        });
      }
    } catch (err) {
      if (attempt === this.attempt) this.become("refused", err instanceof Error ? err.message : String(err), true);
      return;
    }
    void this.cameras.read();
    remember(name);
    this.video.srcObject = this.stream;
    void this.video.play().catch(() => undefined); // muted video may start
    // In a page of its own: this one has to stay open.
    this.link.replaceChildren(h("a", { href: `/cameras/${encodeURIComponent(name)}`, target: "_blank", rel: "noopener" }, `Watch ${name} in a new tab`), ". Keep this page open: with it, the camera goes.");
    this.publication = new Publication(name, this.stream, (state, words) => {
      if (state === "refused") this.letGo();
      this.become(state, words, state === "refused" || state === "retrying");
    });
  }

  private stop(words: string, bad = false): void {
    if (!this.stream && this.element.dataset["state"] !== "connecting") return;
    this.letGo();
    this.become("idle", words, bad);
  }

  private become(state: PublicationState | "idle", words: string, bad = false): void {
    const busy = state !== "idle" && state !== "refused";
    words = words.charAt(0).toUpperCase() + words.slice(1);
    setAttribute(this.element, "data-state", state);
    setAttribute(this.why, "data-bad", String(bad));
    setText(this.why, state === "publishing" ? "" : words);
    this.fixed.disabled = busy;
    this.startButton.disabled = busy;
    this.stopButton.disabled = !busy;
    this.link.hidden = state !== "publishing";
    this.facts.set("This browser", state === "publishing" ? "publishes" : state === "idle" ? "publishes nothing" : state === "refused" ? "was refused" : words.charAt(0).toLowerCase() + words.slice(1));
    if (!busy) {
      this.facts.set("It sends", "");
      this.facts.set("On the box", "");
    }
  }

  /** How the box sees it. */
  private async read(): Promise<void> {
    if (document.hidden && !this.publication) return;
    const publication = this.publication;
    try {
      if (publication) {
        const camera = await get<Camera>(`/api/v1/cameras/${encodeURIComponent(this.name.value)}`);
        if (publication !== this.publication) return;
        this.facts.set("On the box", camera.state === "playing" ? `${badge(camera)}, ${camera.rates.source_fps.toFixed(0)} fps, sees ${tally(camera.objects) || "nothing"}` : whyNoPicture(camera));
        setAttribute(this.element, "data-camera-state", camera.state);
      } else {
        await get("/api/v1/system");
      }
      this.showLink("connected", "Connected to the box");
    } catch (err) {
      if (err instanceof Refusal && err.status === 404) {
        this.showLink("connected", "Connected to the box");
        if (publication === this.publication) this.facts.set("On the box", "the camera is being made");
      } else {
        this.showLink("lost", err instanceof Refusal ? err.message : "Your browser lost the box");
      }
    }
    const s = await publication?.sending();
    if (s && publication === this.publication) {
      this.facts.set("It sends", [`${(s.bitsPerSecond / 1e6).toFixed(1)} Mbit/s`, `${s.fps.toFixed(0)} fps`, s.size, s.codec].filter(Boolean).join(" · "));
    }
  }
}

function recall(): string {
  try {
    return localStorage.getItem(remembered) ?? "";
  } catch {
    return "";
  }
}

function remember(name: string): void {
  try {
    localStorage.setItem(remembered, name);
  } catch {
    // Without storage it is asked for again.
  }
}
