import { send } from "../box";
import { h, setAttribute, setText } from "../dom";
import type { Job, JobSettings } from "../types";
import { asking, confirmed, doing } from "./dialog";
import { SettingsForm } from "./settings";
import { asked, ended, jobBadge, jobWords } from "./words";

/** Progress in percent; null: it cannot be told. */
export function showProgress(bar: HTMLProgressElement, percent: number | null): void {
  if (percent === null) bar.removeAttribute("value");
  else if (bar.value !== percent || !bar.hasAttribute("value")) bar.value = percent;
}

/** One job in the list of files. */
export class JobRow {
  readonly element: HTMLElement;
  private readonly name: HTMLAnchorElement;
  private readonly badge = h("span", { class: "badge" });
  private readonly words = h("p", { class: "why", "data-testid": "job-words" });
  private readonly bar = h("progress", { max: "100", "aria-label": "Analysis" });
  private readonly actions: JobActions;

  constructor(job: Job) {
    this.name = h("a", { href: `/files/${encodeURIComponent(job.id)}` });
    this.actions = new JobActions();
    this.element = h(
      "li",
      { class: "job", "data-testid": "job", "data-job": job.id },
      h("div", { class: "line" }, this.name, this.badge, this.actions.element),
      this.bar,
      this.words,
      this.actions.wrong,
    );
    this.update(job);
  }

  update(job: Job): void {
    setText(this.name, `Analysis: ${asked(job.settings, job.outcome?.analyser)}`);
    setText(this.badge, jobBadge(job));
    setAttribute(this.badge, "data-state", job.status);
    setAttribute(this.element, "data-status", job.status);
    setText(this.words, jobWords(job));
    this.bar.hidden = job.status !== "running" && job.status !== "paused";
    showProgress(this.bar, job.progress.percent);
    this.actions.update(job);
  }
}

/** The buttons for what can be done with a job now. */
export class JobActions {
  readonly element = h("span", { class: "actions" });
  readonly wrong = h("p", { class: "bad", role: "alert" });
  private readonly cancel = doing("Cancel", this.wrong, () => send("POST", `${this.path()}/cancel`), "cancel-job");
  private readonly retry = doing("Try again", this.wrong, () => send("POST", `${this.path()}/retry`), "retry-job");
  private readonly remove = doing("Delete", this.wrong, () => this.askRemove(), "remove-job");
  private job: Job | undefined;

  constructor() {
    this.element.append(this.cancel, this.retry, this.remove);
  }

  update(job: Job): void {
    this.job = job;
    this.cancel.hidden = ended(job);
    this.retry.hidden = !["failed", "canceled", "set_aside"].includes(job.status);
    this.remove.hidden = !ended(job);
    for (const [button, what] of [[this.cancel, "Cancel"], [this.retry, "Try again"], [this.remove, "Delete"]] as const) {
      setAttribute(button, "aria-label", `${what}: analysis of ${job.name}`);
    }
  }

  private path(): string {
    return `/api/v1/jobs/${encodeURIComponent(this.job?.id ?? "")}`;
  }

  private async askRemove(): Promise<void> {
    const path = this.path();
    if (await confirmed("Delete this analysis?", `All its results go: the detections and the video with the boxes of ${this.job?.name ?? ""}. The file itself stays.`, "Delete the results")) await send("DELETE", path);
  }
}

/** Asks how an upload is to be analysed once more. */
export function analyseAgain(upload: string, name: string, before?: JobSettings): void {
  const form = new SettingsForm(before);
  asking(`Analyse ${name} again`, form.element, "Analyse", async () => {
    await send("POST", "/api/v1/jobs", { upload, settings: form.settings() });
  });
}
