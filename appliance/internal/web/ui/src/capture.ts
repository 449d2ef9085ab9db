import { h } from "./dom";

// This browser's camera and screen, and in words why there is none.

/** Why this page cannot ask for a camera at all; "": it can. */
export function noCapture(): string {
  if (!window.isSecureContext) {
    return (
      `Browsers hand out a camera to pages over HTTPS only, and to pages of the machine they run on. This page came over plain http from ${location.host}: ` +
      "open it over https, or on the box itself at localhost."
    );
  }
  if (!("mediaDevices" in navigator)) return "This browser hands out no camera.";
  return "";
}

export type CaptureKind = "camera" | "screen";

/** A select of the cameras of this machine; their names are told once one of them was allowed. */
export class CameraSelect {
  readonly element = h("select", { name: "device", "data-testid": "device" }, h("option", { value: "" }, "The browser's default"));

  constructor() {
    void this.read();
  }

  async read(): Promise<void> {
    if (noCapture() !== "") return;
    const devices = await navigator.mediaDevices.enumerateDevices().catch(() => []);
    const before = this.element.value;
    const cameras = devices.filter((d) => d.kind === "videoinput" && d.deviceId !== "");
    while (this.element.options.length > 1) this.element.remove(1);
    cameras.forEach((d, i) => this.element.append(h("option", { value: d.deviceId }, d.label || `Camera ${i + 1}`)));
    this.element.value = before;
    if (this.element.selectedIndex < 0) this.element.value = "";
  }
}

/** Asks the person for a picture. Its errors are in words. */
export async function capture(kind: CaptureKind, device = ""): Promise<MediaStream> {
  const why = noCapture();
  if (why !== "") throw new Error(why);
  const size = { width: { ideal: 1280 }, height: { ideal: 720 } };
  try {
    if (kind === "screen") return await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { ideal: 15 } }, audio: false });
    return await navigator.mediaDevices.getUserMedia({ video: { ...size, frameRate: { ideal: 30 }, ...(device ? { deviceId: { exact: device } } : {}) }, audio: false });
  } catch (err) {
    throw new Error(whyNot(kind, err instanceof DOMException ? err.name : ""), { cause: err });
  }
}

function whyNot(kind: CaptureKind, name: string): string {
  const what = kind === "screen" ? "the screen" : "the camera";
  switch (name) {
    case "NotAllowedError":
      return `The browser was not allowed to use ${what}. Allow it for this page, beside its address, and start again.`;
    case "NotFoundError":
      return kind === "screen" ? "There is no screen that the browser could show." : "This machine has no camera that the browser finds. Plug one in and start again.";
    case "OverconstrainedError":
      return "The chosen camera is gone. Choose another one and start again.";
    case "NotReadableError":
    case "AbortError":
      return `Something else uses ${what}, or its driver refuses. Close what uses it and start again.`;
    default:
      return `The browser did not hand out ${what}${name ? ` (${name})` : ""}.`;
  }
}

export function release(stream: MediaStream | undefined): void {
  for (const track of stream?.getTracks() ?? []) track.stop();
}
