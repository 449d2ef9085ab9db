import { inWords } from "../box";
import { h, setText } from "../dom";

// Windows over the page. The browser's own element keeps the keyboard inside,
// closes on Escape, and gives the focus back.

/** Asks before something that cannot be undone. */
export function confirmed(question: string, detail: string, yes: string): Promise<boolean> {
  return new Promise((resolve) => {
    const sure = h("button", { type: "submit", class: "danger", value: "yes" }, yes);
    const dialog = h(
      "dialog",
      { "aria-label": question, "data-testid": "confirm" },
      h("form", { method: "dialog" }, h("h2", {}, question), h("p", {}, detail), h("div", { class: "choices" }, h("button", { type: "submit", value: "no", autofocus: true }, "Keep it"), sure)),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Shows a form; act does what was asked for, and what it throws is shown. */
export function asking(title: string, content: HTMLElement, yes: string, act: () => Promise<void>): void {
  const wrong = h("p", { class: "bad", role: "alert" });
  const go = h("button", { type: "submit", class: "main" }, yes);
  const no = h("button", { type: "button" }, "Cancel");
  const form = h("form", {}, h("h2", {}, title), content, wrong, h("div", { class: "choices" }, no, go));
  const dialog = h("dialog", { "aria-label": title, "data-testid": "asking" }, form);
  form.addEventListener("submit", (e) => {
    e.preventDefault();
    go.disabled = true;
    act().then(
      () => dialog.close(),
      (err: unknown) => {
        go.disabled = false;
        setText(wrong, inWords(err));
      },
    );
  });
  no.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

/** A button that does something at the box: it rests meanwhile, and shows what went wrong. */
export function doing(label: string, wrong: HTMLElement, act: () => Promise<unknown>, testid?: string): HTMLButtonElement {
  const button = h("button", { type: "button", "data-testid": testid }, label);
  button.addEventListener("click", () => {
    button.disabled = true;
    setText(wrong, "");
    act()
      .catch((err: unknown) => setText(wrong, inWords(err)))
      .finally(() => (button.disabled = false));
  });
  return button;
}
