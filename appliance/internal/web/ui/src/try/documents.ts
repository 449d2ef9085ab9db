import { count } from "../words";

// What the box says of each frame. A message is [frame_id][index][total][payload], the
// numbers in 32 bits, little end first; the payloads of one frame_id are a JSON document,
// compressed where it begins as gzip does.

/** A document of the worker protocol. */
export interface Findings {
  serialized_output_data: Record<string, unknown> | null;
  video_metadata: { frame_id: number; pts: number; declared_fps: number | null; measured_fps: number | null; width: number; height: number } | null;
  errors: string[];
  processing_complete: boolean;
  termination_reason: string | null;
}

const header = 12;
const mostParts = 2_048; // of 48 KiB: more than the box sends of one frame
const mostOpen = 8; // documents of which parts are missing; the box sends one after the other

/** Puts documents together. */
export class Assembler {
  private readonly open = new Map<number, { parts: (Uint8Array<ArrayBuffer> | undefined)[]; missing: number }>();

  /** Takes a message; returns the document that it makes whole. Throws on what is none. */
  take(message: ArrayBuffer): { frame: number; parts: Uint8Array<ArrayBuffer>[] } | undefined {
    if (message.byteLength < header) throw new Error("a message that is too short");
    const head = new DataView(message);
    const frame = head.getUint32(0, true);
    const index = head.getUint32(4, true);
    const total = head.getUint32(8, true);
    if (total === 0 || total > mostParts || index >= total) throw new Error(`part ${index} of ${total}`);
    let doc = this.open.get(frame);
    if (!doc) {
      doc = { parts: Array.from({ length: total }, () => undefined), missing: total };
      this.open.set(frame, doc);
      const oldest = this.open.keys().next();
      if (this.open.size > mostOpen && !oldest.done) this.open.delete(oldest.value);
    }
    if (doc.parts.length !== total) throw new Error(`part ${index} of ${total}, where there were ${doc.parts.length}`);
    if (doc.parts[index]) return undefined;
    doc.parts[index] = new Uint8Array(message, header);
    if (--doc.missing > 0) return undefined;
    this.open.delete(frame);
    return { frame, parts: doc.parts.filter((p) => p !== undefined) };
  }
}

export async function parse(parts: Uint8Array<ArrayBuffer>[]): Promise<Findings> {
  let blob = new Blob(parts);
  const first = parts[0];
  if (first?.[0] === 0x1f && first[1] === 0x8b) {
    blob = await new Response(blob.stream().pipeThrough(new DecompressionStream("gzip"))).blob();
  }
  const d = JSON.parse(await blob.text()) as Partial<Findings>;
  return {
    serialized_output_data: d.serialized_output_data ?? null,
    video_metadata: d.video_metadata ?? null,
    errors: Array.isArray(d.errors) ? d.errors.map(String) : [],
    processing_complete: d.processing_complete === true,
    termination_reason: d.termination_reason ?? null,
  };
}

const longest = 200; // characters of a string that is shown
const mostItems = 30; // of a list
const mostText = 20_000; // characters of a whole document

/** A document as a person reads it, bounded whatever is in it. */
export function preview(doc: unknown): string {
  const text = JSON.stringify(
    doc,
    (_, v: unknown) => {
      if (typeof v === "string" && v.length > longest) return `${v.slice(0, longest)}… (${count(v.length)} characters)`;
      if (Array.isArray(v) && v.length > mostItems) return [...(v as unknown[]).slice(0, mostItems), `… and ${count(v.length - mostItems)} more`];
      return v;
    },
    2,
  );
  return text.length > mostText ? `${text.slice(0, mostText)}\n… (${count(text.length)} characters)` : text;
}
