import { send } from "../box";
import { h, setAttribute, setText } from "../dom";
import type { Job, Upload } from "../types";
import { bytes } from "../words";
import { confirmed, doing } from "./dialog";
import { analyseAgain, JobRow, type Outcomes, showProgress } from "./jobrow";
import { beganHere, forget, type Sender } from "./sender";
import type { Transfer } from "./tus";
import { transferWords, uploadWords } from "./words";

const badges: Record<string, string> = { receiving: "Arriving", checking: "Checking", complete: "Complete", refused: "Refused", waiting: "Waiting", sending: "Sending", retrying: "Retrying", paused: "Paused", failed: "Failed", gone: "Results only" };

/**
 * One file: what this page knows of sending it, what the box says of its upload,
 * and the jobs that analyse it. Each of the three may be missing.
 */
export class FileCard {
  readonly element: HTMLElement;
  private transfer: Transfer | undefined;
  private upload: Upload | undefined;
  private readonly jobs = new Map<string, JobRow>();
  private newest: Job | undefined;
  private readonly heading = h("h2");
  private readonly badge = h("span", { class: "badge" });
  private readonly size = h("span", { class: "figure" });
  private readonly bar = h("progress", { max: "100", "aria-label": "Upload" });
  private readonly words = h("p", { class: "why", "data-testid": "upload-words" });
  private readonly hash = h("p", { class: "figure hash" });
  private readonly list = h("ul", { class: "jobs" });
  private readonly wrong = h("p", { class: "bad", role: "alert" });
  private readonly pause = doing("Pause", this.wrong, async () => this.transfer && this.sender.pause(this.transfer), "pause");
  private readonly resume = doing("Go on", this.wrong, async () => this.transfer && this.sender.resume(this.transfer), "resume");
  private readonly cancel = doing("Cancel", this.wrong, () => this.giveUp(), "cancel-upload");
  private readonly again = doing("Analyse again…", this.wrong, async () => this.upload && analyseAgain(this.upload.id, this.upload.name, this.newest?.settings), "again");
  private readonly remove = doing("Delete file", this.wrong, () => this.askRemove(), "remove-upload");

  constructor(private readonly sender: Sender, private readonly outcomes: Outcomes) {
    this.element = h(
      "li",
      { class: "file", "data-testid": "file" },
      h("div", { class: "line" }, this.heading, this.badge, this.size, h("span", { class: "actions" }, this.pause, this.resume, this.cancel, this.again, this.remove)),
      this.bar,
      this.words,
      this.hash,
      this.wrong,
      this.list,
    );
  }

  setTransfer(t: Transfer | undefined): void {
    this.transfer = t;
    this.show();
  }

  setUpload(u: Upload | undefined): void {
    this.upload = u;
    this.show();
  }

  setJob(job: Job): void {
    const row = this.jobs.get(job.id);
    if (!this.newest || job.id >= this.newest.id) this.newest = job;
    if (row) {
      row.update(job);
    } else {
      const made = new JobRow(job, this.outcomes);
      this.jobs.set(job.id, made);
      this.list.append(made.element);
    }
    this.show();
  }

  removeJob(id: string): void {
    this.jobs.get(id)?.element.remove();
    this.jobs.delete(id);
    this.show();
  }

  /** Says the time left anew. */
  tick(): void {
    if (this.transfer?.state === "retrying") this.show();
  }

  private show(): void {
    const t = this.transfer;
    const u = this.upload;
    const sending = t !== undefined && (u === undefined || u.status === "receiving");
    const state = sending ? t.state : (u?.status ?? "gone");
    setText(this.heading, u?.name ?? t?.file.name ?? this.newest?.name ?? "");
    setAttribute(this.element, "data-state", state);
    setAttribute(this.element, "data-upload", u?.id ?? t?.id ?? this.newest?.upload ?? "");
    setText(this.badge, badges[state] ?? state);
    setAttribute(this.badge, "data-state", state);
    const size = u ? u.size : (t?.file.size ?? null);
    setText(this.size, size === null ? "" : bytes(size));
    setText(this.words, sending ? transferWords(t) : u ? uploadWords(u, beganHere(u.id)) : "The file itself was removed; its results stay.");
    setText(this.hash, u?.sha256 ? `sha256 ${u.sha256}` : "");
    this.bar.hidden = state === "complete" || state === "refused" || state === "gone";
    if (sending) showProgress(this.bar, t.file.size > 0 ? (t.sent * 100) / t.file.size : 100);
    else if (u) showProgress(this.bar, u.size === null ? null : u.size > 0 ? (u.received * 100) / u.size : 100);
    this.pause.hidden = !sending || !["sending", "retrying", "waiting"].includes(t.state);
    this.resume.hidden = !sending || !["paused", "failed"].includes(t.state);
    this.cancel.hidden = !sending;
    this.again.hidden = sending || u === undefined || u.status === "refused";
    setText(this.again, this.jobs.size === 0 ? "Analyse…" : "Analyse again…");
    this.remove.hidden = sending || u === undefined;
    this.list.hidden = this.jobs.size === 0;
  }

  private async giveUp(): Promise<void> {
    const t = this.transfer;
    if (!t) return;
    if (t.sent > 0 && !(await confirmed(`Cancel sending ${t.file.name}?`, "What the box has of it is removed.", "Cancel and remove"))) return;
    const id = t.id;
    this.sender.drop(t);
    if (id !== undefined) await send("DELETE", `/api/v1/uploads/${id}`);
  }

  private async askRemove(): Promise<void> {
    const u = this.upload;
    if (!u || !(await confirmed(`Delete ${u.name}?`, "The file is removed from the box. What was found in it stays.", "Delete the file"))) return;
    await send("DELETE", `/api/v1/uploads/${encodeURIComponent(u.id)}`);
    forget(u.id);
  }
}
