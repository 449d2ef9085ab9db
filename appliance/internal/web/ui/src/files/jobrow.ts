import { get, send } from "../box";
import { h, setAttribute, setText } from "../dom";
import type { Job, JobSettings, Summary } from "../types";
import { asking, confirmed, doing } from "./dialog";
import { SettingsForm } from "./settings";
import { asked, ended, jobBadge, jobWords } from "./words";

/** Progress in percent; null: it cannot be told. */
export function showProgress(bar: HTMLProgressElement, percent: number | null): void {
  if (percent === null) bar.removeAttribute("value");
  else if (bar.value !== percent || !bar.hasAttribute("value")) bar.value = percent;
}

/**
 * Asks for the summaries of jobs that are done, one after the other: the list and
 * its stream leave them out. Only what is looked at is asked for.
 */
export class Outcomes {
  private readonly waiting: { id: string; take: (job: Job) => void }[] = [];
  private busy = false;
  private readonly rows = new Map<Element, JobRow>();
  private readonly sight = new IntersectionObserver((entries) => {
    for (const e of entries) if (e.isIntersecting) this.ask(e.target);
  });

  /** Has row told its job's summary when it comes into sight. */
  want(row: JobRow): void {
    this.rows.set(row.element, row);
    this.sight.observe(row.element);
  }

  close(): void {
    this.sight.disconnect();
    this.waiting.length = 0;
  }

  private ask(element: Element): void {
    const row = this.rows.get(element);
    this.sight.unobserve(element);
    this.rows.delete(element);
    if (!row) return;
    this.waiting.push({ id: row.id, take: (job) => row.update(job) });
    if (!this.busy) void this.work();
  }

  private async work(): Promise<void> {
    this.busy = true;
    for (let next = this.waiting.shift(); next; next = this.waiting.shift()) {
      try {
        next.take(await get<Job>(`/api/v1/jobs/${encodeURIComponent(next.id)}`));
      } catch {
        // The row says less then; its own page says what is wrong.
      }
    }
    this.busy = false;
  }
}

/** One job in the list of files. */
export class JobRow {
  readonly id: string;
  private outcome: Summary | undefined;
  readonly element: HTMLElement;
  private readonly name: HTMLAnchorElement;
  private readonly badge = h("span", { class: "badge" });
  private readonly words = h("p", { class: "why", "data-testid": "job-words" });
  private readonly bar = h("progress", { max: "100", "aria-label": "Analysis" });
  private readonly actions: JobActions;

  constructor(job: Job, private readonly outcomes: Outcomes) {
    this.id = job.id;
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

  update(news: Job): void {
    this.outcome = news.status === "done" ? (news.outcome ?? this.outcome) : undefined;
    const job: Job = { ...news, ...(this.outcome ? { outcome: this.outcome } : {}) };
    if (job.status === "done" && !this.outcome) this.outcomes.want(this);
    setText(this.name, `Analysis: ${asked(job.settings, job.outcome?.analyser)}`);
    setText(this.badge, jobBadge(job));
    setAttribute(this.badge, "data-state", job.status);
    setAttribute(this.element, "data-status", job.status);
    setText(this.words, jobWords(job));
    setAttribute(this.words, "data-bad", String(job.status === "failed" || job.status === "set_aside"));
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
