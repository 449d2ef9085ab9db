import { get } from "./box";
import { h } from "./dom";
import type { System } from "./types";

const remembered = "watchpost.notes";
const again = 60_000; // ms: the box may have been started anew meanwhile

/**
 * Shows what was out of the ordinary when the box started, above every page,
 * until it is put away. A note of another start of the box is another note.
 */
export async function showNotes(place: HTMLElement): Promise<void> {
  window.setTimeout(() => void showNotes(place), again);
  let system: System;
  try {
    system = await get<System>("/api/v1/system");
  } catch {
    return; // the page's own stream says that the box does not answer
  }
  const notes = (system.notes ?? []).filter((note) => !put().includes(key(system, note)));
  place.hidden = notes.length === 0;
  place.replaceChildren(
    ...notes.map((note) => {
      const away = h("button", { type: "button", class: "quiet" }, "Put away");
      const line = h("p", { role: "alert", "data-testid": "note" }, h("span", {}, note.charAt(0).toUpperCase() + note.slice(1)), away);
      away.addEventListener("click", () => {
        remember([...put(), key(system, note)].slice(-50));
        line.remove();
        place.hidden = place.childElementCount === 0;
      });
      return line;
    }),
  );
}

const key = (system: System, note: string): string => `${system.started} ${note}`;

function put(): string[] {
  try {
    const list: unknown = JSON.parse(localStorage.getItem(remembered) ?? "[]");
    return Array.isArray(list) ? list.map(String) : [];
  } catch {
    return [];
  }
}

function remember(list: string[]): void {
  try {
    localStorage.setItem(remembered, JSON.stringify(list));
  } catch {
    // Without storage the note is back after a reload.
  }
}
