// What a session is asked to do, as the box's workflow.

export type Source = { kind: "camera"; stream: MediaStream } | { kind: "file"; file: File } | { kind: "address"; url: string };

/** What a person chose. */
export interface Wish {
  model: string;
  classes: string[];
  confidence: number | undefined; // 0 to 1; undefined: the model's own
  track: boolean;
  realtime: boolean;
}

/** What is drawn; it can be changed while the session runs. */
export interface Drawn {
  boxes: boolean;
  labels: boolean;
}

/** The name of the workflow's output that has this drawn. Those that are not asked for are not made. */
export function pictureOf(d: Drawn): string {
  if (d.boxes && d.labels) return "boxes_and_labels";
  if (d.boxes) return "boxes";
  return d.labels ? "labels" : "frame";
}

const prefix = "roboflow_core/";

function workflow(w: Wish): unknown {
  const found = w.track ? "$steps.track.tracked_detections" : "$steps.detect.predictions";
  const colours = { color_axis: w.track ? "TRACK" : "CLASS" };
  const boxes = { type: `${prefix}bounding_box_visualization@v1`, predictions: found, ...colours };
  const labels = { type: `${prefix}label_visualization@v1`, predictions: found, text: "Class and Confidence", ...colours };
  const steps: unknown[] = [
    {
      type: `${prefix}roboflow_object_detection_model@v3`,
      name: "detect",
      images: "$inputs.image",
      model_id: w.model,
      ...(w.confidence === undefined ? {} : { confidence_mode: "custom", custom_confidence: w.confidence }),
      ...(w.classes.length === 0 ? {} : { class_filter: w.classes }),
    },
    { ...boxes, name: "boxes", image: "$inputs.image" },
    { ...labels, name: "labels", image: "$inputs.image" },
    { ...labels, name: "both", image: "$steps.boxes.image" },
  ];
  if (w.track) steps.splice(1, 0, { type: `${prefix}byte_tracker@v3`, name: "track", image: "$inputs.image", detections: "$steps.detect.predictions" });
  const output = (name: string, selector: string): unknown => ({ type: "JsonField", name, selector });
  return {
    version: "1.0",
    inputs: [{ type: "InferenceImage", name: "image" }],
    steps,
    outputs: [
      output("found", found),
      output("frame", "$inputs.image"),
      output("boxes", "$steps.boxes.image"),
      output("labels", "$steps.labels.image"),
      output("boxes_and_labels", "$steps.both.image"),
    ],
  };
}

/** The body of the request, but for the offer. Throws on an address that is none. */
export function request(source: Source, wish: Wish, drawn: Drawn): Record<string, unknown> {
  return {
    workflow_configuration: { type: "WorkflowConfiguration", image_input_name: "image", workflow_specification: workflow(wish) },
    stream_output: [pictureOf(drawn)],
    data_output: ["*"],
    webrtc_realtime_processing: wish.realtime,
    ...(source.kind === "file" ? { video_file_upload: true } : {}),
    ...(source.kind === "address" ? address(source.url) : {}),
  };
}

function address(url: string): Record<string, string> {
  if (/^rtsps?:/i.test(url)) return { rtsp_url: url };
  if (/^https?:/i.test(url)) return { mjpeg_url: url };
  throw new Error("The address has to begin with rtsp: or rtsps: (a camera's stream), or with http: or https: (motion JPEG).");
}
