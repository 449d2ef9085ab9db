import type { End } from "./worker";

const reasons: Record<string, string> = {
  timeout_reached: "The time that was asked for is over.",
  silent: "Nothing came for so long that the box ended the session.",
  source_failed: "The box could not play the source.",
  upload_failed: "The file did not come as it should.",
  worker_failed: "The process that analysed it failed.",
  box_stopping: "The box is going down.",
  ended_by_operator: "Somebody ended the session on the box.",
};

/** How a session ended, and whether that is bad. */
export function endWords(end: End): { words: string; bad: boolean } {
  if (!end.said) return { words: end.why, bad: true };
  const errors = end.errors.join(" ");
  if (end.reason === null) return { words: `The source came to its end. ${errors}`.trim(), bad: false };
  return { words: `${reasons[end.reason] ?? `The box ended the session: ${end.reason}.`} ${errors}`.trim(), bad: end.reason !== "timeout_reached" && end.reason !== "ended_by_operator" };
}
