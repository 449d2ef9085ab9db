// A client of the worker protocol as a page has one. watchpostWorker(plan) plays a
// session and returns its facts as JSON; the page shows the video meanwhile.
//
// plan: request (the request's fields), camera (send the browser's own), receive (ask for
// the box's track), file (URL of a file to upload), documents and pictures (how many are enough)
window.watchpostWorker = async (plan) => {
  const facts = {documents: [], pictures: [], faults: [], echoes: 0, closed: false};
  const pc = new RTCPeerConnection();
  const video = document.querySelector('video');
  const enough = Promise.withResolvers();
  const reconsider = () => {
    const last = facts.documents.at(-1);
    if (last?.processing_complete) enough.resolve('complete');
    if (!plan.file && facts.documents.length >= (plan.documents ?? 0) && facts.pictures.length >= (plan.pictures ?? 0)) enough.resolve('enough');
  };
  pc.onconnectionstatechange = () => {
    if (pc.connectionState === 'failed') enough.resolve('failed');
  };

  const inference = pc.createDataChannel('inference');
  inference.binaryType = 'arraybuffer';
  inference.onclose = () => { facts.closed = true; };
  const parts = new Map();
  let turn = Promise.resolve(); // documents are taken one after the other
  inference.onmessage = ({data}) => {
    const head = new DataView(data);
    const [frame, index, total] = [0, 4, 8].map((at) => head.getUint32(at, true));
    const list = parts.get(frame) ?? Array(total).fill(null);
    parts.set(frame, list);
    if (list.length !== total || list[index] !== null) facts.faults.push(`frame ${frame}: chunk ${index} of ${total}`);
    list[index] = new Uint8Array(data, 12);
    if (list.includes(null)) return;
    parts.delete(frame);
    turn = turn.then(() => take(frame, list)).catch((e) => facts.faults.push(`frame ${frame}: ${e}`));
  };
  const take = async (frame, list) => {
    let text = new Blob(list);
    if (list[0][0] === 0x1f && list[0][1] === 0x8b) {
      text = await new Response(text.stream().pipeThrough(new DecompressionStream('gzip'))).blob();
    }
    const document = {id: frame, ...JSON.parse(await text.text())};
    for (const [name, value] of Object.entries(document.serialized_output_data ?? {})) {
      if (value.type === 'base64') document.serialized_output_data[name] = await sizeOf(value.value);
    }
    facts.documents.push(document);
    if (frame && inference.readyState === 'open') inference.send(JSON.stringify({ack: frame}));
    reconsider();
  };

  if (plan.camera) {
    const stream = await navigator.mediaDevices.getUserMedia({video: {width: 640, height: 480, frameRate: 20}});
    pc.addTransceiver(stream.getVideoTracks()[0], {direction: plan.receive ? 'sendrecv' : 'sendonly', streams: [stream]});
  } else if (plan.receive) {
    pc.addTransceiver('video', {direction: 'recvonly'});
  }
  pc.ontrack = ({track}) => {
    video.srcObject = new MediaStream([track]);
    const each = (_, meta) => {
      facts.pictures.push({pts: meta.rtpTimestamp, width: meta.width, height: meta.height, presented: meta.presentedFrames});
      reconsider();
      video.requestVideoFrameCallback(each);
    };
    video.requestVideoFrameCallback(each);
  };
  if (plan.file) upload(pc, plan.file, facts);

  await pc.setLocalDescription();
  await new Promise((done) => {
    if (pc.iceGatheringState === 'complete') done();
    pc.onicegatheringstatechange = () => pc.iceGatheringState === 'complete' && done();
  });
  const response = await fetch('/initialise_webrtc_worker', {
    method: 'POST',
    headers: {'Content-Type': 'application/json'},
    body: JSON.stringify({...plan.request, webrtc_offer: {type: 'offer', sdp: pc.localDescription.sdp}}),
  });
  const answer = await response.json();
  if (!response.ok) return JSON.stringify({...facts, refused: answer});
  await pc.setRemoteDescription({type: answer.type, sdp: answer.sdp});

  const limit = setTimeout(() => enough.resolve('nothing'), 40e3);
  facts.ended = await enough.promise;
  clearTimeout(limit);
  if (facts.ended === 'complete') {
    for (let i = 0; i < 80 && !facts.closed; i++) await new Promise((done) => setTimeout(done, 100));
  }
  facts.video = {width: video.videoWidth, height: video.videoHeight};
  window.watchpostEnd = () => pc.close();
  return JSON.stringify(facts);
};

// upload sends a file in chunks of 48 KiB, after a keep-alive, waiting while much is waiting.
const upload = (pc, url, facts) => {
  const channel = pc.createDataChannel('video_upload');
  channel.binaryType = 'arraybuffer';
  channel.onmessage = ({data}) => { if (data.byteLength === 1) facts.echoes++; };
  channel.onopen = async () => {
    channel.send(new Uint8Array([7]));
    const file = await (await fetch(url)).arrayBuffer();
    const size = 48 << 10, total = Math.ceil(file.byteLength / size);
    for (let i = 0; i < total; i++) {
      while (channel.bufferedAmount > 1 << 20) await new Promise((done) => setTimeout(done, 5));
      const payload = new Uint8Array(file, i * size, Math.min(size, file.byteLength - i * size));
      const message = new Uint8Array(8 + payload.length);
      new DataView(message.buffer).setUint32(0, i, true);
      new DataView(message.buffer).setUint32(4, total, true);
      message.set(payload, 8);
      channel.send(message);
    }
  };
};

const sizeOf = async (base64) => {
  const image = new Image();
  image.src = 'data:image/jpeg;base64,' + base64;
  await image.decode();
  return {picture: {width: image.naturalWidth, height: image.naturalHeight}, bytes: base64.length};
};
