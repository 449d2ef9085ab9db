import { h, setText } from "../dom";
import type { Job, JobFile } from "../types";
import { Growing } from "./growing";
import { ended } from "./words";

/**
 * The annotated video of a job: the file that grows while the job runs, the
 * finished one afterwards, at the same point of time.
 */
export class JobVideo {
  readonly element: HTMLElement;
  readonly video = h("video", { controls: true, playsinline: true, preload: "metadata", "data-testid": "annotated", hidden: true });
  private readonly words = h("p", { class: "why", role: "status", "data-testid": "video-words" });
  private readonly path: string;
  private growing: Growing | undefined;
  private mode: "none" | "growing" | "plain" | "whole" = "none";
  private wanted: number | undefined; // a point that is not there yet
  private bytes = 0;

  constructor(id: string, onTime: (seconds: number) => void) {
    this.path = `/api/v1/jobs/${encodeURIComponent(id)}/files/annotated.mp4`;
    this.video.muted = true; // it has no sound; muted, it may start by itself
    this.video.addEventListener("timeupdate", () => onTime(this.video.currentTime));
    this.video.addEventListener("seeking", () => onTime(this.video.currentTime));
    this.video.addEventListener("error", () => {
      if (this.mode === "whole" || this.mode === "plain") setText(this.words, "The browser cannot play this video: download it instead.");
    });
    this.element = h("div", { class: "picture", "data-testid": "picture", "data-mode": "none" }, this.video, this.words);
  }

  /** Takes the job's newest state. */
  update(job: Job): void {
    if (job.settings.no_video) {
      this.say("No video was asked for. What was seen is below.");
      return;
    }
    if (job.status === "done") {
      this.whole();
      return;
    }
    if (job.progress.frames > 0 || job.results > 0) {
      if (this.mode === "none") this.grow();
      if (job.progress.duration_s) this.growing?.setDuration(job.progress.duration_s);
    } else if (this.mode === "none") {
      this.say(ended(job) ? "There is no video: nothing was analysed." : "The video begins with the first frames that are analysed.");
    }
    this.growing?.finish(ended(job));
  }

  /** Takes what files there are: for browsers that cannot follow a growing one. */
  files(files: JobFile[]): void {
    const file = files.find((f) => f.name === "annotated.mp4");
    if (!file || this.mode !== "plain" || file.bytes === this.bytes || !(this.video.paused || this.video.ended || this.bytes === 0)) return;
    this.bytes = file.bytes;
    this.load(this.path);
  }

  seek(seconds: number): void {
    const end = this.growing ? this.growing.reached : this.video.duration;
    if (this.mode === "none" || !this.video.currentSrc) return;
    this.wanted = undefined;
    this.video.currentTime = end > 0 ? Math.min(seconds, Math.max(0, end - 0.05)) : seconds;
  }

  close(): void {
    this.growing?.close();
    this.video.removeAttribute("src");
    this.video.load(); // lets go of the connection
  }

  private grow(): void {
    if (!Growing.possible()) {
      this.setMode("plain");
      return;
    }
    this.setMode("growing");
    this.growing = new Growing(this.path, this.video, (words) => this.say(words), (how) => {
      this.growing = undefined;
      if (how === "whole") this.whole();
      else this.setMode("plain"); // the next look at the files loads it as it is
    });
  }

  private whole(): void {
    if (this.mode === "whole") return;
    const was = this.mode;
    this.setMode("whole");
    this.say("");
    this.growing?.close();
    this.growing = undefined;
    if (was === "none") this.video.src = this.path;
    else this.load(this.path);
  }

  /** Loads another file and goes on in it where the one before was. */
  private load(path: string): void {
    const at = this.video.currentTime;
    const played = !this.video.paused;
    this.wanted = at > 0 ? at : undefined;
    this.video.src = path;
    this.video.addEventListener(
      "loadedmetadata",
      () => {
        if (this.wanted !== undefined) this.video.currentTime = Math.min(this.wanted, this.video.duration);
        if (played) void this.video.play().catch(() => undefined);
      },
      { once: true },
    );
  }

  private setMode(mode: "growing" | "plain" | "whole"): void {
    this.mode = mode;
    this.video.hidden = false;
    this.element.setAttribute("data-mode", mode);
  }

  private say(words: string): void {
    setText(this.words, words);
  }
}
