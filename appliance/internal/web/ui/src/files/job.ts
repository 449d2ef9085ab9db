import { EventStream, get, inWords, Refusal, type ShowLink } from "../box";
import type { Page } from "../cameras";
import { Facts, h, setAttribute, setText } from "../dom";
import { LedgerView } from "../ledger";
import type { Job, JobFile, Summary } from "../types";
import { bytes, clock, count, duration } from "../words";
import { Findings, ResultsReader } from "./findings";
import { analyseAgain, JobActions, showProgress } from "./jobrow";
import { Timeline } from "./timeline";
import { JobVideo } from "./video";
import { asked, ended, jobBadge, jobWords, time } from "./words";

/** One analysis of one file: what was seen, and how it was come by. */
export function jobPage(id: string, showLink: ShowLink): Page {
  const view = new JobView(id, showLink);
  return { title: "Analysis", element: view.element, close: () => view.close() };
}

const shownClasses = 100;

class JobView {
  readonly element: HTMLElement;
  private readonly heading = h("h1", {}, "Analysis");
  private readonly badge = h("span", { class: "badge" });
  private readonly what = h("span", { class: "figure" });
  private readonly words = h("p", { class: "why", role: "status", "data-testid": "job-words" });
  private readonly bar = h("progress", { max: "100", "aria-label": "Analysis", hidden: true });
  private readonly actions = new JobActions();
  private readonly again = h("button", { type: "button" }, "Analyse again…");
  private readonly video: JobVideo;
  private readonly timeline: Timeline;
  private readonly findings = new Findings();
  private readonly reader: ResultsReader;
  private readonly found = h("p", { class: "summary", "data-testid": "found" }, "Reading the results…");
  private readonly counts = h("tbody");
  private readonly counted = h("table", { class: "ledger counts", hidden: true }, h("caption", { class: "hidden" }, "What was found, by class"), h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Class"), h("th", { scope: "col" }, "Objects"), h("th", { scope: "col" }, "Boxes"))), this.counts);
  private readonly seen: HTMLElement;
  private readonly ledger = new LedgerView();
  private readonly ledgerPlace = h("section", { hidden: true }, h("h2", {}, "Frames"), this.ledger.element);
  private readonly facts = new Facts();
  private readonly files = h("ul", { class: "downloads", "data-testid": "downloads" });
  private readonly stream: EventStream;
  private readonly timer: number;
  private job: Job | undefined;
  private outcome: Summary | undefined;
  private told = false;
  private closed = false;
  private later = 0;
  private filesAt = 0;

  constructor(private readonly id: string, private readonly showLink: ShowLink) {
    this.video = new JobVideo(id, (s) => this.timeline.setPosition(s));
    this.timeline = new Timeline(this.findings, (s) => this.video.seek(s));
    this.reader = new ResultsReader(id, this.findings, (complete) => this.showFindings(complete));
    this.again.addEventListener("click", () => this.job && analyseAgain(this.job.upload, this.job.name, this.job.settings));
    this.actions.element.append(this.again);
    this.seen = h("section", { hidden: true }, h("h2", {}, "Seen over time"), this.timeline.element);
    this.element = h(
      "div",
      { class: "camera", "data-testid": "job-page", "data-job": id },
      h("div", { class: "title" }, h("a", { href: "/files", class: "back" }, "All files"), this.heading, this.badge, this.what),
      h(
        "div",
        { class: "stage" },
        this.video.element,
        h("div", { class: "under" }, this.words, this.actions.element),
        this.bar,
        this.actions.wrong,
        this.seen,
      ),
      h(
        "div",
        { class: "panels beside" },
        h("section", {}, h("h2", {}, "Found"), this.found, this.counted),
        this.ledgerPlace,
      ),
      h("div", { class: "panels below" }, h("section", {}, h("h2", {}, "Source and settings"), this.facts.element), h("section", {}, h("h2", {}, "Files"), this.files)),
    );
    this.stream = new EventStream(
      "/api/v1/jobs/events",
      { job: (j: Job) => this.heard(j), removed: (r: { id: string }) => r.id === this.id && this.gone("This analysis was deleted.") },
      showLink,
      () => window.setTimeout(() => void this.exists(), 500),
    );
    this.timer = window.setInterval(() => void this.readFiles(), 3_000);
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.later);
    this.stream.close();
    this.reader.close();
    this.timeline.close();
    this.video.close();
    clearInterval(this.timer);
  }

  private heard(news: Job): void {
    if (news.id !== this.id) return;
    const was = this.job;
    this.outcome = news.status === "done" ? (news.outcome ?? this.outcome) : undefined;
    const j: Job = { ...news, ...(this.outcome ? { outcome: this.outcome } : {}) };
    this.job = j;
    // The stream leaves the summary out.
    if (j.status === "done" && !j.outcome && was?.status !== "done") void this.ask();
    this.told = true;
    setText(this.heading, j.name);
    document.title = `${j.name} · Watchpost`;
    setText(this.badge, jobBadge(j));
    setAttribute(this.badge, "data-state", j.status);
    setAttribute(this.element, "data-status", j.status);
    setText(this.what, asked(j.settings, j.outcome?.analyser));
    setText(this.words, jobWords(j));
    setAttribute(this.words, "data-bad", String(j.status === "failed" || j.status === "set_aside"));
    this.bar.hidden = j.status !== "running" && j.status !== "paused";
    showProgress(this.bar, j.progress.percent);
    this.actions.update(j);
    this.video.update(j);
    this.ledgerPlace.hidden = !j.ledger;
    if (j.ledger) this.ledger.update(j.ledger);
    this.showFacts(j);
    this.measure();
    if (was && ended(was) && !ended(j)) this.reader.reopen();
    else if (!was || was.results !== j.results || was.status !== j.status) this.reader.more();
    if (was?.status !== j.status) void this.readFiles(true);
  }

  /** How long the video is, as far as anybody knows. */
  private measure(): void {
    const j = this.job;
    this.timeline.setDuration(Math.max(j?.outcome?.source.seconds ?? 0, j?.progress.duration_s ?? 0, this.findings.seconds));
  }

  private showFacts(j: Job): void {
    const s = j.outcome?.source;
    const f = this.facts;
    f.set("Model", j.outcome?.analyser ?? (j.settings.model || "the box's default"));
    if (j.settings.threshold || j.outcome?.settings?.threshold) f.set("Least confidence", `${Math.round((j.settings.threshold || j.outcome?.settings?.threshold || 0) * 100)} %`);
    f.set("Classes", j.settings.classes?.length ? j.settings.classes.join(", ") : "all");
    f.set("Frames", [j.settings.max_fps ? `at most ${j.settings.max_fps} fps` : "all", j.settings.gate ? "where something moves" : ""].filter(Boolean).join(", "));
    f.set("Read", j.streamed ? "as it arrived" : "once it was there");
    f.set("Pushed", clock(j.created));
    if (j.started) f.set("Began", clock(j.started));
    if (j.ended) f.set("Ended", clock(j.ended));
    f.set("Starts of its worker", `${j.attempts}${j.deaths > 0 ? `, of which ${j.deaths} died` : ""}`);
    if (!s) return;
    f.set("Picture", s.width && s.height ? `${s.width} × ${s.height}${s.rotation ? `, turned ${s.rotation}°` : ""}` : "");
    f.set("Codec", [s.codec ?? "", s.fps ? `${s.fps.toFixed(2)} fps` : ""].filter(Boolean).join(", "));
    f.set("Length", s.seconds ? `${time(s.seconds, s.seconds)}, ${bytes(s.bytes)}` : bytes(s.bytes));
    f.set("Decoder", s.decoder ?? "");
    f.set("Runs on", j.outcome?.runtime ?? "no model: motion only");
    f.set("Encoder", j.outcome?.encoder ?? "no video was made");
    const t = j.outcome?.timing;
    if (t) f.set("Took", `${duration(t.seconds)}, ${t.fps.toFixed(1)} fps`);
    f.set("sha256 of the file", s.sha256 ?? "");
    f.set("sha256 of the model", j.outcome?.model?.sha256 ?? "");
    if (j.outcome?.warnings?.length) f.set("Warnings", j.outcome.warnings.join(" "));
  }

  private showFindings(complete: boolean): void {
    const { classes, boxes: all, lines } = this.findings;
    const none = lines === 0 ? (complete ? "Nothing was analysed" : "Nothing analysed yet") : complete ? "Nothing was seen" : "Nothing seen so far";
    setText(this.found, all === 0 ? none : `${count(all)} boxes in ${count(lines)} frames${complete ? "" : " so far"}`);
    setAttribute(this.found, "data-lines", String(lines));
    setAttribute(this.found, "data-complete", String(complete));
    const sorted = [...classes].sort((a, b) => b[1].count - a[1].count || a[0].localeCompare(b[0])).slice(0, shownClasses);
    while (this.counts.children.length > sorted.length) this.counts.lastElementChild!.remove();
    sorted.forEach(([label, c], i) => {
      let row = this.counts.children[i];
      if (!row) {
        row = h("tr", {}, h("th", { scope: "row" }), h("td"), h("td"));
        this.counts.append(row);
      }
      setAttribute(row, "data-class", label);
      [label, count(c.count), count(c.boxes)].forEach((text, k) => setText(row.children[k]!, text));
    });
    this.counted.hidden = sorted.length === 0;
    this.seen.hidden = sorted.length === 0;
    this.measure();
    this.timeline.later();
  }

  /** Reads which files there are: while they grow every few seconds, and at the end once more. */
  private async readFiles(now = false): Promise<void> {
    if (document.hidden || (!now && (!this.job || ended(this.job) || Date.now() - this.filesAt < 2_500))) return;
    this.filesAt = Date.now();
    let list: JobFile[];
    try {
      list = (await get<{ files: JobFile[] }>(`/api/v1/jobs/${encodeURIComponent(this.id)}/files`)).files;
    } catch (err) {
      if (this.files.childElementCount === 0) this.files.replaceChildren(h("li", { class: "why" }, inWords(err)));
      return;
    }
    this.video.files(list);
    this.files.replaceChildren(
      ...(list.length === 0
        ? [h("li", { class: "why" }, "There are none yet.")]
        : list.map((f) =>
            h("li", {}, h("a", { href: `/api/v1/jobs/${encodeURIComponent(this.id)}/files/${encodeURIComponent(f.name)}?download=true`, download: "" }, f.name), h("span", { class: "figure" }, bytes(f.bytes), f.complete ? "" : this.job && ended(this.job) ? ", unfinished" : " so far")),
          )),
    );
  }

  /** The stream tells of every job there is: one that it does not tell of is not there. */
  private async exists(): Promise<void> {
    if (!this.told) await this.ask();
  }

  private async ask(): Promise<void> {
    try {
      this.heard(await get<Job>(`/api/v1/jobs/${encodeURIComponent(this.id)}`));
    } catch (err) {
      if (err instanceof Refusal && err.status === 404) this.gone(err.message);
      else if (!this.closed) this.later = window.setTimeout(() => void this.ask(), 5_000);
    }
  }

  private gone(why: string): void {
    this.close();
    this.showLink("connected", "Connected to the box");
    this.element.replaceChildren(h("p", { class: "notice", role: "alert" }, why, " ", h("a", { href: "/files" }, "Go to the files.")));
  }
}
