"""A client of the worker protocol, on aiortc, as an application would write it."""

import asyncio
import json
import time
import urllib.error
import urllib.request

from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

import wire

# aiortc queues without bound: what may wait to be sent is the client's to bound.
MOST_BUFFERED = 1 << 20


class Refused(Exception):
    """The box's answer to a request that it does not serve."""

    def __init__(self, status, headers, body):
        super().__init__(f"{status}: {body}")
        self.status, self.headers, self.body = status, headers, body


class Session:
    """One session. on_document(id, document, gzipped) and on_picture(frame) are called on the loop."""

    def __init__(self, on_document, on_picture):
        self.on_document, self.on_picture = on_document, on_picture
        # Without this aiortc 1.4 asks nobody, but later ones ask a public STUN server.
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.documents = wire.Documents()
        self.inference = self.uploads = None
        self.opened = asyncio.Event()
        self.ended = asyncio.Event()  # the connection is gone
        self.complete = asyncio.Event()  # processing_complete came
        self.echoes = []  # what came back on video_upload
        self.faults = []  # what broke the protocol
        self.track_ended = False
        self._tasks = set()
        self._connected = asyncio.Event()
        self.pc.on("connectionstatechange", self._state)
        self.pc.on("track", self._track)

    def _state(self):
        if self.pc.connectionState == "connected":
            self._connected.set()
        if self.pc.connectionState in ("closed", "failed"):
            self.ended.set()

    def _track(self, track):
        self._keep(asyncio.ensure_future(self._pictures(track)))

    def _keep(self, task):
        self._tasks.add(task)

    async def _pictures(self, track):
        try:
            while True:
                self.on_picture(await track.recv())
        except MediaStreamError:
            self.track_ended = True

    def channel(self, label="inference"):
        """Makes the channel on which documents come."""
        self.inference = self.pc.createDataChannel(label)
        self.inference.on("open", self.opened.set)
        self.inference.on("message", self._message)
        self.inference.on("close", self.ended.set)

    def _message(self, message):
        try:
            if isinstance(message, str):
                raise wire.Broken(f"a text came on inference: {message[:100]!r}")
            whole = self.documents.add(message)
            if whole:
                self.on_document(*whole)
                if whole[1]["processing_complete"]:
                    self.complete.set()
        except Exception as e:  # an exception in a handler would only be logged
            self.faults.append(f"{type(e).__name__}: {e}")

    def upload_channel(self):
        """Makes the channel that takes a file."""
        self.uploads = self.pc.createDataChannel("video_upload")
        self.uploads.on("message", self.echoes.append)

    def video(self, track=None, receive=True, codec=None):
        """Asks for the box's video track, or sends one, or both."""
        direction = "recvonly" if track is None else "sendrecv" if receive else "sendonly"
        transceiver = self.pc.addTransceiver(track or "video", direction=direction)
        if codec:
            known = RTCRtpSender.getCapabilities("video").codecs
            transceiver.setCodecPreferences([c for c in known if c.mimeType == "video/" + codec])

    async def open(self, box, request, headers=None):
        """Sends the offer and takes the answer; returns the answer and how long it took."""
        await self.pc.setLocalDescription(await self.pc.createOffer())
        offer = self.pc.localDescription
        body = dict(request, webrtc_offer={"type": offer.type, "sdp": offer.sdp})
        begun = time.monotonic()
        answer = await asyncio.get_running_loop().run_in_executor(None, post, box, body, headers or {})
        took = time.monotonic() - begun
        await self.pc.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
        return answer, took

    async def connected(self, within=60):
        waiting = [self._connected.wait()] + ([self.opened.wait()] if self.inference else [])
        await asyncio.wait_for(asyncio.gather(*waiting), within)

    def say(self, text):
        if self.inference and self.inference.readyState == "open":
            self.inference.send(text if isinstance(text, str) else json.dumps(text))

    async def send(self, message):
        """Sends one message of a file once there is room for it; False if the connection went."""
        while self.uploads.readyState == "connecting" or self.uploads.bufferedAmount > MOST_BUFFERED:
            if self.ended.is_set():
                return False
            await asyncio.sleep(0.005)
        if self.uploads.readyState != "open":
            return False
        self.uploads.send(message)
        return True

    async def close(self):
        await self.pc.close()
        for t in self._tasks:
            t.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def post(box, body, headers):
    request = urllib.request.Request(
        box + "/initialise_webrtc_worker", json.dumps(body).encode(), {"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as e:
        with e:
            raise Refused(e.code, e.headers, json.load(e)) from None
