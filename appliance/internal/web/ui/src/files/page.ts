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

/** What is known of one file. Only those that are shown have a card. */
interface Entry {
  transfer: Transfer | undefined;
  upload: Upload | undefined;
  jobs: Map<string, Job>;
  card: FileCard | undefined;
}

class FilesView {
  readonly element: HTMLElement;
  private readonly list = h("ul", { class: "files", "aria-label": "Files", "data-testid": "files" });
  private readonly empty = h("p", { class: "notice" }, "Waiting for the box…");
  private readonly more = h("button", { type: "button", hidden: true });
  private readonly entries = new Map<string, Entry>(); // by upload id, or by a local name while there is none
  private readonly ofTransfer = new Map<Transfer, string>();
  private readonly outcomes = new Outcomes();
  private shown = shownAtFirst;
  private locals = 0;
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
      for (const e of this.entries.values()) e.card?.tick();
    }, 1_000);
  }

  close(): void {
    for (const s of this.streams) s.close();
    this.outcomes.close();
    this.unwatch();
    this.left.abort();
    clearInterval(this.timer);
    clearTimeout(this.arranging);
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
    const take = (files: Iterable<File> | null): void => {
      if (files) this.sender.add(files, form.words());
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
      // A folder comes as a file that cannot be read.
      const items = [...(e.dataTransfer?.items ?? [])].filter((i) => i.kind === "file" && !i.webkitGetAsEntry()?.isDirectory);
      take(items.map((i) => i.getAsFile()).filter((f) => f !== null));
    });
    return zone;
  }

  private entry(key: string): Entry {
    let e = this.entries.get(key);
    if (!e) {
      e = { transfer: undefined, upload: undefined, jobs: new Map(), card: undefined };
      this.entries.set(key, e);
      this.arrange();
    }
    return e;
  }

  /** Forgets a file of which nothing is left. */
  private tidy(key: string): void {
    const e = this.entries.get(key);
    if (!e || e.transfer || e.upload || e.jobs.size > 0) return;
    this.entries.delete(key);
    this.arrange();
  }

  private transfer(t: Transfer): void {
    const was = this.ofTransfer.get(t);
    const key = t.id ?? was ?? `~${String(this.locals++).padStart(9, "0")}`;
    const before = was === undefined ? undefined : this.entries.get(was);
    if (before && was !== undefined && was !== key) {
      // The box has given it an id, or it is begun anew under another one. Its
      // card goes on under that, unless a stream was quicker and has made one.
      before.transfer = undefined;
      if (was.startsWith("~") && !this.entries.has(key)) {
        this.entries.delete(was);
        this.entries.set(key, before);
      } else {
        before.card?.setTransfer(undefined);
        this.tidy(was);
      }
      this.arrange();
    }
    this.ofTransfer.set(t, key);
    const e = this.entry(key);
    const given = t.state === "failed" && !this.sender.transfers.includes(t);
    e.transfer = given || (t.state === "sent" && e.upload) ? undefined : t;
    if (given || t.state === "sent") this.ofTransfer.delete(t);
    e.card?.setTransfer(e.transfer);
    this.tidy(key);
  }

  private upload(u: Upload): void {
    this.told.uploads.add(u.id);
    const e = this.entry(u.id);
    e.upload = u;
    if (e.transfer?.state === "sent") {
      e.transfer = undefined; // the box tells of it from now on
      e.card?.setTransfer(undefined);
    }
    e.card?.setUpload(u);
  }

  private uploadGone(id: string): void {
    const e = this.entries.get(id);
    if (!e) return;
    e.upload = undefined;
    e.card?.setUpload(undefined);
    this.tidy(id);
  }

  private job(j: Job): void {
    this.told.jobs.add(j.id);
    this.jobUploads.set(j.id, j.upload);
    const e = this.entry(j.upload);
    e.jobs.set(j.id, j);
    e.card?.setJob(j);
  }

  private jobGone(id: string): void {
    const upload = this.jobUploads.get(id);
    const e = upload === undefined ? undefined : this.entries.get(upload);
    this.jobUploads.delete(id);
    if (upload === undefined || !e) return;
    e.jobs.delete(id);
    e.card?.removeJob(id);
    this.tidy(upload);
  }

  /**
   * A stream begins with all that there is. What was removed while it was away
   * is missing from that, so what is not told again soon is gone.
   */
  private begins(which: "uploads" | "jobs"): void {
    const before = which === "uploads" ? [...this.entries].filter(([, e]) => e.upload).map(([id]) => id) : [...this.jobUploads.keys()];
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

  private arranging = 0;

  /** Puts the newest files first, soon and once for many changes. */
  private arrange(): void {
    this.arranging ||= window.setTimeout(() => {
      this.arranging = 0;
      // Ids begin with the time; files without one are newer than all.
      const keys = [...this.entries.keys()].sort((a, b) => (a < b ? 1 : -1));
      const want = keys.slice(0, this.shown).map((k) => this.shownCard(this.entries.get(k)!).element);
      want.forEach((element, i) => {
        if (this.list.children[i] !== element) this.list.insertBefore(element, this.list.children[i] ?? null);
      });
      while (this.list.children.length > want.length) this.list.lastElementChild!.remove();
      const hidden = keys.length - want.length;
      this.more.hidden = hidden === 0;
      setText(this.more, `Show older files (${count(hidden)})`);
      this.empty.hidden = keys.length > 0;
    }, 20);
  }

  private shownCard(e: Entry): FileCard {
    if (!e.card) {
      e.card = new FileCard(this.sender, this.outcomes);
      if (e.transfer) e.card.setTransfer(e.transfer);
      if (e.upload) e.card.setUpload(e.upload);
      for (const j of e.jobs.values()) e.card.setJob(j);
    }
    return e.card;
  }
}
