import { EventStream, worst, type ShowLink } from "../box";
import type { Page } from "../cameras";
import { h, setText } from "../dom";
import type { Job, Upload } from "../types";
import { count } from "../words";
import { FileCard } from "./card";
import { Outcomes } from "./jobrow";
import type { Sender } from "./sender";
import { SettingsForm } from "./settings";
import type { Transfer } from "./tus";

const shownAtFirst = 50; // files in the page until more are asked for

/** Pushed files: sending them, and what becomes of them. */
export function filesPage(sender: Sender, showLink: ShowLink): Page {
  const view = new FilesView(sender, showLink);
  return { title: "Files", element: view.element, close: () => view.close() };
}

class FilesView {
  readonly element: HTMLElement;
  private readonly list = h("ul", { class: "files", "aria-label": "Files", "data-testid": "files" });
  private readonly empty = h("p", { class: "notice" }, "Waiting for the box…");
  private readonly more = h("button", { type: "button", hidden: true });
  private readonly cards = new Map<string, FileCard>(); // by upload id, or by a local name while there is none
  private readonly ofTransfer = new Map<Transfer, string>();
  private readonly outcomes = new Outcomes();
  private shown = shownAtFirst;
  private locals = 0;
  private uploadIds = new Set<string>();
  private jobUploads = new Map<string, string>(); // job id → upload id
  private told = { uploads: new Set<string>(), jobs: new Set<string>() };
  private readonly streams: EventStream[];
  private readonly unwatch: () => void;
  private readonly timer: number;
  private readonly left = new AbortController();

  constructor(private readonly sender: Sender, showLink: ShowLink) {
    this.more.addEventListener("click", () => {
      this.shown += 200;
      this.arrange();
    });
    this.element = h("div", { class: "pushed", "data-testid": "pushed" }, h("h1", {}, "Files"), this.dropZone(), this.empty, this.list, this.more);
    for (const t of sender.transfers) this.transfer(t);
    this.unwatch = sender.watch((t) => this.transfer(t));
    const [one, two] = worst(2, (state, words) => {
      if (state === "connected") setText(this.empty, "No file was pushed yet. Choose one above, or send one with “watchpost push FILE”.");
      showLink(state, words);
    });
    this.streams = [
      new EventStream("/api/v1/uploads/events", { upload: (u: Upload) => this.upload(u), removed: (r: { id: string }) => this.uploadGone(r.id) }, one!, () => this.begins("uploads")),
      new EventStream("/api/v1/jobs/events", { job: (j: Job) => this.job(j), removed: (r: { id: string }) => this.jobGone(r.id) }, two!, () => this.begins("jobs")),
    ];
    this.timer = window.setInterval(() => {
      for (const card of this.cards.values()) card.tick();
    }, 1_000);
  }

  close(): void {
    for (const s of this.streams) s.close();
    this.outcomes.close();
    this.unwatch();
    this.left.abort();
    clearInterval(this.timer);
  }

  private dropZone(): HTMLElement {
    const form = new SettingsForm();
    const input = h("input", { type: "file", multiple: true, class: "hidden", id: "choose", "data-testid": "choose" });
    const zone = h(
      "section",
      { class: "drop", "data-testid": "drop" },
      input,
      h("label", { for: "choose", class: "button main" }, "Choose video files"),
      h("p", {}, "or drop them here. They are sent in parts and go on after a cut: nothing is sent twice."),
      h("details", {}, h("summary", {}, "How to analyse them"), form.element),
    );
    const take = (files: FileList | null | undefined): void => {
      if (files && files.length > 0) this.sender.add(files, form.words());
    };
    input.addEventListener("change", () => {
      take(input.files);
      input.value = ""; // so that the same file can be chosen again
    });
    // Anywhere in the window: a file that misses the frame would otherwise be
    // opened instead of this page.
    const listen = (type: "dragenter" | "dragover" | "dragleave" | "drop", act: (e: DragEvent) => void): void =>
      window.addEventListener(type, act, { signal: this.left.signal });
    listen("dragover", (e) => {
      e.preventDefault();
      zone.setAttribute("data-over", "");
    });
    listen("dragleave", (e) => {
      if (e.relatedTarget === null) zone.removeAttribute("data-over");
    });
    listen("drop", (e) => {
      e.preventDefault();
      zone.removeAttribute("data-over");
      take(e.dataTransfer?.files);
    });
    return zone;
  }

  private card(key: string): FileCard {
    let card = this.cards.get(key);
    if (!card) {
      card = new FileCard(this.sender, this.outcomes, () => this.drop(card));
      this.cards.set(key, card);
      this.arrange();
    }
    return card;
  }

  private drop(card: FileCard | undefined): void {
    for (const [key, c] of this.cards) if (c === card) this.cards.delete(key);
    this.arrange();
  }

  private transfer(t: Transfer): void {
    let key = this.ofTransfer.get(t);
    const card = key === undefined ? undefined : this.cards.get(key);
    const id = t.id ?? key ?? `~${String(this.locals++).padStart(9, "0")}`;
    if (card && key !== undefined && key !== id) {
      // The box has given it an id, or it is begun anew under another one. The
      // card goes on under it, unless the stream was quicker and has made one.
      this.cards.delete(key);
      if (!this.cards.has(id)) this.cards.set(id, card);
      this.arrange();
    }
    key = id;
    this.ofTransfer.set(t, key);
    if (t.state === "sent") this.ofTransfer.delete(t);
    this.card(key).setTransfer(t);
  }

  private upload(u: Upload): void {
    this.told.uploads.add(u.id);
    this.uploadIds.add(u.id);
    this.card(u.id).setUpload(u);
  }

  private uploadGone(id: string): void {
    this.uploadIds.delete(id);
    this.cards.get(id)?.removeUpload();
  }

  private job(j: Job): void {
    this.told.jobs.add(j.id);
    this.jobUploads.set(j.id, j.upload);
    this.card(j.upload).setJob(j);
  }

  private jobGone(id: string): void {
    const upload = this.jobUploads.get(id);
    this.jobUploads.delete(id);
    if (upload !== undefined) this.cards.get(upload)?.removeJob(id);
  }

  /**
   * A stream begins with all that there is. What was removed while it was away
   * is missing from that, so what is not told again soon is gone.
   */
  private begins(which: "uploads" | "jobs"): void {
    const before = which === "uploads" ? [...this.uploadIds] : [...this.jobUploads.keys()];
    const told = new Set<string>();
    this.told[which] = told;
    if (before.length === 0) return;
    window.setTimeout(() => {
      if (this.told[which] !== told) return; // it began anew once more
      for (const id of before) {
        if (told.has(id)) continue;
        if (which === "uploads") this.uploadGone(id);
        else this.jobGone(id);
      }
    }, 3_000);
  }

  private arranging = false;

  /** Puts the newest files first, soon and once for many changes. */
  private arrange(): void {
    if (this.arranging) return;
    this.arranging = true;
    queueMicrotask(() => {
      this.arranging = false;
      // Ids begin with the time; files without one are newer than all.
      const keys = [...this.cards.keys()].sort((a, b) => (a < b ? 1 : -1));
      const want = keys.slice(0, this.shown).map((k) => this.cards.get(k)!.element);
      want.forEach((element, i) => {
        if (this.list.children[i] !== element) this.list.insertBefore(element, this.list.children[i] ?? null);
      });
      while (this.list.children.length > want.length) this.list.lastElementChild!.remove();
      const hidden = keys.length - want.length;
      this.more.hidden = hidden === 0;
      setText(this.more, `Show older files (${count(hidden)})`);
      this.empty.hidden = keys.length > 0;
    });
  }
}
