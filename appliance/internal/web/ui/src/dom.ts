// A few lines instead of a framework: elements are made once and then updated
// in place, so that a video is never torn down by new figures.

type Child = Node | string | null | undefined;

/** Makes an element. Attributes that are false or undefined are left out. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, string | boolean | undefined> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children) if (child !== null && child !== undefined) element.append(child);
  return element;
}

/** Sets text only when it differs: screen readers speak every change. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

export function setAttribute(element: Element, name: string, value: string): void {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** A table whose first column heads its rows. */
export function table(caption: string, heads: string[], rows: Child[][]): HTMLElement {
  const body = rows.map((cells) =>
    h("tr", {}, ...cells.map((cell, i) => h(i === 0 ? "th" : "td", i === 0 ? { scope: "row" } : {}, cell))),
  );
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", {}, h("caption", {}, caption), h("thead", {}, h("tr", {}, ...heads.map((t) => h("th", { scope: "col" }, t)))), h("tbody", {}, ...body)),
  );
}

/** A list of names and values that can be updated in place. */
export class Facts {
  readonly element = h("dl", { class: "facts" });
  private readonly values = new Map<string, HTMLElement>();

  set(name: string, value: string): void {
    let dd = this.values.get(name);
    if (!dd) {
      dd = h("dd");
      this.values.set(name, dd);
      this.element.append(h("div", {}, h("dt", {}, name), dd));
    }
    setText(dd, value === "" ? "–" : value);
  }
}
