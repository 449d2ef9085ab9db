import type { Job, JobSettings, JobStatus, Upload } from "../types";
import { bytes, clock, count, duration } from "../words";
import type { Transfer } from "./tus";

// What happens to files, in plain words; and for everything that does not happen, why.

export const ended = (job: Job): boolean => ["done", "failed", "canceled", "set_aside"].includes(job.status);

const badges: Record<JobStatus, string> = {
  waiting: "Waiting",
  queued: "In the queue",
  running: "Running",
  paused: "Paused",
  done: "Done",
  failed: "Failed",
  canceled: "Canceled",
  set_aside: "Set aside",
};

export const jobBadge = (job: Job): string => badges[job.status] ?? job.status;

const sentence = (s: string): string => (s === "" ? "" : s[0]!.toUpperCase() + s.slice(1));

/** What a job does, or why it does not. */
export function jobWords(job: Job): string {
  const reason = job.reason ?? "";
  switch (job.status) {
    case "waiting":
      return reason ? sentence(reason) : "Waiting for bytes of the file";
    case "queued": {
      const later = job.not_before && Date.parse(job.not_before) > Date.now() ? `, tried again at ${seconds(job.not_before)}` : "";
      if (reason) return `${sentence(reason)}${later}`;
      return job.attempts > 0 ? `Its worker is to be started anew${later}` : "Waits for its turn";
    }
    case "running":
      return running(job);
    case "paused":
      return `Rests: ${reason || "a live camera needs the machine"}. It goes on by itself.`;
    case "done":
      return seen(job);
    case "failed":
      return reason || "It gave no reason";
    case "canceled":
      return reason || "Canceled; what was found until then stays";
    case "set_aside":
      return reason || "Its file ended its worker twice, so it is not tried again by itself";
  }
}

function running(job: Job): string {
  const p = job.progress;
  if (p.frames === 0) return job.reason ? sentence(job.reason) : "Its worker is starting…";
  const all = p.duration_s ?? undefined;
  const of = all ? ` of ${time(all, all)}` : "";
  return [`${time(p.position_s, all)}${of} of video`, `${count(p.frames)} frames`, p.fps > 0 ? `${p.fps.toFixed(0)} fps` : "", left(job), job.reason ?? ""].filter(Boolean).join(" · ");
}

function left(job: Job): string {
  const p = job.progress;
  const all = p.duration_s;
  if (!all || !p.fps || !p.position_s || p.position_s > all) return "";
  const perSecond = p.frames / p.position_s; // frames in a second of video
  return `about ${duration(((all - p.position_s) * perSecond) / p.fps)} left`;
}

/** "3 car, 1 person" by tracks, the most frequent first. */
function seen(job: Job): string {
  if (!job.outcome) return `${count(job.results)} frames analysed`;
  const classes = Object.entries(job.outcome.classes).sort((a, b) => b[1].tracks - a[1].tracks || a[0].localeCompare(b[0]));
  if (classes.length === 0) return "Nothing was seen";
  const most = 5;
  const rest = classes.length - most;
  return classes.slice(0, most).map(([label, n]) => `${count(n.tracks)} ${label}`).join(", ") + (rest > 0 ? ` and ${rest} more kinds` : "");
}

/** "yolox-nano from 0.5, cars only": what a job was asked to do. */
export function asked(s: JobSettings, analyser?: string): string {
  return [
    s.model || analyser || "the box's default model",
    s.threshold ? `from ${Math.round(s.threshold * 100)} %` : "",
    s.classes?.length ? `only ${s.classes.join(", ")}` : "",
    s.gate ? "where something moves" : "",
    s.max_fps ? `at most ${s.max_fps} fps` : "",
    s.track ? `track ${s.track + 1}` : "",
  ].filter(Boolean).join(", ");
}

export const percent = (part: number, all: number): string => `${all > 0 ? Math.min(100, Math.floor((part * 100) / all)) : 100} %`;

/** How an upload is; here tells whether this browser began it. */
export function uploadWords(u: Upload, here: boolean): string {
  const size = u.size === null ? "" : ` of ${bytes(u.size)}`;
  switch (u.status) {
    case "refused":
      return u.problem || "The box refused it";
    case "checking":
      return "All bytes are there: the box checks them";
    case "complete":
      return `Whole and checked since ${clock(u.completed ?? u.updated)}`;
  }
  const there = `${bytes(u.received)}${size} ${u.received === 1 ? "is" : "are"} there`;
  if (u.rate_bytes_per_s > 0) {
    return [`Arriving: ${there}`, `${bytes(u.rate_bytes_per_s)}/s`, u.left_s ? `${duration(u.left_s)} left` : ""].filter(Boolean).join(" · ");
  }
  const kept = u.expires ? ` It is kept until ${clock(u.expires)}.` : "";
  const how = here ? "Choose the same file again, and it goes on from there." : "It goes on when its sender comes back.";
  return `${u.problem ? `${u.problem} ` : ""}Waiting for bytes: ${there}. ${how}${kept}`;
}

/** How this page gets on with sending a file. */
export function transferWords(t: Transfer): string {
  switch (t.state) {
    case "waiting":
      return "Waits for its turn to be sent";
    case "paused":
      return `Paused at ${percent(t.sent, t.file.size)}: what arrived stays`;
    case "retrying":
      return `${t.why}: trying again in ${Math.max(1, Math.ceil((t.retryAt - Date.now()) / 1000))} s. What arrived stays.`;
    case "failed":
      return t.why;
    case "sent":
      return "Sent";
  }
  const rate = t.rate > 0 ? [`${bytes(t.rate)}/s`, `${duration((t.file.size - t.sent) / t.rate)} left`] : [];
  return ["Sending", `${bytes(t.sent)} of ${bytes(t.file.size)}`, ...rate].join(" · ");
}

/** A time in a video; of a short one (all is its length) with tenths of seconds. */
export function time(s: number, all = Infinity): string {
  if (all < 10) return `${s.toFixed(1)} s`;
  const whole = Math.max(0, Math.floor(s));
  const two = (n: number): string => String(n).padStart(2, "0");
  const h = Math.floor(whole / 3600);
  const m = Math.floor((whole % 3600) / 60);
  return h > 0 ? `${h}:${two(m)}:${two(whole % 60)}` : `${m}:${two(whole % 60)}`;
}

const seconds = (iso: string): string => new Date(iso).toLocaleTimeString("en-GB");
