import { h, setAttribute, setText } from "../dom";
import { count } from "../words";
import type { ClassFindings, Findings, Track } from "./findings";
import { time } from "./words";

const densityHeight = 12; // px
const laneHeight = 5; // px
const mostLanes = 10; // rows of tracks under one class
const mostClasses = 24; // classes that get a picture
const mostButtons = 200; // tracks in the list

interface Row {
  element: HTMLElement;
  count: HTMLElement;
  canvas: HTMLCanvasElement;
}

/** What was seen when: a strip for each class, and a point of time that can be chosen. */
export class Timeline {
  readonly element: HTMLElement;
  private readonly rows = new Map<string, Row>();
  private readonly body = h("div", { class: "rows" });
  private readonly head = h("div", { class: "playhead", "aria-hidden": "true" });
  private readonly slider: HTMLElement;
  private readonly end = h("span", { class: "figure" });
  private readonly rest = h("p", { class: "why" });
  private readonly tracks = h("ol", { class: "tracks" });
  private readonly summary = h("summary");
  private readonly details: HTMLDetailsElement;
  private readonly sizes: ResizeObserver;
  private duration = 0;
  private position = 0;
  private drawing = 0;

  constructor(private readonly findings: Findings, private readonly seek: (seconds: number) => void) {
    this.slider = h("div", { class: "axis", role: "slider", tabindex: "0", "aria-label": "Position in the video", "aria-valuemin": "0", "data-testid": "timeline" }, h("div", { class: "area" }, this.body, this.head));
    this.slider.addEventListener("pointerdown", (e) => {
      if (e.button !== 0) return;
      this.slider.setPointerCapture(e.pointerId);
      this.point(e);
    });
    this.slider.addEventListener("pointermove", (e) => {
      if (this.slider.hasPointerCapture(e.pointerId)) this.point(e);
    });
    this.slider.addEventListener("keydown", (e) => this.key(e));
    this.details = h("details", { class: "more" }, this.summary, this.tracks);
    this.details.addEventListener("toggle", () => this.later());
    this.details.hidden = true;
    this.element = h("div", { class: "timeline" }, this.slider, h("div", { class: "ends" }, h("span", { class: "figure" }, "0:00"), this.end), this.rest, this.details);
    this.sizes = new ResizeObserver(() => this.later());
    this.sizes.observe(this.slider);
    this.later();
  }

  close(): void {
    this.sizes.disconnect();
    clearTimeout(this.drawing);
  }

  /** Takes how long the video is, as far as that is known. */
  setDuration(seconds: number): void {
    if (seconds === this.duration) return;
    this.duration = seconds;
    this.setPosition(this.position);
    this.later();
  }

  setPosition(seconds: number): void {
    this.position = seconds;
    this.head.style.left = this.duration > 0 ? `${Math.min(100, (seconds * 100) / this.duration)}%` : "0";
    setAttribute(this.slider, "aria-valuemax", this.duration.toFixed(1));
    setAttribute(this.slider, "aria-valuenow", seconds.toFixed(1));
    setAttribute(this.slider, "aria-valuetext", `${time(seconds, this.duration)} of ${time(this.duration, this.duration)}`);
  }

  /** Draws soon; many calls draw once. */
  later(): void {
    this.drawing ||= window.setTimeout(() => {
      this.drawing = 0;
      this.draw();
    }, 120);
  }

  private point(e: PointerEvent): void {
    const box = this.body.getBoundingClientRect();
    if (this.duration <= 0 || box.width <= 0) return;
    this.seek((Math.min(1, Math.max(0, (e.clientX - box.left) / box.width)) * this.duration));
  }

  private key(e: KeyboardEvent): void {
    const steps: Record<string, number> = { ArrowLeft: -1, ArrowRight: 1, ArrowDown: -1, ArrowUp: 1, PageDown: -10, PageUp: 10, Home: -Infinity, End: Infinity };
    const step = steps[e.key];
    if (step === undefined) return;
    e.preventDefault();
    this.seek(Math.min(this.duration, Math.max(0, this.position + step)));
  }

  private draw(): void {
    setText(this.end, this.duration > 0 ? time(this.duration, this.duration) : "");
    const classes = [...this.findings.classes].sort((a, b) => b[1].count - a[1].count || a[0].localeCompare(b[0]));
    const rest = classes.length - mostClasses;
    this.rest.hidden = rest <= 0;
    setText(this.rest, `and ${rest} more kinds, rarer than these`);
    const shown = classes.slice(0, mostClasses);
    for (const [label, row] of this.rows) {
      if (shown.some(([l]) => l === label)) continue;
      row.element.remove();
      this.rows.delete(label);
    }
    shown.forEach(([label, c], i) => {
      const row = this.row(label);
      if (this.body.children[i] !== row.element) this.body.insertBefore(row.element, this.body.children[i] ?? null);
      setText(row.count, `${count(c.count)} × ${label}`);
      this.paint(row.canvas, c);
    });
    this.listTracks(classes);
  }

  private row(label: string): Row {
    let row = this.rows.get(label);
    if (!row) {
      const n = h("span", { class: "label" });
      const canvas = h("canvas", { "aria-hidden": "true" });
      row = { element: h("div", { class: "strip", "data-class": label }, n, canvas), count: n, canvas };
      this.rows.set(label, row);
    }
    return row;
  }

  private paint(canvas: HTMLCanvasElement, c: ClassFindings): void {
    const width = canvas.clientWidth || this.body.clientWidth;
    if (width === 0 || this.duration <= 0) return;
    const { lanes, of } = pack([...c.tracks.values()], (this.duration * 2) / width);
    const height = densityHeight + 2 + lanes * laneHeight;
    const dpr = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * dpr);
    canvas.height = Math.round(height * dpr);
    canvas.style.height = `${height}px`;
    const g = canvas.getContext("2d")!;
    g.scale(dpr, dpr);
    const style = getComputedStyle(canvas);
    const at = (seconds: number): number => (seconds * width) / this.duration;
    g.fillStyle = style.getPropertyValue("--lamp");
    const most = c.density.reduce((a, b) => Math.max(a, b), 1);
    const step = this.findings.width;
    c.density.forEach((n, i) => {
      if (n === 0) return;
      g.globalAlpha = 0.25 + (0.75 * n) / most;
      const from = Math.round(at(i * step)); // whole pixels: edges that are half drawn would be stripes
      g.fillRect(from, 0, Math.max(1, Math.round(at((i + 1) * step)) - from), densityHeight);
    });
    g.globalAlpha = 1;
    g.fillStyle = style.getPropertyValue("--calm");
    for (const [t, lane] of of) {
      g.fillRect(at(t.from), densityHeight + 2 + lane * laneHeight, Math.max(2, at(t.to - t.from)), laneHeight - 2);
    }
  }

  /** The same for those who do not see pictures, or want to go to one object. */
  private listTracks(classes: [string, ClassFindings][]): void {
    const all = classes.flatMap(([label, c]) => [...c.tracks.values()].filter((t) => t.own).map((t) => ({ label, t })));
    this.details.hidden = all.length === 0;
    const total = classes.reduce((sum, [, c]) => sum + c.count, 0);
    setText(this.summary, total > mostButtons ? `Objects one by one: the first ${mostButtons} of ${count(total)}` : `Objects one by one (${count(total)})`);
    if (!this.details.open) return;
    all.sort((a, b) => a.t.from - b.t.from || a.t.id - b.t.id);
    const first = all.slice(0, mostButtons);
    while (this.tracks.children.length > first.length) this.tracks.lastElementChild!.remove();
    first.forEach(({ label, t }, i) => {
      let button = this.tracks.children[i]?.firstElementChild;
      if (!button) {
        const made = h("button", { type: "button", class: "quiet" });
        made.addEventListener("click", () => this.seek(Number(made.dataset["from"])));
        this.tracks.append(h("li", {}, made));
        button = made;
      }
      setAttribute(button, "data-from", String(t.from));
      setText(button, `${time(t.from, this.duration)}–${time(t.to, this.duration)}  ${label} #${t.id}, up to ${Math.round(t.score * 100)} %`);
    });
  }
}

/** Puts each track into the first lane that is free, gap being the least space between two. */
function pack(tracks: Track[], gap: number): { lanes: number; of: Map<Track, number> } {
  const ends: number[] = [];
  const of = new Map<Track, number>();
  for (const t of tracks.sort((a, b) => a.from - b.from)) {
    let lane = ends.findIndex((end) => end + gap <= t.from);
    if (lane < 0) lane = ends.length < mostLanes ? ends.length : mostLanes - 1; // what does not fit lies over the last
    ends[lane] = Math.max(ends[lane] ?? 0, t.to);
    of.set(t, lane);
  }
  return { lanes: ends.length, of };
}
