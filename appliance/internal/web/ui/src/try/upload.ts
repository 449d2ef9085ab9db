// A file over the session's own channel: messages [index][total][payload], the numbers in
// 32 bits, little end first. The file is read as it is sent, and never waits in memory.

const payload = 48 << 10;
const atOnce = 16; // payloads that are read from the file together
const mostWaiting = 1 << 20; // bytes that wait in the browser

/** Sends a file; progress is told of every byte that was handed over. It ends early, without an error, when the channel is closed. */
export async function sendFile(channel: RTCDataChannel, file: File, progress: (sent: number) => void): Promise<void> {
  const total = Math.ceil(file.size / payload);
  channel.bufferedAmountLowThreshold = mostWaiting / 2;
  for (let first = 0; first < total; first += atOnce) {
    const bytes = new Uint8Array(await file.slice(first * payload, (first + atOnce) * payload).arrayBuffer());
    for (let i = 0; i * payload < bytes.length; i++) {
      if (channel.bufferedAmount > mostWaiting) await room(channel);
      if (channel.readyState !== "open") return;
      const part = bytes.subarray(i * payload, (i + 1) * payload);
      const message = new Uint8Array(8 + part.length);
      const head = new DataView(message.buffer);
      head.setUint32(0, first + i, true);
      head.setUint32(4, total, true);
      message.set(part, 8);
      channel.send(message);
      progress((first + i) * payload + part.length);
    }
  }
}

function room(channel: RTCDataChannel): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      channel.removeEventListener("bufferedamountlow", done);
      channel.removeEventListener("close", done);
      resolve();
    };
    channel.addEventListener("bufferedamountlow", done);
    channel.addEventListener("close", done);
    if (channel.readyState !== "open" || channel.bufferedAmount <= channel.bufferedAmountLowThreshold) done();
  });
}
