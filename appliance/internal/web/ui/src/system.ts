import { get, Refusal, type ShowLink } from "./box";
import type { Page } from "./cameras";
import { Facts, h, setText, table } from "./dom";
import { SessionList } from "./sessions";
import type { CodecElement, Hardware, Model, System, Trace } from "./types";
import { bytes, clock, count, duration } from "./words";

const renew = 5_000; // ms between readings of the box's own figures

/** The box itself: its parts, proven or refused, and how it runs. */
export function systemPage(showLink: ShowLink): Page {
  const facts = new Facts();
  const loops = h("div", { class: "tables" });
  const traces = h("div", { class: "tables", "data-testid": "traces" });
  const sessions = new SessionList();
  const hardware = h("div", { class: "tables", "data-testid": "hardware" });
  const models = h("div", { class: "tables" });
  const element = h(
    "div",
    { class: "system", "data-testid": "system" },
    h("h1", {}, "System"),
    h("section", {}, h("h2", {}, "Sessions"), sessions.element),
    h("section", {}, h("h2", {}, "This box"), facts.element, loops, traces),
    h("section", {}, h("h2", {}, "Hardware"), hardware),
    h("section", {}, h("h2", {}, "Models"), models),
  );

  const readSystem = async (): Promise<void> => {
    if (document.hidden) return;
    try {
      const [system, left] = await Promise.all([get<System>("/api/v1/system"), get<{ traces: Trace[] }>("/api/v1/traces"), sessions.read()]);
      showSystem(system, facts, loops);
      showTraces(left.traces, traces);
      showLink("connected", "Connected to the box");
    } catch (err) {
      showLink("lost", err instanceof Refusal ? err.message : `Your browser lost the box: retrying in ${renew / 1000} s`);
    }
  };
  const readOnce = async <T>(path: string, into: HTMLElement, show: (value: T) => HTMLElement[]): Promise<void> => {
    setText(into, "Reading…");
    let value: T;
    try {
      value = await get<T>(path);
    } catch (err) {
      into.replaceChildren(h("p", { class: "notice" }, err instanceof Refusal ? err.message : "The box does not answer."));
      return;
    }
    into.replaceChildren(...show(value));
  };
  void readSystem();
  void readOnce<Hardware>("/api/v1/hardware", hardware, showHardware);
  void readOnce<{ models: Model[] }>("/api/v1/models", models, (m) => showModels(m.models));
  const timer = window.setInterval(() => void readSystem(), renew);
  return { title: "System", element, close: () => clearInterval(timer) };
}

function showSystem(s: System, facts: Facts, loops: HTMLElement): void {
  facts.set("Version", s.version);
  facts.set("Running for", `${duration(s.uptime_seconds)}, since ${clock(s.started)}`);
  facts.set("Memory of the control process", bytes(s.rss_bytes));
  facts.set("Goroutines", count(s.goroutines));
  loops.replaceChildren(
    table(
      "Control loops: how late they ran",
      ["Loop", "Late by, 99 % under", "At most", "Stalls", "Last stall"],
      s.loops.map((l) => [l.name, `${l.p99_ms.toFixed(1)} ms`, `${l.max_ms.toFixed(1)} ms`, mark(l.stalls === 0, count(l.stalls)), l.last_stall ? clock(l.last_stall) : "never"]),
    ),
    table(
      "Queues: what waits, and what was left out",
      ["Queue", "When full", "Holds", "Of", "Fullest", "Left out"],
      s.queues.map((q) => [
        q.instances > 1 ? `${q.name} (${q.instances})` : q.name,
        whenFull[q.policy] ?? q.policy,
        count(q.depth),
        count(q.capacity),
        `${Math.round(100 * q.fullest)} %`,
        count(q.dropped),
      ]),
    ),
  );
}

const whenFull: Record<string, string> = {
  block: "who brings more waits",
  "drop-oldest": "the oldest is dropped",
  "drop-newest": "what comes is dropped",
  latest: "the newest replaces the older",
  refuse: "who brings more is refused",
};

/** The links are kept while the list is the same: one may be about to be clicked. */
function showTraces(list: Trace[], into: HTMLElement): void {
  const state = list.map((t) => t.name).join();
  if (into.dataset["state"] === state) return;
  into.dataset["state"] = state;
  if (list.length === 0) {
    into.replaceChildren();
    return;
  }
  into.replaceChildren(
    table(
      "Traces of loops that were held up",
      ["Taken", "Loop", "What", "Size", "File"],
      list.map((t) => [
        clock(t.taken),
        t.loop ?? "asked for by hand",
        t.kind === "trace" ? "execution trace (go tool trace)" : "goroutines (text)",
        bytes(t.bytes),
        h("a", { href: `/api/v1/traces/${encodeURIComponent(t.name)}`, download: t.name }, "Download"),
      ]),
    ),
  );
}

function mark(good: boolean, text: string): HTMLElement {
  return h("span", { class: good ? "good" : "bad" }, text);
}

function verdict(e: { proven: boolean; chosen?: boolean; reason?: string }): HTMLElement {
  if (e.proven) return h("span", { class: "good" }, e.chosen ? "✓ proven, in use" : "✓ proven");
  return h("span", { class: "bad" }, "✗ refused");
}

function showHardware(hw: Hardware): HTMLElement[] {
  // What works goes first; the refused follow with their reasons.
  const rows = (list: CodecElement[]) =>
    [...list].sort((a, b) => Number(b.proven) - Number(a.proven)).map((e) => [e.element, e.codec.toUpperCase(), e.kind ?? "", verdict(e), e.reason ?? ""]);
  const heads = ["Element", "Codec", "Kind", "Proof", "Reason"];
  return [
    table("Decoders", heads, rows(hw.decoders)),
    table("Encoders", heads, rows(hw.encoders)),
    table("Accelerators of the model runtime", ["Provider", "Version", "Proof", "Reason"], hw.accelerators.map((a) => [a.name, a.version ?? "", verdict(a), a.reason ?? ""])),
    hw.cameras.length === 0
      ? h("p", { class: "notice" }, "No camera is attached to this box.")
      : table("Cameras attached to this box", ["Device", "Name", "Formats"], hw.cameras.map((c) => [c.path, c.name, c.problem ? h("span", { class: "bad" }, c.problem) : some(c.formats ?? [])])),
  ];
}

/** A camera can list hundreds of modes: the page names the first ones. */
function some(formats: string[]): string {
  const most = 8;
  const rest = formats.length - most;
  return formats.slice(0, most).join(", ") + (rest > 0 ? ` and ${rest} more` : "");
}

function showModels(list: Model[]): HTMLElement[] {
  if (list.length === 0) {
    return [h("p", { class: "notice" }, "No model is installed: cameras are watched for motion only. Install one with “watchpost model install”.")];
  }
  return [
    table(
      "Installed models",
      ["Model", "Family", "Input", "Labels", "Licence", "Used by", "State"],
      list.map((m) => [m.name, m.family, m.input ?? "", String(m.labels.length), m.licence, m.used_by.join(", ") || "no camera", m.problem ? mark(false, m.problem) : mark(true, "✓ usable")]),
    ),
  ];
}
