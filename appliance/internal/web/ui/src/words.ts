import type { Camera } from "./types";

// Figures and states in plain words.

const whole = new Intl.NumberFormat("en");

export const count = (n: number): string => whole.format(n);

export function bytes(n: number): string {
  if (n >= 1 << 30) return `${(n / (1 << 30)).toFixed(1)} GB`;
  if (n >= 1 << 20) return `${(n / (1 << 20)).toFixed(0)} MB`;
  if (n < 1024) return `${Math.round(n)} B`;
  return `${(n / 1024).toFixed(0)} kB`;
}

export function duration(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

/** The time of day; with the date when it was not today. */
export function clock(iso: string): string {
  const t = new Date(iso);
  if (Number.isNaN(t.getTime())) return "";
  const time = t.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  return t.toDateString() === new Date().toDateString() ? time : `${t.toLocaleDateString("en-GB", { day: "numeric", month: "short" })}, ${time}`;
}

const badges: Record<string, string> = {
  starting: "Starting",
  connecting: "Connecting",
  playing: "Live",
  offline: "Offline",
  ended: "Ended",
  failing: "Failing",
  stopped: "Stopped",
};

export const badge = (camera: Camera): string => badges[camera.state] ?? camera.state;

/** Why a camera has no picture; "" when it has one. */
export function whyNoPicture(camera: Camera): string {
  const reason = camera.reason ?? "";
  switch (camera.state) {
    case "playing":
      return "";
    case "starting":
      return reason || "The camera's worker is starting…";
    case "connecting":
      return reason ? `Connecting to the camera: ${reason}` : "Connecting to the camera…";
    case "ended":
      return `The video came to its end at ${clock(camera.since)}. ${reason}`.trim();
    case "stopped":
      return reason || "The box is shutting down.";
    case "failing":
      return `The worker keeps crashing since ${clock(camera.since)}: ${reason || lastLine(camera) || "it gave no reason"}`;
    default:
      return `Offline since ${clock(camera.since)}: ${reason || "the camera cannot be reached"}`;
  }
}

function lastLine(camera: Camera): string {
  const lines = camera.restarts.stderr ?? [];
  return lines[lines.length - 1] ?? camera.restarts.exit ?? "";
}

/** "2 person, 1 car", the most frequent first. */
export function tally(objects: { label: string }[]): string {
  const counts = new Map<string, number>();
  for (const o of objects) counts.set(o.label, (counts.get(o.label) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0])).map(([label, n]) => `${n} ${label}`).join(", ");
}
