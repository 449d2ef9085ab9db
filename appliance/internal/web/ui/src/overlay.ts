import { h, setAttribute } from "./dom";

// Boxes drawn over a camera's own picture. They come over a data channel, named by
// the RTP timestamp of the frame that they belong to.

/** One object, in pixels of the frame. */
interface Box {
  id: number;
  class: number;
  label: string;
  score: number;
  x0: number;
  y0: number;
  x1: number;
  y1: number;
}

interface Message {
  rtp_timestamp: number;
  width: number;
  height: number;
  objects: Box[];
}

const kept = 90; // messages; three seconds at 30 fps
const clockRate = 90_000;
const stale = 1_000; // ms after which boxes say nothing about the picture any more
const longestDelay = 250; // ms that the picture may wait for its boxes
const delayStep = 1_000; // ms between two looks at how late boxes are
const foresight = 0.2 * clockRate; // ticks that an object is believed to go on as it went
const margin = 10; // ms that boxes shall be there before their picture

// The palette and how it is chosen are those of the boxes that the box draws itself.
const palette = ["#56b4e9", "#ffb01f", "#1cc494", "#f5e642", "#f07633", "#e08dc0", "#3d8bff", "#b8e0f5", "#ffd99a", "#9be8d0"];
const halo = "rgb(0 0 0 / 59%)";

function colour(box: Box): string {
  return palette[(box.class * 7 + box.id) % palette.length] ?? "#ffffff";
}

/** Black or white, whichever is easier to read on a colour. */
function onto(hex: string): string {
  const [r = 0, g = 0, b = 0] = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  return 299 * r + 587 * g + 114 * b > 120_000 ? "#0c0c0e" : "#ffffff";
}

function words(box: Box): string {
  return [box.label, box.id > 0 ? `#${box.id}` : "", box.score > 0 ? `${Math.round(Math.min(box.score, 1) * 100)}%` : ""].filter((w) => w !== "").join(" ");
}

/** Where the objects of a message are at a time (RTP) between it and the next one. */
function between(m: Message, next: Message, rtp: number): Message {
  const span = ticks(next.rtp_timestamp, m.rtp_timestamp);
  return moved(m, next, span > 0 ? ticks(rtp, m.rtp_timestamp) / span : 0);
}

/** Where they are some time after it, if they go on as they came from the one before. */
function beyond(m: Message, before: Message, rtp: number): Message {
  const span = ticks(m.rtp_timestamp, before.rtp_timestamp);
  const ahead = Math.min(ticks(rtp, m.rtp_timestamp), foresight);
  return moved(m, before, span > 0 ? -ahead / span : 0);
}

function moved(m: Message, other: Message, share: number): Message {
  const objects = m.objects.map((box) => {
    const there = other.objects.find((o) => o.id === box.id && o.class === box.class);
    if (!there) return box;
    const go = (a: number, b: number): number => a + (b - a) * share;
    return { ...box, x0: go(box.x0, there.x0), y0: go(box.y0, there.y0), x1: go(box.x1, there.x1), y1: go(box.y1, there.y1) };
  });
  return { ...m, objects };
}

/** How much later a is than b, in RTP ticks; timestamps wrap. */
function ticks(a: number, b: number): number {
  return (a - b) | 0;
}

interface Rect {
  x: number;
  y: number;
  w: number;
  h: number;
}

function overlap(a: Rect, b: Rect): number {
  return Math.max(0, Math.min(a.x + a.w, b.x + b.w) - Math.max(a.x, b.x)) * Math.max(0, Math.min(a.y + a.h, b.y + b.h) - Math.max(a.y, b.y));
}

/**
 * The canvas over a video. data-rtp on it is the timestamp of the boxes that are
 * shown, data-frame that of the picture, data-boxes their number.
 */
export class Overlay {
  readonly canvas = h("canvas", { class: "boxes", "aria-hidden": "true", "data-testid": "boxes" });
  private readonly observer = new ResizeObserver(() => this.draw());
  private messages: (Message & { at: number })[] = [];
  private shownAt = new Map<number, number>(); // RTP timestamp → ms
  private frame: number | undefined; // RTP timestamp of the picture on show
  private current: Message | undefined;
  private currentAt = 0;
  private late: number[] = []; // ms by which boxes came after their picture; negative: before it
  private delay = 0;
  private lookedAt = 0;

  constructor(private readonly video: HTMLVideoElement, private readonly setDelay: (ms: number) => void) {
    this.observer.observe(this.canvas);
  }

  /** Takes a message of the data channel. */
  take(text: string): void {
    let m: Message;
    try {
      m = JSON.parse(text) as Message;
    } catch {
      return;
    }
    if (typeof m.rtp_timestamp !== "number" || !Array.isArray(m.objects) || !(m.width > 0) || !(m.height > 0)) return;
    const at = performance.now();
    this.messages.push({ ...m, at });
    if (this.messages.length > kept) this.messages.shift();
    const shown = this.shownAt.get(m.rtp_timestamp);
    if (shown !== undefined) this.late.push(at - shown);
    this.match();
  }

  /** Notes the picture on show; browsers that do not tell its timestamp get the newest boxes. */
  shown(rtp: number | undefined): void {
    this.frame = rtp;
    if (rtp !== undefined) {
      const now = performance.now();
      this.shownAt.set(rtp, now);
      const early = this.messages.find((m) => m.rtp_timestamp === rtp);
      if (early) this.late.push(early.at - now);
      if (this.shownAt.size > kept) for (const oldest of this.shownAt.keys()) {
        this.shownAt.delete(oldest);
        break;
      }
      setAttribute(this.canvas, "data-frame", String(rtp));
    }
    this.match();
  }

  /** Hides boxes that nothing has confirmed for a second, and has the picture wait for late ones. */
  check(): void {
    if (this.current && performance.now() - this.currentAt > stale) {
      this.current = undefined;
      this.draw();
    }
    if (performance.now() - this.lookedAt < delayStep || this.late.length === 0) return;
    this.lookedAt = performance.now();
    this.late.sort((a, b) => a - b);
    const most = this.late[Math.floor(this.late.length * 0.9)] ?? 0;
    this.late = [];
    // Later at once, earlier by half of what there is to gain: a picture that
    // waits is better than one without its boxes.
    let change = 0;
    if (most > 0) change = most + margin;
    else if (most < -2 * margin) change = (most + margin) / 2;
    const wanted = Math.round(Math.min(longestDelay, Math.max(0, this.delay + change)));
    if (wanted === this.delay) return;
    this.delay = wanted;
    this.setDelay(wanted);
  }

  clear(): void {
    this.messages = [];
    this.shownAt.clear();
    this.frame = undefined;
    this.current = undefined;
    this.late = [];
    this.delay = 0;
    this.draw();
  }

  close(): void {
    this.observer.disconnect();
  }

  /** Chooses the boxes of the picture, or else moves those around it there. */
  private match(): void {
    if (this.frame === undefined) {
      this.use(this.messages[this.messages.length - 1]);
      return;
    }
    const longest = (stale / 1000) * clockRate;
    let [before, own, next]: (Message | undefined)[] = [];
    for (const m of [...this.messages].sort((a, b) => ticks(a.rtp_timestamp, b.rtp_timestamp))) {
      const age = ticks(this.frame, m.rtp_timestamp);
      if (age >= 0 && age <= longest) [before, own] = [own, m];
      else if (age < 0 && -age <= longest) next ??= m;
    }
    if (!own) return;
    // A model that is slower than the camera sees some of the frames: in between,
    // objects are moved to where they are on the one on show.
    if (own.rtp_timestamp !== this.frame) {
      if (next) own = between(own, next, this.frame);
      else if (before) own = beyond(own, before, this.frame);
    }
    this.use(own);
  }

  private use(m: Message | undefined): void {
    if (!m || m === this.current) return;
    if (m.rtp_timestamp !== this.current?.rtp_timestamp) this.currentAt = performance.now();
    this.current = m;
    this.draw();
  }

  private draw(): void {
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(this.canvas.clientWidth * ratio);
    const height = Math.round(this.canvas.clientHeight * ratio);
    if (this.canvas.width !== width) this.canvas.width = width;
    if (this.canvas.height !== height) this.canvas.height = height;
    const g = this.canvas.getContext("2d");
    if (!g) return;
    g.clearRect(0, 0, width, height);
    const m = this.current;
    setAttribute(this.canvas, "data-boxes", String(m?.objects.length ?? 0));
    setAttribute(this.canvas, "data-rtp", m ? String(m.rtp_timestamp) : "");
    if (!m || width === 0 || height === 0) return;
    // As object-fit: contain places the video. Until its size is known, the
    // frame's own will do.
    const vw = this.video.videoWidth || m.width;
    const vh = this.video.videoHeight || m.height;
    const scale = Math.min(width / vw, height / vh);
    const area: Rect = { x: (width - vw * scale) / 2, y: (height - vh * scale) / 2, w: vw * scale, h: vh * scale };
    this.paint(g, m, area, ratio);
  }

  private paint(g: CanvasRenderingContext2D, m: Message, area: Rect, ratio: number): void {
    const sx = area.w / m.width;
    const sy = area.h / m.height;
    // The measures of the boxes that are drawn on pictures, and never less than
    // can be seen and read in a small tile.
    const side = Math.min(m.height, (m.width * 3) / 4);
    const line = Math.max(Math.max(Math.round(side / 360), side >= 300 ? 2 : 1) * sy, 1.5 * ratio);
    const edge = Math.max(line / 3, 1);
    const size = Math.max((side / 40) * sy, 11 * ratio);
    g.save();
    g.beginPath();
    g.rect(area.x, area.y, area.w, area.h);
    g.clip();
    const boxes = m.objects
      .map((box): { box: Box; rect: Rect } => ({ box, rect: { x: area.x + box.x0 * sx, y: area.y + box.y0 * sy, w: (box.x1 - box.x0) * sx, h: (box.y1 - box.y0) * sy } }))
      .filter(({ rect }) => rect.w > 0 && rect.h > 0);
    // Large boxes first: small ones in front of them stay whole.
    boxes.sort((a, b) => b.rect.w * b.rect.h - a.rect.w * a.rect.h);
    for (const { box, rect } of boxes) outline(g, rect, line, edge, colour(box));
    // Lower ids choose their label's place first, so that labels do not jump.
    boxes.sort((a, b) => a.box.id - b.box.id);
    g.font = `600 ${size}px system-ui, sans-serif`;
    g.textBaseline = "middle";
    const taken: Rect[] = [];
    for (const { box, rect } of boxes) label(g, box, rect, area, size, line, edge, taken);
    g.restore();
  }
}

/** The coloured line inside the box's edge, between two dark ones. */
function outline(g: CanvasRenderingContext2D, r: Rect, line: number, edge: number, stroke: string): void {
  if (Math.min(r.w, r.h) < 6 * line) line = Math.max(line / 2, 1);
  const ring = (inset: number, width: number, style: string): void => {
    if (r.w <= 2 * inset || r.h <= 2 * inset) return;
    g.strokeStyle = style;
    g.lineWidth = width;
    g.strokeRect(r.x + inset, r.y + inset, r.w - 2 * inset, r.h - 2 * inset);
  };
  ring(-edge / 2, edge, halo);
  ring(line + edge / 2, edge, halo);
  ring(line / 2, line, stroke);
}

function label(g: CanvasRenderingContext2D, box: Box, r: Rect, area: Rect, size: number, line: number, edge: number, taken: Rect[]): void {
  const text = words(box);
  if (text === "") return;
  const w = Math.min(g.measureText(text).width + size * 0.66, area.w);
  const hgt = size * 1.35;
  const [above, below, top] = [r.y - edge - hgt, r.y + r.h + edge, r.y + line + edge];
  const [left, right] = [r.x - edge, r.x + r.w + edge - w];
  let best: Rect | undefined;
  let least = Infinity;
  for (const [n, [x, y]] of ([[left, above], [right, above], [left + line + edge, top], [left, below], [right, below]] as const).entries()) {
    const place: Rect = { x: Math.min(Math.max(x, area.x), area.x + area.w - w), y: Math.min(Math.max(y, area.y), area.y + area.h - hgt), w, h: hgt };
    let cost = Math.abs(place.y - y) > edge ? 1 + n : 0;
    for (const t of taken) cost += 1000 * overlap(place, t);
    if (cost < least) {
      best = place;
      least = cost;
    }
    if (cost === 0) break;
  }
  if (!best) return;
  taken.push(best);
  const back = colour(box);
  g.fillStyle = halo;
  g.fillRect(best.x - edge, best.y - edge, best.w + 2 * edge, best.h + 2 * edge);
  g.fillStyle = back;
  g.fillRect(best.x, best.y, best.w, best.h);
  g.fillStyle = onto(back);
  g.fillText(text, best.x + size * 0.33, best.y + hgt / 2 + size * 0.05, best.w - size * 0.5);
}
