// What the box's API says; the same names as in /openapi.json.

export type CameraState = "starting" | "connecting" | "playing" | "offline" | "ended" | "failing" | "stopped";

export interface Stream {
  codec?: string;
  width?: number;
  height?: number;
  fps?: number;
  rotation?: number;
  decoder?: string;
}

export interface Ledger {
  decoded: number;
  inferred: number;
  skipped: number;
  skipped_no_motion: number;
  skipped_rate_limit: number;
  skipped_heat: number;
  dropped: number;
  failed: number;
  pending: number;
  pictures_sent: number;
  pictures_dropped: number;
  decoder_errors: number;
  balanced: boolean;
}

export interface DetectedObject {
  id: number;
  label: string;
  score: number;
}

export interface Camera {
  id: string;
  name: string;
  state: CameraState;
  reason?: string;
  since: string;
  stream?: Stream;
  analyser?: string;
  runtime?: string;
  encoder?: string;
  boxes?: "burned" | "client";
  boxes_reason?: string;
  ledger: Ledger;
  rates: { source_fps: number; analysed_fps: number; analyse_ms: number; encode_ms: number };
  worker?: { pid: number; rss_bytes: number; cpu_seconds: number; started: string };
  restarts: { count: number; last?: string; exit?: string; stderr?: string[] };
  viewers: number;
  objects: DetectedObject[];
}

export interface Detections {
  camera: string;
  objects: DetectedObject[];
}

export interface CodecElement {
  codec: string;
  element: string;
  kind?: string;
  proven: boolean;
  chosen: boolean;
  reason?: string;
}

export interface Hardware {
  decoders: CodecElement[];
  encoders: CodecElement[];
  accelerators: { name: string; proven: boolean; reason?: string; version?: string }[];
  cameras: { path: string; name: string; formats?: string[]; problem?: string }[];
}

export interface Model {
  name: string;
  family: string;
  licence: string;
  input?: string;
  labels: string[];
  used_by: string[];
  problem?: string;
}

export interface System {
  version: string;
  started: string;
  uptime_seconds: number;
  rss_bytes: number;
  goroutines: number;
  notes?: string[];
  loops: { name: string; p99_ms: number; max_ms: number; stalls: number; last_stall?: string }[];
  queues: { name: string; policy: string; instances: number; depth: number; capacity: number; fullest: number; dropped: number }[];
}

/** A file that the stall meter left, of a control loop that was held up. */
export interface Trace {
  name: string;
  kind: "trace" | "goroutines";
  loop?: string;
  taken: string;
  bytes: number;
}

/** An open session of the worker protocol. */
export interface WorkerSessionInfo {
  id: string;
  source: "unknown" | "track" | "upload" | "rtsp" | "mjpeg";
  state: string;
  reason?: string;
  since: string;
  peer?: string;
  frames: number;
  documents: number;
  documents_left_out: number;
  bytes: number;
  video?: string;
  pid?: number;
}

/** One upload, by whichever road its bytes come. */
export interface Upload {
  id: string;
  name: string;
  size: number | null;
  received: number;
  contiguous: number;
  status: "receiving" | "checking" | "complete" | "refused";
  sha256?: string;
  problem?: string;
  created: string;
  updated: string;
  completed?: string;
  expires?: string;
  rate_bytes_per_s: number;
  left_s?: number;
  jobs: string[];
}

export type JobStatus = "waiting" | "queued" | "running" | "paused" | "done" | "failed" | "canceled" | "set_aside";

export interface JobSettings {
  model?: string;
  threshold?: number;
  classes?: string[];
  gate?: boolean;
  max_fps?: number;
  no_video?: boolean;
  track?: number;
}

export interface Job {
  id: string;
  upload: string;
  name: string;
  status: JobStatus;
  priority: number;
  settings: JobSettings;
  streamed: boolean;
  attempts: number;
  deaths: number;
  reason?: string;
  progress: { frames: number; position_s: number; duration_s: number | null; fps: number; percent: number | null };
  results: number;
  created: string;
  started?: string;
  ended?: string;
  not_before?: string;
  ledger?: Ledger;
  outcome?: Summary;
}

/** summary.json */
export interface Summary {
  source: { name: string; bytes: number; sha256?: string; codec?: string; width?: number; height?: number; fps?: number; rotation?: number; decoder?: string; seconds?: number };
  analyser: string;
  model?: { name: string; sha256: string };
  runtime?: string;
  encoder?: string;
  settings?: { threshold?: number; motion_gate?: boolean; max_fps?: number; track?: number; classes?: string[] };
  results: number;
  objects: number;
  classes: Record<string, { boxes: number; tracks: number }>;
  timing?: { seconds: number; fps: number; runs: number };
  warnings?: string[];
}

export interface JobFile {
  name: string;
  media_type: string;
  bytes: number;
  complete: boolean;
}

/** One line of a job's results: what was seen in one frame. */
export interface ResultLine {
  seq: number;
  seconds: number;
  objects: DetectedObject[];
}
