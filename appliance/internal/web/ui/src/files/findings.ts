import { refusal } from "../box";
import type { ResultLine } from "../types";

// The log of a long video has a million lines. It is read in pages, and what is
// kept of it does not grow with it.

const pageLines = 5_000; // lines of one request
const bins = 1024; // columns of the picture over time
const mostTracks = 1_000; // tracks of one class that are kept one by one
const mostClasses = 200;
const mostIds = 1 << 23; // numbers of tracks that are told apart

/** One object that was followed: when it was seen, in seconds of video. */
export interface Track {
  id: number;
  from: number;
  to: number;
  boxes: number;
  score: number; // the best
  own: boolean; // it was seen as this class first, and counts there
}

/** What is known of one class. */
export class ClassFindings {
  boxes = 0;
  tracks = new Map<number, Track>();
  /** How many tracks were seen as this class first, those that are not kept included. */
  count = 0;
  /** By time, the most objects in one frame. */
  readonly density = new Uint16Array(bins);

  take(id: number, seconds: number, score: number, fresh: boolean): void {
    this.boxes++;
    if (fresh) this.count++;
    const track = this.tracks.get(id);
    if (track) {
      track.to = seconds;
      track.boxes++;
      track.score = Math.max(track.score, score);
    } else if (this.tracks.size < mostTracks) {
      this.tracks.set(id, { id, from: seconds, to: seconds, boxes: 1, score, own: fresh });
    }
  }
}

/** What is in a job's results, summed up. */
export class Findings {
  lines = 0;
  boxes = 0;
  /** Of the last line, in seconds of video. */
  seconds = 0;
  /** Seconds of one column of density. */
  width = 0.05;
  readonly classes = new Map<string, ClassFindings>();
  private seen = new Uint8Array(1024); // one bit for each track

  take(line: ResultLine): void {
    this.lines++;
    this.boxes += line.objects.length;
    this.seconds = Math.max(this.seconds, line.seconds);
    while (this.seconds >= this.width * bins) this.coarser();
    const now = new Map<string, number>();
    for (const o of line.objects) {
      now.set(o.label, (now.get(o.label) ?? 0) + 1);
      this.of(o.label)?.take(o.id, line.seconds, o.score, this.fresh(o.id));
    }
    const bin = Math.max(0, Math.floor(line.seconds / this.width));
    for (const [label, n] of now) {
      const density = this.of(label)?.density;
      if (density && n > density[bin]!) density[bin] = Math.min(n, 65_535);
    }
  }

  /** Whether a track is seen for the first time: one that changes its class is one still, as in the summary. */
  private fresh(id: number): boolean {
    if (!(id >= 0 && id < mostIds)) return false;
    const byte = id >> 3;
    if (byte >= this.seen.length) {
      const larger = new Uint8Array(2 ** Math.ceil(Math.log2(byte + 1)));
      larger.set(this.seen);
      this.seen = larger;
    }
    const bit = 1 << (id & 7);
    if ((this.seen[byte]! & bit) !== 0) return false;
    this.seen[byte]! |= bit;
    return true;
  }

  private of(label: string): ClassFindings | undefined {
    let c = this.classes.get(label);
    if (!c && this.classes.size < mostClasses) {
      c = new ClassFindings();
      this.classes.set(label, c);
    }
    return c;
  }

  private coarser(): void {
    this.width *= 2;
    for (const { density } of this.classes.values()) {
      for (let i = 0; i < bins; i++) density[i] = i < bins / 2 ? Math.max(density[2 * i]!, density[2 * i + 1]!) : 0;
    }
  }
}

/**
 * Reads a job's results from the first line on, as far as there are any, when
 * asked to. Each line is taken exactly once, whatever happens to a request.
 */
export class ResultsReader {
  private next = 1;
  private complete = false;
  private busy = false;
  private wanted = false;
  private failures = 0;
  private timer = 0;
  private readonly left = new AbortController();

  /** changed is called after each page. */
  constructor(private readonly job: string, private readonly findings: Findings, private readonly changed: (complete: boolean) => void) {}

  /** Says that there may be more. */
  more(): void {
    this.wanted = true;
    if (!this.busy && !this.complete && this.timer === 0) void this.read();
  }

  /** Says that the job goes on after all. */
  reopen(): void {
    this.complete = false;
    this.more();
  }

  close(): void {
    clearTimeout(this.timer);
    this.left.abort();
  }

  private async read(): Promise<void> {
    this.busy = true;
    try {
      while (this.wanted && !this.complete && !this.left.signal.aborted) {
        this.wanted = false;
        if (await this.page()) this.wanted = true; // there may be another one
        this.failures = 0;
        this.changed(this.complete);
      }
    } catch {
      if (this.left.signal.aborted) return;
      // The page's stream says what is wrong with the box.
      this.failures++;
      this.timer = window.setTimeout(() => {
        this.timer = 0;
        this.more();
      }, Math.min(1_000 * 2 ** (this.failures - 1), 15_000));
    } finally {
      this.busy = false;
    }
    if (this.wanted) this.more();
  }

  /** Reads one page, line by line; tells whether it was a full one. */
  private async page(): Promise<boolean> {
    const response = await fetch(`/api/v1/jobs/${encodeURIComponent(this.job)}/results?from=${this.next}&limit=${pageLines}`, { signal: this.left.signal });
    if (!response.ok) throw await refusal(response);
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    let n = 0;
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const lines = (rest + value).split("\n");
      rest = lines.pop()!;
      for (const text of lines) {
        const line = JSON.parse(text) as ResultLine;
        if (line.seq !== this.next) continue;
        this.next++;
        n++;
        this.findings.take(line);
      }
    }
    // Only now: a cut answer has no end.
    this.complete = response.headers.get("Watchpost-Complete") === "true";
    return n >= pageLines;
  }
}
