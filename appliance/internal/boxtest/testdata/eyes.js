// Looks at the pixels of one player for some seconds and compares them with the
// detections of the very frames that were shown: both have the time of the frame,
// the picture as its RTP timestamp (90 kHz, from an unknown start), the detections
// as pts_ns. The start is the one under which most outlines have their colours.
window.watchpostEyes = async (id, seconds) => {
  const video = document.querySelector(`[data-testid=player][data-camera=${id}] video`);
  const detections = [];
  const source = new EventSource(`/api/v1/cameras/${id}/events?detections=every`);
  source.addEventListener("detections", (e) => detections.push(JSON.parse(e.data)));

  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const frames = [];
  const shown = { frames: 0, moved: 0, changes: 0, before: null };
  const until = performance.now() + seconds * 1000;
  await new Promise((resolve) => {
    const timeout = setTimeout(resolve, seconds * 1000 + 3000);
    const next = (_, meta) => {
      canvas.width = video.videoWidth;
      canvas.height = video.videoHeight;
      context.drawImage(video, 0, 0);
      const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
      shown.frames++;
      const luma = thumbnail(pixels);
      if (shown.before?.length === luma.length) {
        shown.moved += luma.reduce((sum, v, i) => sum + Math.abs(v - shown.before[i]), 0) / luma.length;
        shown.changes++;
      }
      shown.before = luma;
      // What is kept is bounded: 120 pictures.
      if (meta.rtpTimestamp !== undefined && frames.length < 120) frames.push({ rtp: meta.rtpTimestamp, pixels });
      if (performance.now() < until) video.requestVideoFrameCallback(next);
      else { clearTimeout(timeout); resolve(); }
    };
    video.requestVideoFrameCallback(next);
  });
  await new Promise((resolve) => setTimeout(resolve, 500)); // the last frames' detections
  source.close();

  const report = { frames: shown.frames, moved: shown.changes ? shown.moved / shown.changes : 0, matched: 0, boxes: 0, on: 0, off: 0, good: 0, labels: [], trace: [] };
  const start = findStart(frames, detections);
  report.trace.push(`${frames.length} pictures kept, ${detections.length} detections, start ${start}`);
  if (start !== undefined) compare(frames, detections, start, report);
  return JSON.stringify(report);
};

// palette is what the box draws with: the hue is chosen by class and id.
var palette = [[0x56, 0xb4, 0xe9], [0xff, 0xb0, 0x1f], [0x1c, 0xc4, 0x94], [0xf5, 0xe6, 0x42], [0xf0, 0x76, 0x33], [0xe0, 0x8d, 0xc0], [0x3d, 0x8b, 0xff], [0xb8, 0xe0, 0xf5], [0xff, 0xd9, 0x9a], [0x9b, 0xe8, 0xd0]];
var classes = { motion: 0, person: 0 };
var known = (o) => o.label in classes;
var colourOf = (o) => palette[(classes[o.label] * 7 + o.id) % palette.length];

var chroma = (r, g, b) => { const y = 0.299 * r + 0.587 * g + 0.114 * b; return [0.564 * (b - y), 0.713 * (r - y)]; };

// likeness is how much of a colour's hue a pixel has: 1 for the colour itself, 0
// for grey or another hue.
function likeness(pixels, x, y, want) {
  const at = 4 * (clamp(y, pixels.height) * pixels.width + clamp(x, pixels.width));
  const c = chroma(pixels.data[at], pixels.data[at + 1], pixels.data[at + 2]);
  return (c[0] * want[0] + c[1] * want[1]) / (want[0] * want[0] + want[1] * want[1]);
}

function clamp(v, size) { return Math.min(Math.max(Math.round(v), 0), size - 1); }

// isLine tells whether a line of the colour runs through a pixel or one next to
// it, across the direction (dx, dy): it must have more of the hue than what is
// some pixels away on either side, for a scene may have the hue too. A thin
// line has half of the picture's resolution and loses colour in the encoder.
function isLine(pixels, x, y, dx, dy, want) {
  let most = 0;
  for (let i = -1; i <= 2; i++) most = Math.max(most, likeness(pixels, x + i * dx, y + i * dy, want));
  const around = Math.max(likeness(pixels, x - 6 * dx, y - 6 * dy, want), likeness(pixels, x + 7 * dx, y + 7 * dy, want), 0);
  return most - around > 0.15;
}

// outline is the share of a box's outline, grown by some pixels, that is a line
// of the object's colour.
function outline(pixels, o, grow) {
  const want = chroma(...colourOf(o));
  const x0 = o.x0 - grow, x1 = o.x1 - 1 + grow, y0 = o.y0 - grow, y1 = o.y1 - 1 + grow;
  let hits = 0, all = 0;
  const probe = (x, y, dx, dy) => {
    // An edge that lies on the picture's is not told from one that is missing.
    if (x < 8 || y < 8 || x >= pixels.width - 8 || y >= pixels.height - 8) return;
    all++;
    if (isLine(pixels, x, y, dx, dy, want)) hits++;
  };
  for (let i = 1; i < 20; i++) {
    const x = x0 + ((x1 - x0) * i) / 20, y = y0 + ((y1 - y0) * i) / 20;
    probe(x, y1, 0, -1); // inwards: lines lie within the box
    probe(x0, y, 1, 0);
    probe(x1, y, -1, 0);
    // The label stands on the upper edge, in the same colour.
  }
  return all < 15 ? undefined : hits / all;
}

var ticks = (d) => Math.round((d.pts_ns * 9) / 100000);
var of = (detections, start, rtp) => detections.find((d) => Math.abs(((ticks(d) + start - rtp) | 0)) <= 180);

// findStart tries the distances of pictures and detections and takes the one
// under which the most boxes are where they should be.
function findStart(frames, detections) {
  const sample = [];
  for (let i = 0; i < frames.length; i += Math.max(1, Math.floor(frames.length / 12))) sample.push(frames[i]);
  const middle = frames[Math.floor(frames.length / 2)];
  if (!middle) return undefined;
  let best, most = 0;
  for (const d of detections) {
    const start = (middle.rtp - ticks(d)) | 0;
    let sum = 0;
    for (const f of sample) {
      const its = of(detections, start, f.rtp);
      for (const o of its?.objects ?? []) if (known(o)) sum += (outline(f.pixels, o, 0) ?? 0) - 0.3;
    }
    if (sum > most) { most = sum; best = start; }
  }
  return best;
}

function compare(frames, detections, start, report) {
  let on = 0, off = 0;
  for (const f of frames) {
    const its = of(detections, start, f.rtp);
    const objects = (its?.objects ?? []).filter(known);
    let any = false;
    for (const o of objects) {
      const here = outline(f.pixels, o, 0), beside = outline(f.pixels, o, 7);
      if (here === undefined || beside === undefined) continue;
      any = true;
      report.boxes++;
      on += here;
      off += beside;
      if (here > 0.5 && here > 2 * beside) report.good++;
      else if (report.trace.length < 12) report.trace.push(`frame ${its.frame}: ${o.label} #${o.id} ${Math.round(o.x0)},${Math.round(o.y0)}..${Math.round(o.x1)},${Math.round(o.y1)}: ${here.toFixed(2)}, beside ${beside.toFixed(2)}`);
      if (!report.labels.includes(o.label)) report.labels.push(o.label);
    }
    if (any) report.matched++;
  }
  report.on = report.boxes ? on / report.boxes : 0;
  report.off = report.boxes ? off / report.boxes : 0;
}

// thumbnail is the luma of every 16th pixel of every 16th row.
function thumbnail(pixels) {
  const out = [];
  for (let y = 0; y < pixels.height; y += 16) {
    for (let x = 0; x < pixels.width; x += 16) {
      const at = 4 * (y * pixels.width + x);
      out.push(0.299 * pixels.data[at] + 0.587 * pixels.data[at + 1] + 0.114 * pixels.data[at + 2]);
    }
  }
  return out;
}
