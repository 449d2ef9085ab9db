// Publishes a moving picture over WHIP, as a page with a camera would. watchpostPublish
// resolves to the session's address; watchpostSending tells how the sending goes.
let watchpostPeer;

async function watchpostPublish(name, width, height) {
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = height;
  const draw = canvas.getContext('2d');
  let n = 0;
  // A timer, not an animation frame: those rest in a page that nobody sees.
  setInterval(() => {
    n++;
    draw.fillStyle = '#555';
    draw.fillRect(0, 0, width, height);
    draw.fillStyle = '#ddd';
    draw.fillRect((n * 5) % width, height / 3, width / 6, height / 3);
    // Noise is what costs bits: without it no encoder would use the line.
    for (let i = 0; i < 600; i++) {
      draw.fillStyle = `hsl(${Math.random() * 360} 80% 50%)`;
      draw.fillRect(Math.random() * width, Math.random() * height / 4, 8, 8);
    }
  }, 33);
  const pc = watchpostPeer = new RTCPeerConnection();
  const track = canvas.captureStream(30).getVideoTracks()[0];
  pc.addTransceiver(track, {direction: 'sendonly'});
  await pc.setLocalDescription(await pc.createOffer());
  const res = await fetch('/api/v1/whip/' + name, {method: 'POST', headers: {'Content-Type': 'application/sdp'}, body: pc.localDescription.sdp});
  if (res.status != 201) return res.status + ' ' + await res.text();
  await pc.setRemoteDescription({type: 'answer', sdp: await res.text()});
  return res.headers.get('Location');
}

async function watchpostSending() {
  const out = {state: watchpostPeer.connectionState, codec: '', frames: 0, keys: 0, plis: 0, nacks: 0, width: 0, available: 0, target: 0, rtt: -1, limited: ''};
  const stats = await watchpostPeer.getStats();
  for (const s of stats.values()) {
    if (s.type == 'outbound-rtp') Object.assign(out, {frames: s.framesEncoded || 0, keys: s.keyFramesEncoded || 0, plis: s.pliCount || 0, nacks: s.nackCount || 0,
      width: s.frameWidth || 0, target: s.targetBitrate || 0, limited: s.qualityLimitationReason || '', codec: stats.get(s.codecId)?.mimeType || ''});
    if (s.type == 'candidate-pair' && s.nominated) out.available = s.availableOutgoingBitrate || 0;
    if (s.type == 'remote-inbound-rtp') out.rtt = s.roundTripTime ?? -1;
  }
  return JSON.stringify(out);
}
