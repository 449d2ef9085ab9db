// Plays an MP4 that is still being written: fragments as they come
// (ISO/IEC 14496-12 clause 8.8), through the browser's Media Source Extensions.

const slice = 2 << 20; // bytes of one request
const ahead = 60; // s of video that are fetched before they are needed
const behind = 30; // s that are kept of what was seen
const poll = 1_000; // ms between looks for more
const mostMarks = 20_000; // fragments whose place is remembered

/** Reads the heads of boxes as the file comes by. */
class Boxes {
  private head = new Uint8Array(0);
  private skip = 0; // bytes of a box's body that are still to come
  private at = 0; // offset in the file
  private moof = -1;

  /** found is told where each fragment begins, and when, in the scale of its track. */
  constructor(private readonly found: (offset: number, time: number) => void) {}

  private fed = 0; // bytes seen so far

  /** Takes bytes from a place in the file on; those that were seen are passed over. */
  take(offset: number, bytes: Uint8Array): void {
    let data = bytes.subarray(Math.min(bytes.length, Math.max(0, this.fed - offset)));
    this.fed += data.length;
    if (this.skip > 0) {
      const n = Math.min(this.skip, data.length);
      this.skip -= n;
      this.at += n;
      data = data.subarray(n);
    }
    if (data.length === 0) return;
    const all = new Uint8Array(this.head.length + data.length);
    all.set(this.head);
    all.set(data, this.head.length);
    let i = 0;
    const view = new DataView(all.buffer);
    while (i + 16 <= all.length) {
      let size = view.getUint32(i);
      const type = String.fromCharCode(...all.subarray(i + 4, i + 8));
      if (size === 1) size = Number(view.getBigUint64(i + 8));
      if (size < 8) return; // not a file that we understand: then without marks
      const nested = type === "moof" || type === "traf";
      if (type === "tfdt") {
        if (i + 20 > all.length) break;
        const time = view.getUint8(i + 8) === 1 ? Number(view.getBigUint64(i + 12)) : view.getUint32(i + 12);
        if (this.moof >= 0) this.found(this.moof, time);
        this.moof = -1;
      }
      if (type === "moof") this.moof = this.at;
      const step = nested ? 8 : size;
      if (i + step > all.length) {
        this.skip = i + step - all.length;
        this.at += all.length - i;
        this.head = new Uint8Array(0);
        return;
      }
      i += step;
      this.at += step;
    }
    this.head = all.slice(i);
  }
}

/** What is in the head of a file: the codec's name (RFC 6381) and the track's scale. */
function describe(head: Uint8Array): { type: string; scale: number } | undefined {
  const find = (name: string): number => {
    const [a, b, c, d] = [...name].map((x) => x.charCodeAt(0));
    for (let i = 0; i + 4 <= head.length; i++) if (head[i] === a && head[i + 1] === b && head[i + 2] === c && head[i + 3] === d) return i;
    return -1;
  };
  const config = find("avcC");
  const times = find("mdhd");
  if (config < 0 || times < 0 || config + 8 > head.length || find("moof") >= 0 && find("moof") < config) return undefined;
  const entry = find("avc3") >= 0 ? "avc3" : "avc1";
  const hex = [...head.subarray(config + 5, config + 8)].map((b) => b.toString(16).padStart(2, "0")).join("");
  const view = new DataView(head.buffer, head.byteOffset);
  const scale = view.getUint32(times + 4 + (head[times + 4] === 1 ? 20 : 12));
  return { type: `video/mp4; codecs="${entry}.${hex}"`, scale };
}

/** One showing of a growing file in a video element. */
export class Growing {
  private readonly source = new MediaSource();
  private readonly url = URL.createObjectURL(this.source);
  private readonly left = new AbortController();
  private readonly marks: { at: number; offset: number }[] = []; // seconds
  private buffer: SourceBuffer | undefined;
  private boxes: Boxes | undefined;
  private offset = 0;
  private scale = 1;
  private timer = 0;
  private duration = 0;
  private last = false;

  /** changed is told what is going on; over is called when the file has become a whole one, or the browser gave up on this one. */
  constructor(private readonly path: string, private readonly video: HTMLVideoElement, private readonly changed: (words: string) => void, private readonly over: (how: "whole" | "broken") => void) {
    this.source.addEventListener("sourceopen", () => void this.run(), { once: true });
    video.addEventListener("seeking", this.seeking);
    video.src = this.url;
  }

  static possible(): boolean {
    return typeof MediaSource !== "undefined" && MediaSource.isTypeSupported('video/mp4; codecs="avc3.42e01f"');
  }

  close(): void {
    this.left.abort();
    clearTimeout(this.timer);
    this.video.removeEventListener("seeking", this.seeking);
    URL.revokeObjectURL(this.url);
  }

  /** Seconds of video that came so far. */
  get reached(): number {
    return this.buffer?.buffered.length ? this.buffer.buffered.end(this.buffer.buffered.length - 1) : 0;
  }

  /** Takes how long the whole video will be, where that is known. */
  setDuration(seconds: number): void {
    this.duration = seconds;
    this.lengthen();
  }

  /** Says whether the file stays as it is: nothing writes to it any more. */
  finish(last: boolean): void {
    this.last = last;
  }

  /** Has the element's own controls show the length of the whole. */
  private lengthen(): void {
    if (this.duration <= 0 || !this.buffer || this.buffer.updating || this.source.readyState !== "open") return;
    const length = Math.max(this.duration, this.reached);
    if (!(Math.abs(this.source.duration - length) < 0.01)) this.source.duration = length;
  }

  private async run(): Promise<void> {
    while (!this.left.signal.aborted) {
      try {
        this.seeking();
        if (this.enough()) {
          await this.rest();
        } else if (!(await this.fetchMore())) {
          if (this.last && this.source.readyState === "open" && this.buffer) this.source.endOfStream();
          await this.rest();
        }
      } catch (err) {
        if (this.left.signal.aborted) return;
        if (err instanceof DOMException && err.name === "InvalidStateError") {
          this.close();
          this.over("broken");
          return;
        }
        await this.rest();
      }
    }
  }

  private rest(): Promise<void> {
    return new Promise((resolve) => (this.timer = window.setTimeout(resolve, poll)));
  }

  /** Whether there is enough before the point that is shown. */
  private enough(): boolean {
    const b = this.video.buffered;
    const now = this.video.currentTime;
    for (let i = 0; i < b.length; i++) if (b.start(i) <= now + 0.5 && b.end(i) > now + ahead) return true;
    return false;
  }

  private async fetchMore(): Promise<boolean> {
    const at = this.offset;
    const response = await fetch(this.path, { headers: { Range: `bytes=${at}-${at + slice - 1}` }, signal: this.left.signal });
    if (response.headers.get("Watchpost-Complete") === "true") {
      await response.body?.cancel();
      this.close();
      this.over("whole");
      return false;
    }
    if (response.status !== 206) {
      await response.body?.cancel(); // 416, 404: not there yet
      if (at === 0) this.changed("The video begins with the first frames that are analysed.");
      return false;
    }
    const bytes = new Uint8Array(await response.arrayBuffer());
    if (bytes.length === 0 || this.offset !== at) return false; // moved away meanwhile
    if (!this.buffer) {
      const what = describe(bytes);
      if (!what) return false; // not all of the head yet: from the first byte again
      this.scale = what.scale;
      this.buffer = this.source.addSourceBuffer(what.type);
      this.boxes = new Boxes((offset, time) => this.mark(offset, time));
    }
    await this.append(bytes);
    this.offset = at + bytes.length;
    this.boxes?.take(at, bytes);
    this.lengthen();
    this.changed("");
    this.begin();
    return true;
  }

  private mark(offset: number, time: number): void {
    const at = time / this.scale;
    const last = this.marks[this.marks.length - 1];
    if ((!last || at > last.at) && this.marks.length < mostMarks) this.marks.push({ at, offset });
  }

  /** A video whose first frame is not at 0 would otherwise never begin. */
  private begin(): void {
    const b = this.video.buffered;
    if (b.length > 0 && this.video.currentTime < b.start(0) && this.marks[0] && b.start(0) <= this.marks[0].at + 0.5) this.video.currentTime = b.start(0);
  }

  private async append(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const buffer = this.buffer!;
    for (;;) {
      try {
        buffer.appendBuffer(bytes);
        await this.settled(buffer);
        return;
      } catch (err) {
        if (!(err instanceof DOMException) || err.name !== "QuotaExceededError") throw err;
        // The browser's memory for it is full: what was seen goes first.
        const now = this.video.currentTime;
        const start = buffer.buffered.length > 0 ? buffer.buffered.start(0) : 0;
        if (now - behind > start) {
          buffer.remove(start, now - behind);
          await this.settled(buffer);
        } else {
          await this.rest();
          if (this.left.signal.aborted) throw err;
        }
      }
    }
  }

  private settled(buffer: SourceBuffer): Promise<void> {
    if (!buffer.updating) return Promise.resolve();
    return new Promise((resolve, reject) => {
      buffer.addEventListener("updateend", () => resolve(), { once: true });
      buffer.addEventListener("error", () => reject(new DOMException("the pictures cannot be shown", "InvalidStateError")), { once: true });
    });
  }

  /** Goes back to what the browser has let go of. */
  private readonly seeking = (): void => {
    const buffer = this.buffer;
    const now = this.video.currentTime;
    if (!buffer || buffer.updating || this.source.readyState !== "open") return;
    const b = buffer.buffered;
    for (let i = 0; i < b.length; i++) if (b.start(i) <= now && now < b.end(i)) return;
    let mark = this.marks[0];
    for (const m of this.marks) if (m.at <= now) mark = m;
    if (!mark || mark.at > now || mark.offset >= this.offset || now >= this.reached) return;
    buffer.abort(); // drops the part of a fragment that is there
    this.offset = mark.offset;
  };
}
