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
  loops: { name: string; p99_ms: number; max_ms: number; stalls: number; last_stall?: string }[];
}
