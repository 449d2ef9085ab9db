import type { ShowLink } from "./box";
import { cameraPage } from "./camera";
import { camerasPage, type Page } from "./cameras";
import { h, setAttribute, setText } from "./dom";
import { jobPage } from "./files/job";
import { filesPage } from "./files/page";
import { Sender } from "./files/sender";
import { showNotes } from "./notes";
import { publishPage } from "./publish/page";
import { systemPage } from "./system";
import { tryPage } from "./try/page";

// Addresses are real paths: each can be opened, bookmarked and reloaded.

const main = document.querySelector<HTMLElement>("#main")!;
const link = document.querySelector<HTMLElement>("#link")!;
let page: Page | undefined;
// Files go on being sent while other pages are looked at.
const sender = new Sender();

const showLink: ShowLink = (state, words) => {
  setAttribute(link, "data-state", state);
  setText(link, words);
};

// On the box's own loopback address nobody signed in.
if (/^(localhost|127\.[0-9.]+|\[::1\])$/.test(location.hostname)) {
  document.querySelector<HTMLElement>('form[action="/sign-out"]')?.setAttribute("hidden", "");
}

function choose(path: string): Page {
  const camera = /^\/cameras\/([^/]+)\/?$/.exec(path);
  if (camera?.[1]) return cameraPage(decodeURIComponent(camera[1]), showLink);
  const job = /^\/files\/([^/]+)\/?$/.exec(path);
  if (job?.[1]) return jobPage(decodeURIComponent(job[1]), showLink);
  if (path === "/files") return filesPage(sender, showLink);
  if (path === "/system") return systemPage(showLink);
  if (path === "/try") return tryPage(showLink);
  if (path === "/publish") return publishPage(showLink);
  return camerasPage(showLink);
}

function show(moved: boolean): void {
  page?.close();
  const path = location.pathname;
  try {
    page = choose(path);
  } catch {
    page = { title: "Not here", element: h("p", { class: "notice" }, "There is no page at this address."), close: () => undefined };
  }
  document.title = `${page.title} · Watchpost`;
  main.replaceChildren(page.element);
  for (const a of document.querySelectorAll<HTMLAnchorElement>("nav a")) {
    if (a.pathname === path || (a.pathname !== "/" && path.startsWith(`${a.pathname}/`))) a.setAttribute("aria-current", "page");
    else a.removeAttribute("aria-current");
  }
  if (moved) {
    main.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }
}

// The box allows a camera to the documents of these two addresses only, so that they are
// documents of their own: to them, and from them, the browser goes without us.
const captures = (path: string): boolean => path === "/try" || path === "/publish";

document.addEventListener("click", (e) => {
  const a = (e.target as Element).closest?.("a");
  if (!a || e.defaultPrevented || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
  if (a.origin !== location.origin || a.target !== "" || a.hash !== "" || !/^\/($|cameras\/|files$|files\/|system$)/.test(a.pathname)) return;
  if (captures(location.pathname)) return;
  e.preventDefault();
  if (a.href !== location.href) history.pushState(null, "", a.href);
  show(true);
});
window.addEventListener("popstate", () => show(true));
show(false);
void showNotes(document.querySelector<HTMLElement>("#notes")!);
