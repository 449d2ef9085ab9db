import { Events, type ShowLink } from "./box";
import { h, setAttribute, setText } from "./dom";
import { Player } from "./player";
import type { Camera, DetectedObject } from "./types";
import { badge, tally } from "./words";

/** A page: its content, and how to leave it. */
export interface Page {
  title: string;
  element: HTMLElement;
  close(): void;
}

/** One camera of the grid. */
class Tile {
  readonly element: HTMLElement;
  private readonly player: Player;
  private readonly badge = h("span", { class: "badge" });
  private readonly name: HTMLAnchorElement;
  private readonly rate = h("span", { class: "figure" });
  private playing = false;
  private readonly seen = h("span", { class: "figure seen" });

  constructor(camera: Camera) {
    this.player = new Player(camera.id, camera.name);
    this.name = h("a", { href: `/cameras/${encodeURIComponent(camera.id)}` }, camera.name);
    this.element = h(
      "li",
      { class: "tile", "data-testid": "tile", "data-camera": camera.id },
      this.player.element,
      h("div", { class: "caption" }, h("h2", {}, this.name), this.badge, this.rate, this.seen),
    );
    this.update(camera);
  }

  update(camera: Camera): void {
    this.player.update(camera);
    setText(this.name, camera.name);
    setText(this.badge, badge(camera));
    setAttribute(this.badge, "data-state", camera.state);
    setText(this.rate, camera.state === "playing" ? `${camera.rates.source_fps.toFixed(0)} fps` : "");
    this.playing = camera.state === "playing";
    this.detect(camera.objects);
  }

  detect(objects: DetectedObject[]): void {
    // Without a picture nothing can be seen: saying "nothing seen" would mislead.
    const words = objects.length === 0 ? "nothing seen" : tally(objects);
    setText(this.seen, this.playing ? words : "");
    setAttribute(this.seen, "data-count", this.playing ? String(objects.length) : "");
  }

  close(): void {
    this.player.close();
  }
}

/**
 * The number of columns that makes the tiles largest while all of them fit the
 * window; on small windows tiles keep a readable width and the page scrolls.
 */
function columns(tiles: number, width: number, height: number, rem: number): number {
  const gap = rem * 1.2;
  const most = Math.max(1, Math.floor((width + gap) / (rem * 18 + gap)));
  for (let n = 1; n < most; n++) {
    const tile = (width - gap * (n - 1)) / n;
    const rows = Math.ceil(tiles / n);
    if (rows * ((tile * 9) / 16 + rem * 3 + gap) <= height) return n;
  }
  return Math.min(most, Math.max(1, tiles));
}

/** The grid of all cameras. */
export function camerasPage(showLink: ShowLink): Page {
  const grid = h("ul", { class: "grid", "aria-label": "Cameras" });
  const empty = h("p", { class: "notice" }, "Waiting for the box…");
  const element = h("div", {}, h("h1", { class: "hidden" }, "Cameras"), grid, empty);
  const tiles = new Map<string, Tile>();
  const arrange = (): void => {
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const top = grid.getBoundingClientRect().top + window.scrollY;
    grid.style.setProperty("--columns", String(columns(tiles.size, grid.clientWidth, window.innerHeight - top, rem)));
  };
  window.addEventListener("resize", arrange);
  const events = new Events("/api/v1/events?detections=latest", {
    camera(camera) {
      empty.remove();
      const known = tiles.get(camera.id);
      if (known) {
        known.update(camera);
        return;
      }
      const tile = new Tile(camera);
      tiles.set(camera.id, tile);
      grid.append(tile.element);
      setAttribute(grid, "data-count", String(tiles.size));
      arrange();
    },
    detections: (d) => tiles.get(d.camera)?.detect(d.objects),
    link(state, words) {
      if (state === "connected" && tiles.size === 0) setText(empty, "No camera is configured yet. Name one in the configuration file, or start the box with --source.");
      showLink(state, words);
    },
  });
  return {
    title: "Cameras",
    element,
    close() {
      window.removeEventListener("resize", arrange);
      events.close();
      for (const tile of tiles.values()) tile.close();
    },
  };
}
