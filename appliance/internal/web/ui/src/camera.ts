import { Events, get, post, Refusal, type ShowLink } from "./box";
import type { Page } from "./cameras";
import { Facts, h, setAttribute, setText } from "./dom";
import { LedgerView } from "./ledger";
import { Player } from "./player";
import type { Camera, DetectedObject } from "./types";
import { badge, bytes, clock, duration, tally } from "./words";

/** Everything about one camera. */
export function cameraPage(id: string, showLink: ShowLink): Page {
  const view = new CameraView(id, showLink);
  return { title: id, element: view.element, close: () => view.close() };
}

class CameraView {
  readonly element: HTMLElement;
  private readonly heading: HTMLElement;
  private readonly badge = h("span", { class: "badge" });
  private readonly since = h("span", { class: "figure" });
  private readonly transport = h("span", { role: "status", "data-testid": "transport" }, "Connecting");
  private readonly received = h("span", { class: "figure" });
  private readonly player: Player;
  private readonly objects = new ObjectList();
  private readonly ledger = new LedgerView();
  private readonly stream = new Facts();
  private readonly worker = new Facts();
  private readonly stderr = h("pre", { class: "stderr", tabindex: "0", "aria-label": "Last lines of the worker" });
  private readonly restartSays = h("span", { class: "figure", role: "status" });
  private readonly events: Events;
  private readonly statsTimer: number;
  private lastStats: { at: number; bytes: number; frames: number } | undefined;

  constructor(private readonly id: string, private readonly showLink: ShowLink) {
    this.heading = h("h1", {}, id);
    this.player = new Player(id, id, (words) => {
      setText(this.transport, words);
      this.lastStats = undefined;
      setText(this.received, "");
    });
    const full = h("button", { type: "button" }, "Full screen");
    full.addEventListener("click", () => void this.player.element.requestFullscreen?.().catch(() => undefined));
    const restart = h("button", { type: "button", "data-testid": "restart" }, "Restart worker");
    restart.addEventListener("click", () => void this.restart(restart));
    this.stderr.hidden = true;
    this.element = h(
      "div",
      { class: "camera", "data-testid": "camera" },
      h("div", { class: "title" }, h("a", { href: "/", class: "back" }, "All cameras"), this.heading, this.badge, this.since),
      h(
        "div",
        { class: "stage" },
        this.player.element,
        h("div", { class: "under" }, h("p", {}, h("span", { class: "label" }, "Video "), this.transport, " ", this.received), h("div", { class: "actions" }, this.restartSays, restart, full)),
      ),
      h(
        "div",
        { class: "panels beside" },
        h("section", {}, h("h2", {}, "In view"), this.objects.element),
        h("section", {}, h("h2", {}, "Frames"), this.ledger.element),
      ),
      h(
        "div",
        { class: "panels below" },
        h("section", {}, h("h2", {}, "Source and analysis"), this.stream.element),
        h("section", {}, h("h2", {}, "Worker"), this.worker.element, this.stderr),
      ),
    );
    this.events = new Events(`/api/v1/cameras/${encodeURIComponent(id)}/events?detections=latest`, {
      camera: (camera) => this.update(camera),
      detections: (d) => this.objects.update(d.objects),
      link: (state, words) => {
        showLink(state, words);
        if (state === "lost") void this.exists();
      },
    });
    this.statsTimer = window.setInterval(() => void this.measure(), 2_000);
  }

  close(): void {
    this.events.close();
    this.player.close();
    clearInterval(this.statsTimer);
  }

  private update(camera: Camera): void {
    this.player.update(camera);
    setText(this.heading, camera.name);
    document.title = `${camera.name} · Watchpost`;
    setText(this.badge, badge(camera));
    setAttribute(this.badge, "data-state", camera.state);
    setText(this.since, `since ${clock(camera.since)}`);
    if (camera.state === "playing") this.objects.update(camera.objects);
    else this.objects.update([], "No picture to see anything in");
    this.ledger.update(camera.ledger);
    this.facts(camera);
  }

  private facts(c: Camera): void {
    const s = c.stream ?? {};
    const size = s.width && s.height ? `${s.width} × ${s.height}${s.rotation ? `, turned ${s.rotation}°` : ""}` : "";
    this.stream.set("Picture", size);
    this.stream.set("Codec", (s.codec ?? "").toUpperCase());
    this.stream.set("Rate", `${c.rates.source_fps.toFixed(1)} fps${s.fps ? ` of ${s.fps.toFixed(1)}` : ""}`);
    this.stream.set("Decoder", s.decoder ?? "");
    this.stream.set("Analyser", c.analyser ?? "");
    this.stream.set("Runs on", c.runtime ?? (c.analyser === "motion" ? "no model: motion only" : ""));
    this.stream.set("Analysed", `${c.rates.analysed_fps.toFixed(1)} fps, ${c.rates.analyse_ms.toFixed(1)} ms each`);
    this.stream.set("Boxes", c.boxes === "client" ? "drawn by this page on the camera's own picture" : `drawn on the picture${c.boxes_reason ? `. ${c.boxes_reason}` : ""}`);
    this.stream.set("Encoder", c.encoder ?? (c.boxes === "client" ? "none needed" : ""));
    this.stream.set("Encoding", `${c.rates.encode_ms.toFixed(1)} ms each`);
    const w = c.worker;
    this.worker.set("Process", w ? String(w.pid) : "none");
    this.worker.set("Memory", w ? bytes(w.rss_bytes) : "");
    this.worker.set("Processor", w ? `${duration(w.cpu_seconds)} used` : "");
    this.worker.set("Running for", w ? duration((Date.now() - Date.parse(w.started)) / 1000) : "");
    this.worker.set("Viewers", String(c.viewers));
    const r = c.restarts;
    this.worker.set("Restarts", r.count === 0 ? "none" : `${r.count}${r.last ? `, last at ${clock(r.last)}` : ""}${r.exit ? ` (${r.exit})` : ""}`);
    const lines = (r.stderr ?? []).join("\n");
    setText(this.stderr, lines);
    this.stderr.hidden = lines === "";
  }

  private async restart(button: HTMLButtonElement): Promise<void> {
    button.disabled = true;
    setText(this.restartSays, "Restarting…");
    try {
      await post(`/api/v1/cameras/${encodeURIComponent(this.id)}/restart`);
      setText(this.restartSays, "Restart asked for");
    } catch (err) {
      setText(this.restartSays, err instanceof Refusal ? err.message : "The box does not answer");
    }
    window.setTimeout(() => {
      button.disabled = false;
      setText(this.restartSays, "");
    }, 4_000);
  }

  private async exists(): Promise<void> {
    try {
      await get(`/api/v1/cameras/${encodeURIComponent(this.id)}`);
    } catch (err) {
      if (!(err instanceof Refusal) || err.status !== 404) return;
      this.close();
      this.showLink("connected", "Connected to the box");
      this.element.replaceChildren(h("p", { class: "notice", role: "alert" }, err.message, " ", h("a", { href: "/" }, "Go to the cameras.")));
    }
  }

  /** What really arrives here, from the browser's own counters. */
  private async measure(): Promise<void> {
    const report = await this.player.stats()?.catch(() => undefined);
    if (!report) return;
    type Stat = Record<string, unknown> & { id: string; type: string };
    const all = new Map<string, Stat>();
    report.forEach((s: Stat) => all.set(s.id, s));
    const list = [...all.values()];
    const video = list.find((s) => s.type === "inbound-rtp" && s["kind"] === "video");
    if (!video) return;
    const now = { at: Date.now(), bytes: Number(video["bytesReceived"] ?? 0), frames: Number(video["framesDecoded"] ?? 0) };
    const was = this.lastStats;
    this.lastStats = now;
    if (!was || now.at <= was.at) return;
    const seconds = (now.at - was.at) / 1000;
    const codec = String(all.get(String(video["codecId"]))?.["mimeType"] ?? "").replace("video/", "");
    const pair = list.find((s) => s.type === "candidate-pair" && s["nominated"] === true && s["state"] === "succeeded");
    const protocol = String(all.get(String(pair?.["remoteCandidateId"]))?.["protocol"] ?? "").toUpperCase();
    const parts = [
      protocol && `over ${protocol}`,
      `${(((now.bytes - was.bytes) * 8) / seconds / 1e6).toFixed(1)} Mbit/s`,
      `${((now.frames - was.frames) / seconds).toFixed(0)} fps`,
      video["frameWidth"] ? `${String(video["frameWidth"])} × ${String(video["frameHeight"])}` : "",
      codec,
    ];
    setText(this.received, parts.filter(Boolean).join(" · "));
  }
}

class ObjectList {
  readonly element = h("div", { "data-testid": "objects" });
  private readonly summary = h("p", { class: "summary" }, "Nothing seen");
  private readonly list = h("ol", { class: "objects" });

  constructor() {
    this.element.append(this.summary, this.list);
  }

  update(objects: DetectedObject[], none = "Nothing seen"): void {
    setText(this.summary, objects.length === 0 ? none : tally(objects));
    setAttribute(this.element, "data-count", String(objects.length));
    const shown = [...objects].sort((a, b) => a.id - b.id).slice(0, 50);
    while (this.list.children.length > shown.length) this.list.lastElementChild?.remove();
    shown.forEach((o, i) => {
      let row = this.list.children[i];
      if (!row) {
        row = h("li", {}, h("span", { class: "id" }), h("span", { class: "what" }), h("meter", { min: "0", max: "1", "aria-label": "Confidence" }), h("span", { class: "score" }));
        this.list.append(row);
      }
      const [idCell, what, meter, score] = row.children as unknown as [Element, Element, HTMLMeterElement, Element];
      setText(idCell, `#${o.id}`);
      setText(what, o.label);
      meter.value = o.score;
      setText(score, `${Math.round(o.score * 100)} %`);
    });
  }
}
