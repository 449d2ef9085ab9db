import { get } from "../box";
import { CameraSelect, noCapture } from "../capture";
import { h, setText } from "../dom";
import type { Model } from "../types";
import type { Drawn, Wish } from "./request";

export type SourceKind = "camera" | "file" | "address";

const field = (label: string, input: HTMLElement): HTMLElement => h("label", { class: "field" }, h("span", {}, label), input);
const tick = (label: string, input: HTMLElement): HTMLElement => h("label", { class: "tick" }, input, h("span", {}, label));

/** The form of a session: where its frames come from, and what is to be done with them. */
export class TryForm {
  readonly element: HTMLFormElement;
  readonly cameras = new CameraSelect();
  readonly file = h("input", { type: "file", name: "file", accept: "video/*,.mkv,.ts", "data-testid": "file" });
  readonly url = h("input", { type: "text", name: "url", inputmode: "url", maxlength: "4096", placeholder: "rtsp://user:password@camera/stream", autocomplete: "off", spellcheck: "false" });
  private readonly model = h("select", { name: "model" });
  private readonly classes = h("input", { name: "classes", type: "text", maxlength: "2000", placeholder: "all", autocomplete: "off", spellcheck: "false" });
  private readonly confidence = h("input", { name: "confidence", type: "number", min: "1", max: "100", step: "1", placeholder: "the model's own" });
  private readonly track = h("input", { name: "track", type: "checkbox", checked: true });
  private readonly pace = h("select", { name: "pace" }, h("option", { value: "realtime" }, "In time: what comes too fast is left out"), h("option", { value: "every" }, "Every frame, however long it takes"));
  private readonly boxes = h("input", { name: "boxes", type: "checkbox", checked: true });
  private readonly labels = h("input", { name: "labels", type: "checkbox", checked: true });
  private readonly knows = h("p", { class: "hint" });
  private readonly fixed: HTMLFieldSetElement; // what cannot be changed while a session runs
  private readonly parts: Record<SourceKind, HTMLElement>;
  private readonly radios: Record<SourceKind, HTMLInputElement>;
  private models: Model[] = [];
  /** Called when what is drawn is to be another. */
  onDrawn: (d: Drawn) => void = () => undefined;

  constructor(buttons: HTMLElement) {
    const radio = (kind: SourceKind): HTMLInputElement => h("input", { type: "radio", name: "source", value: kind });
    this.radios = { camera: radio("camera"), file: radio("file"), address: radio("address") };
    const why = noCapture();
    this.parts = {
      camera: why === "" ? field("Camera", this.cameras.element) : h("p", { class: "why", "data-bad": "true", "data-testid": "no-capture" }, `${why} A file and an address work here.`),
      file: field("Video file; it is analysed once it is on the box, which forgets it afterwards", this.file),
      address: field("Address that the box opens: of RTSP, or over HTTP for motion JPEG", this.url),
    };
    this.radios.camera.disabled = why !== "";
    this.radios[why === "" ? "camera" : "file"].checked = true;
    const kinds: [SourceKind, string][] = [["camera", "This browser's camera"], ["file", "A file"], ["address", "An address"]];
    const source = h(
      "fieldset",
      {},
      h("legend", {}, "Source"),
      h("div", { class: "segments" }, ...kinds.map(([kind, label]) => h("label", {}, this.radios[kind], h("span", {}, label)))),
      ...(why === "" ? [] : [this.parts.camera]),
      ...kinds.filter(([kind]) => kind !== "camera" || why === "").map(([kind]) => this.parts[kind]),
    );
    source.addEventListener("change", () => this.choose());
    this.model.addEventListener("change", () => this.showLabels());
    this.fixed = h(
      "fieldset",
      { class: "plain" },
      source,
      h(
        "fieldset",
        {},
        h("legend", {}, "Analysis"),
        field("Model", this.model),
        field("Only these classes, separated by commas", this.classes),
        this.knows,
        field("Least confidence, in %", this.confidence),
        field("Pace", this.pace),
        tick("Follow objects from frame to frame", this.track),
      ),
    );
    const drawing = h("fieldset", {}, h("legend", {}, "On the picture"), h("div", { class: "ticks" }, tick("Boxes", this.boxes), tick("Labels", this.labels)));
    drawing.addEventListener("change", () => this.onDrawn(this.drawn()));
    this.element = h("form", { class: "wish", "data-testid": "wish" }, this.fixed, drawing, buttons);
    this.choose();
    void this.readModels();
  }

  get kind(): SourceKind {
    return (Object.keys(this.radios) as SourceKind[]).find((k) => this.radios[k].checked) ?? "file";
  }

  private choose(): void {
    for (const kind of Object.keys(this.parts) as SourceKind[]) this.parts[kind].hidden = kind !== this.kind && !(kind === "camera" && noCapture() !== "");
  }

  private async readModels(): Promise<void> {
    try {
      this.models = (await get<{ models: Model[] }>("/api/v1/models")).models.filter((m) => !m.problem);
    } catch {
      // "motion" is always there, and the session's refusal says what else is.
    }
    if (!this.models.some((m) => m.name === "motion")) this.models.push({ name: "motion", family: "", licence: "", labels: ["motion"], used_by: [] });
    const before = this.model.value;
    this.model.replaceChildren(...this.models.map((m) => h("option", { value: m.name }, m.name === "motion" ? "motion (no model)" : m.name)));
    if (this.models.some((m) => m.name === before)) this.model.value = before;
    this.showLabels();
  }

  private showLabels(): void {
    const labels = this.models.find((m) => m.name === this.model.value)?.labels ?? [];
    const shown = labels.slice(0, 12).join(", ");
    setText(this.knows, labels.length > 12 ? `It knows ${shown} and ${labels.length - 12} more.` : labels.length > 0 ? `It knows ${shown}.` : "");
    this.knows.title = labels.join(", ");
  }

  wish(): Wish {
    const percent = this.confidence.valueAsNumber;
    return {
      model: this.model.value || "motion",
      classes: this.classes.value.split(",").map((c) => c.trim()).filter(Boolean),
      confidence: percent > 0 ? percent / 100 : undefined,
      track: this.track.checked,
      realtime: this.pace.value === "realtime",
    };
  }

  drawn(): Drawn {
    return { boxes: this.boxes.checked, labels: this.labels.checked };
  }

  freeze(frozen: boolean): void {
    this.fixed.disabled = frozen;
  }
}
