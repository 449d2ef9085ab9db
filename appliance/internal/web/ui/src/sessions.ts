import { get, inWords, send } from "./box";
import { h, setText } from "./dom";
import type { WorkerSessionInfo } from "./types";
import { count, duration } from "./words";

const sources: Record<string, string> = { unknown: "not known yet", track: "the peer's camera", upload: "an uploaded file", rtsp: "an RTSP stream", mjpeg: "a motion JPEG stream" };
const states: Record<string, string> = { connecting: "connecting", waiting: "waits for its source", running: "runs", ending: "ends" };

/** One open session; its cells are made once, so that a button is not taken away from under a finger. */
class Row {
  readonly element: HTMLElement;
  private readonly cells = Array.from({ length: 6 }, (_, i) => h(i === 0 ? "th" : "td", i === 0 ? { scope: "row" } : {}));
  private readonly button = h("button", { type: "button" }, "End");

  constructor(id: string, private readonly failed: (words: string) => void, private readonly ended: () => void) {
    this.element = h("tr", { "data-session": id }, ...this.cells, h("td", {}, this.button));
    this.button.addEventListener("click", () => void this.end(id));
  }

  update(s: WorkerSessionInfo): void {
    const texts = [
      sources[s.source] ?? s.source,
      `${states[s.state] ?? s.state}${s.reason ? `: ${s.reason}` : ""}`,
      count(s.frames),
      count(s.documents_left_out),
      s.peer ?? "–",
      duration((Date.now() - new Date(s.since).getTime()) / 1000),
    ];
    texts.forEach((t, i) => setText(this.cells[i]!, t));
    this.button.setAttribute("aria-label", `End the session of ${s.peer ?? "a peer that is not connected"}`);
  }

  private async end(id: string): Promise<void> {
    this.button.disabled = true;
    setText(this.button, "Ending…");
    try {
      await send("DELETE", `/api/v1/sessions/${encodeURIComponent(id)}`);
      this.failed("");
      this.ended();
    } catch (err) {
      this.button.disabled = false;
      setText(this.button, "End");
      this.failed(inWords(err));
    }
  }
}

/** The worker protocol's open sessions. */
export class SessionList {
  readonly element: HTMLElement;
  private readonly rows = new Map<string, Row>();
  private readonly body = h("tbody");
  private readonly none = h("p", { class: "label" }, "None is open. ", h("a", { href: "/try" }, "Try one from this browser"), ".");
  private readonly table: HTMLElement;
  private readonly failed = h("p", { class: "why", "data-bad": "true", role: "alert" });

  constructor() {
    const heads = ["Frames from", "State", "Frames", "Left out", "Peer", "Open for", ""];
    this.table = h(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": "Open sessions", hidden: true },
      h("table", {}, h("thead", {}, h("tr", {}, ...heads.map((t) => h("th", { scope: "col" }, t)))), this.body),
    );
    this.element = h("div", { class: "tables", "data-testid": "sessions" }, this.table, this.none, this.failed);
  }

  /** Looks again before it is due: a session takes a moment to end. */
  private soon(): void {
    window.setTimeout(() => void this.read().catch(() => undefined), 1_000); // what is wrong is said when it is due
  }

  /** Asks the box for them; throws as get does. */
  async read(): Promise<void> {
    const { sessions } = await get<{ sessions: WorkerSessionInfo[] }>("/api/v1/sessions");
    for (const s of sessions) {
      let row = this.rows.get(s.id);
      if (!row) {
        row = new Row(s.id, (words) => setText(this.failed, words), () => this.soon());
        this.rows.set(s.id, row);
        this.body.append(row.element);
      }
      row.update(s);
    }
    for (const [id, row] of this.rows) {
      if (sessions.some((s) => s.id === id)) continue;
      row.element.remove();
      this.rows.delete(id);
    }
    this.table.hidden = this.rows.size === 0;
    this.none.hidden = this.rows.size > 0;
    this.element.dataset["count"] = String(this.rows.size);
  }
}
