// Loaded before the page: notes what comes over the data channel of boxes, and
// looks at canvas and video of a player independently of the page's own code.
window.boxMessages = new Map();
window.boxNewest = undefined;
const create = RTCPeerConnection.prototype.createDataChannel;
RTCPeerConnection.prototype.createDataChannel = function (...args) {
  const channel = create.apply(this, args);
  if (args[0] === "boxes") channel.addEventListener("message", (e) => {
    const m = JSON.parse(e.data);
    window.boxMessages.set(m.rtp_timestamp, m);
    window.boxNewest = m.rtp_timestamp;
  });
  return channel;
};

// watchpostOverlay looks at a player for some seconds, at every frame shown.
window.watchpostOverlay = (id, seconds) => new Promise((done) => {
  const player = document.querySelector(`[data-testid=player][data-camera=${id}]`);
  const video = player.querySelector("video");
  const canvas = player.querySelector("canvas");
  const scratch = document.createElement("canvas");
  const out = { frames: 0, drawn: 0, exact: 0, boxes: 0, on: 0, points: 0, inside: 0, insidePoints: 0, stray: 0, strayPoints: 0, offsets: [], behind: [], lag: [], drawnOffsets: [], width: video.videoWidth };
  const end = performance.now() + seconds * 1000;
  // blockOf finds the middle of the clip's bright block, if it is wholly in the
  // picture, along a line through the picture's middle.
  const blockOf = () => {
    scratch.width = video.videoWidth;
    scratch.height = video.videoHeight;
    const s = scratch.getContext("2d", { willReadFrequently: true });
    s.drawImage(video, 0, 0);
    const row = s.getImageData(0, scratch.height >> 1, scratch.width, 1).data;
    let [left, right] = [-1, -1];
    for (let x = 0; x < scratch.width; x++) if (row[4 * x] > 130) {
      if (left < 0) left = x;
      right = x;
    }
    return left > 2 && right < scratch.width - 3 ? (left + right) / 2 : undefined;
  };
  const look = (rtp) => {
    out.frames++;
    if (window.boxNewest !== undefined) out.lag.push(((window.boxNewest - rtp) | 0) / 90);
    const shown = canvas.dataset.rtp === "" ? undefined : Number(canvas.dataset.rtp);
    if (shown === undefined) return;
    out.drawn++;
    out.behind.push(((rtp - shown) | 0) / 90);
    const m = window.boxMessages.get(shown);
    if (!m || m.objects.length === 0) return;
    const block = blockOf();
    if (block !== undefined) {
      // One box around it: its sides, along the same line.
      const y = canvas.height >> 1;
      const line = canvas.getContext("2d").getImageData(0, y, canvas.width, 1).data;
      let [left, right] = [-1, -1];
      for (let x = 0; x < canvas.width; x++) if (line[4 * x + 3] > 200) {
        if (left < 0) left = x;
        right = x;
      }
      const fit = Math.min(canvas.width / video.videoWidth, canvas.height / video.videoHeight);
      const at = ((left + right) / 2 - (canvas.width - video.videoWidth * fit) / 2) / fit;
      if (left >= 0) out.drawnOffsets.push(at - block);
    }
    if (shown !== rtp) return; // moved to where the objects are thought to be
    out.exact++;
    const g = canvas.getContext("2d");
    const pixels = g.getImageData(0, 0, canvas.width, canvas.height);
    const alpha = (x, y) => pixels.data[4 * (Math.round(y) * canvas.width + Math.round(x)) + 3] ?? 0;
    const coloured = (x, y) => {
      // The line is thin: the nearest of some pixels around counts.
      for (let d = -3; d <= 3; d++) for (const [px, py] of [[x + d, y], [x, y + d]]) {
        const i = 4 * (Math.round(py) * canvas.width + Math.round(px));
        const [r, gr, b, a] = pixels.data.slice(i, i + 4);
        if (a > 200 && Math.max(r, gr, b) - Math.min(r, gr, b) > 60) return true;
      }
      return false;
    };
    const scale = Math.min(canvas.width / video.videoWidth, canvas.height / video.videoHeight);
    const [ox, oy] = [(canvas.width - video.videoWidth * scale) / 2, (canvas.height - video.videoHeight * scale) / 2];
    const [sx, sy] = [(video.videoWidth * scale) / m.width, (video.videoHeight * scale) / m.height];
    for (const o of m.objects) {
      const [x0, y0, x1, y1] = [ox + o.x0 * sx, oy + o.y0 * sy, ox + o.x1 * sx, oy + o.y1 * sy];
      if (x1 - x0 < 60 || y1 - y0 < 60 || x0 < ox + 8 || x1 > ox + m.width * sx - 8) continue;
      out.boxes++;
      for (const [x, y] of [[x0 + 1, (y0 + y1) / 2], [x1 - 2, (y0 + y1) / 2], [(x0 + x1) / 2, y1 - 2], [x0 + 1, y0 + 0.7 * (y1 - y0)]]) {
        out.points++;
        if (coloured(x, y)) out.on++;
      }
      out.insidePoints++;
      if (alpha((x0 + x1) / 2, y0 + 0.6 * (y1 - y0)) === 0) out.inside++;
    }
    if (block !== undefined) for (const o of m.objects) out.offsets.push(((o.x0 + o.x1) / 2) * (scratch.width / m.width) - block);
  };
  const next = (now, frame) => {
    // After all callbacks of this frame, the page's own included.
    Promise.resolve().then(() => look(frame.rtpTimestamp));
    if (performance.now() < end) video.requestVideoFrameCallback(next);
    else done(JSON.stringify(out));
  };
  video.requestVideoFrameCallback(next);
});
