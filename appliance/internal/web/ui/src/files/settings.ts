import { get } from "../box";
import { h } from "../dom";
import type { JobSettings, Model } from "../types";

/** The form for what an analysis is to do. */
export class SettingsForm {
  readonly element: HTMLElement;
  private readonly model = h("select", { name: "model" }, h("option", { value: "" }, "The box's default"));
  private readonly threshold = h("input", { name: "threshold", type: "number", min: "1", max: "100", step: "1", placeholder: "the model's own" });
  private readonly classes = h("input", { name: "classes", type: "text", maxlength: "2000", placeholder: "all", autocomplete: "off", spellcheck: "false" });
  private readonly rate = h("input", { name: "rate", type: "number", min: "0.1", max: "1000", step: "any", placeholder: "all frames" });
  private readonly gate = h("input", { name: "gate", type: "checkbox" });
  private readonly video = h("input", { name: "video", type: "checkbox", checked: true });

  constructor(private readonly before: JobSettings = {}) {
    if (before.threshold) this.threshold.value = String(Math.round(before.threshold * 100));
    this.classes.value = (before.classes ?? []).join(", ");
    if (before.max_fps) this.rate.value = String(before.max_fps);
    this.gate.checked = before.gate ?? false;
    this.video.checked = !(before.no_video ?? false);
    const field = (label: string, input: HTMLElement): HTMLElement => h("label", { class: "field" }, h("span", {}, label), input);
    const tick = (label: string, input: HTMLElement): HTMLElement => h("label", { class: "tick" }, input, h("span", {}, label));
    this.element = h(
      "div",
      { class: "settings" },
      field("Model", this.model),
      field("Least confidence, in %", this.threshold),
      field("Only these classes, separated by commas", this.classes),
      field("Most frames a second", this.rate),
      tick("Analyse only where something moves", this.gate),
      tick("Make a video with the boxes drawn", this.video),
    );
    void this.readModels();
  }

  private async readModels(): Promise<void> {
    let names: string[] = [];
    try {
      const { models } = await get<{ models: Model[] }>("/api/v1/models");
      names = models.filter((m) => !m.problem).map((m) => m.name);
    } catch {
      // The default is always there.
    }
    const before = this.before.model; // a name that stands for a model is not in the list
    if (before && before !== "motion" && !names.includes(before)) names.unshift(before);
    for (const name of [...names, "motion"]) {
      this.model.append(h("option", { value: name }, name === "motion" ? "motion (no model)" : name));
    }
    this.model.value = before ?? "";
  }

  private list(): string[] {
    return this.classes.value.split(",").map((c) => c.trim()).filter(Boolean);
  }

  /** As a new job has it. */
  settings(): JobSettings {
    const s: JobSettings = {};
    if (this.model.value) s.model = this.model.value;
    if (this.threshold.valueAsNumber > 0) s.threshold = this.threshold.valueAsNumber / 100;
    if (this.list().length > 0) s.classes = this.list();
    if (this.rate.valueAsNumber > 0) s.max_fps = this.rate.valueAsNumber;
    if (this.gate.checked) s.gate = true;
    if (!this.video.checked) s.no_video = true;
    if (this.before.track) s.track = this.before.track;
    return s;
  }

  /** As an upload's metadata has it. */
  words(): Record<string, string> {
    const s = this.settings();
    const words: Record<string, string> = {};
    if (s.model) words["model"] = s.model;
    if (s.threshold) words["threshold"] = String(s.threshold);
    if (s.classes) words["classes"] = s.classes.join(",");
    if (s.max_fps) words["max_fps"] = String(s.max_fps);
    if (s.gate) words["gate"] = "true";
    if (s.no_video) words["no_video"] = "true";
    return words;
  }
}
