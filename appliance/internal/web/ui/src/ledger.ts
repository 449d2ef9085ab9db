import { h, setAttribute, setText } from "./dom";
import type { Ledger } from "./types";
import { count } from "./words";

const ends: [keyof Ledger, string][] = [
  ["inferred", "Analysed"],
  ["skipped_no_motion", "Skipped: no motion"],
  ["skipped_rate_limit", "Skipped: rate limit"],
  ["skipped_heat", "Skipped: heat"],
  ["dropped", "Dropped: no time"],
  ["failed", "Failed"],
  ["pending", "In hand"],
];

/** The frame ledger: where every decoded frame ended. */
export class LedgerView {
  readonly element: HTMLElement;
  private readonly cells = new Map<keyof Ledger, { value: HTMLElement; part: HTMLElement; bar: HTMLElement | undefined }>();
  private readonly verdict = h("p", { class: "verdict", "data-testid": "balance" });

  constructor() {
    const bar = h("div", { class: "share", "aria-hidden": "true" });
    const row = (key: keyof Ledger, label: string, kind: string): HTMLElement => {
      const value = h("td", { "data-ledger": key });
      const part = h("td", {});
      let piece: HTMLElement | undefined;
      if (kind === "end") {
        piece = h("i", { "data-end": key });
        bar.append(piece);
      }
      this.cells.set(key, { value, part, bar: piece });
      return h("tr", { class: kind }, h("th", { scope: "row" }, piece ? h("i", { class: "key", "data-end": key }) : "", label), value, part);
    };
    this.element = h(
      "div",
      { "data-testid": "ledger" },
      bar,
      h(
        "table",
        { class: "ledger" },
        h("caption", { class: "hidden" }, "Where every decoded frame ended"),
        h("tbody", {}, row("decoded", "Decoded", "total"), ...ends.map(([key, label]) => row(key, label, "end"))),
        h("tbody", {}, row("pictures_sent", "Pictures sent", "other"), row("pictures_dropped", "Pictures dropped", "other"), row("decoder_errors", "Decoder errors", "other")),
      ),
      this.verdict,
    );
  }

  update(ledger: Ledger): void {
    for (const [key, cell] of this.cells) {
      const n = Number(ledger[key]);
      setText(cell.value, count(n));
      if (!cell.bar) continue;
      const share = ledger.decoded > 0 ? n / ledger.decoded : 0;
      setText(cell.part, n > 0 ? `${(share * 100).toFixed(1)} %` : "");
      cell.bar.style.flexGrow = String(share);
    }
    setText(this.verdict, ledger.balanced ? "✓ Balanced: every frame is accounted for" : "✗ Not balanced: frames are missing from the account");
    setAttribute(this.verdict, "data-balanced", String(ledger.balanced));
  }
}
