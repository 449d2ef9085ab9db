import { Transfer } from "./tus";

const atOnce = 2; // browsers open six connections to a host, and pages need some for themselves
const remembered = "watchpost.uploads";
const mostRemembered = 200;

/** What the browser keeps of an upload across reloads: enough to know the file again. */
interface Memory {
  name: string;
  size: number;
  lastModified: number;
  id: string;
}

/** Sends files, a few at a time, whichever page is shown. */
export class Sender {
  /** In the order in which they were given; those that are done or given up are gone. */
  readonly transfers: Transfer[] = [];
  private readonly listeners = new Set<(t: Transfer) => void>();

  constructor() {
    window.addEventListener("online", () => {
      for (const t of this.transfers) t.hurry();
    });
    window.addEventListener("beforeunload", (e) => {
      // What was sent stays, but the page cannot read the file again by itself.
      if (this.transfers.some((t) => t.state === "sending" || t.state === "retrying" || t.state === "waiting")) e.preventDefault();
    });
  }

  /** Has changed called with each transfer that changes, until the returned function is called. */
  watch(changed: (t: Transfer) => void): () => void {
    this.listeners.add(changed);
    return () => this.listeners.delete(changed);
  }

  /** Takes files; one that was begun before goes on where it is. words describe the wanted analysis. */
  add(files: Iterable<File>, words: Record<string, string>): void {
    for (const file of files) {
      const known = this.transfers.find((t) => same(t.file, file));
      if (known) {
        if (known.state === "paused" || known.state === "failed") this.resume(known);
        continue;
      }
      const t: Transfer = new Transfer(file, words, recall(file), () => this.changed(t), (id) => this.began(t, id));
      this.transfers.push(t);
      this.changed(t);
    }
    this.pump();
  }

  pause(t: Transfer): void {
    t.stop("paused");
    this.pump();
  }

  resume(t: Transfer): void {
    t.stop("waiting");
    this.pump();
  }

  /** Gives a transfer up; what the box has of it is the caller's to remove. */
  drop(t: Transfer): void {
    const i = this.transfers.indexOf(t);
    if (i >= 0) this.transfers.splice(i, 1);
    t.stop("failed");
    if (t.id !== undefined) forget(t.id);
    this.pump();
  }

  private pump(): void {
    let running = this.transfers.filter((t) => t.state === "sending" || t.state === "retrying").length;
    for (const t of this.transfers) {
      if (running >= atOnce) return;
      if (t.state !== "waiting") continue;
      running++;
      void t.run().finally(() => this.ended(t));
    }
  }

  private ended(t: Transfer): void {
    if (t.state === "sent") {
      const i = this.transfers.indexOf(t);
      if (i >= 0) this.transfers.splice(i, 1);
      if (t.id !== undefined) forget(t.id);
    }
    this.pump();
  }

  private began(t: Transfer, id: string | undefined): void {
    if (id !== undefined) remember({ name: t.file.name, size: t.file.size, lastModified: t.file.lastModified, id });
    this.changed(t);
  }

  private changed(t: Transfer): void {
    for (const listener of this.listeners) listener(t);
  }
}

const same = (a: { name: string; size: number; lastModified: number }, b: File): boolean => a.name === b.name && a.size === b.size && a.lastModified === b.lastModified;

function memories(): Memory[] {
  try {
    const list: unknown = JSON.parse(localStorage.getItem(remembered) ?? "[]");
    return Array.isArray(list) ? (list as Memory[]).filter((m) => typeof m?.id === "string" && /^u[0-9a-v]{25}$/.test(m.id)) : [];
  } catch {
    return [];
  }
}

function keep(list: Memory[]): void {
  try {
    localStorage.setItem(remembered, JSON.stringify(list.slice(-mostRemembered)));
  } catch {
    // Without storage an upload goes on as long as the page is open.
  }
}

const recall = (file: File): string | undefined => memories().find((m) => same(m, file))?.id;

const remember = (m: Memory): void => keep([...memories().filter((o) => o.id !== m.id && !(o.name === m.name && o.size === m.size && o.lastModified === m.lastModified)), m]);

/** Tells whether this browser began an upload, so that choosing its file again goes on with it. */
export const beganHere = (id: string): boolean => memories().some((m) => m.id === id);

export const forget = (id: string): void => keep(memories().filter((m) => m.id !== id));
