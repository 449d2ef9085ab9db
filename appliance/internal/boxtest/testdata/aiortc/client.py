"""Plays one session with a box and prints one JSON line of what happened.

    client.py MODE http://BOX:PORT [PLAN]

MODE says where the frames come from:
    camera   the client's own camera: frames at their rate on a video track
    byhand   the client's own frames, the next one only after the document of the last
    url      rtsp_url or mjpeg_url in the plan's request: the box pulls
    file     a file over the data channel video_upload

PLAN is JSON, or - to read it from standard input; all of it is optional:
    request   fields of the request, besides the offer;  headers  of HTTP
    frames, fps, width, height   of the client's own frames (90, 15, 320, 240)
    receive   the box's video track is asked for (true);  codec   VP8 or H264, the only one offered
    label     of the data channel ("inference"); "" for none
    file, upload {shuffle, repeat, pings, fault, until}   what is uploaded, and how
    acks      "": none; "each": every document
    hold      {after, seconds, ack}: no ack after that id for so long; then that one on, or all ids seen
    say       texts sent when the channel opens
    changes   [{after, say}]: sent when the document of that id has come
    stop      {documents, pictures, seconds, how}: when, and by "close" or "vanish", the client ends it
    within    seconds until it is given up (60);  loopback   offer 127.0.0.1, which aiortc leaves out
"""

import asyncio
import fractions
import json
import os
import random
import re
import signal
import sys
import time

import aioice.ice
import aiortc
import av

import pictures
import session
import wire

CLOCK = 90000


class Camera(aiortc.MediaStreamTrack):
    """Grey frames with a moving block. By hand: the next one when it is handed over."""

    kind = "video"

    def __init__(self, plan, by_hand):
        super().__init__()
        self.plan, self.by_hand, self.at, self.begun = plan, by_hand, 0, None
        self.hand = asyncio.Semaphore(1)
        self.finished = asyncio.Event()

    async def recv(self):
        rate = self.plan.get("fps", 15)
        if self.at >= self.plan.get("frames", 90):
            self.finished.set()
            await asyncio.get_running_loop().create_future()  # a camera that stands still
        if self.by_hand:
            await self.hand.acquire()
        else:
            self.begun = self.begun or time.monotonic()
            await asyncio.sleep(self.begun + self.at / rate - time.monotonic())
        frame = pictures.paint(self.plan.get("width", 320), self.plan.get("height", 240), self.at, rate)
        frame.pts, frame.time_base = self.at * CLOCK // rate, fractions.Fraction(1, CLOCK)
        self.at += 1
        return frame


class Player:
    """Plays a plan and notes the facts."""

    def __init__(self, mode, box, plan):
        self.mode, self.box, self.plan = mode, box, plan
        self.begun = time.monotonic()
        self.facts = {"documents": [], "pictures": [], "reached": [], "uploaded": 0}
        self.changes = list(plan.get("changes", []))
        self.held = None  # an id: acks stop there
        self.last = 0
        self.stopped = asyncio.Event()
        self.session = session.Session(self.document, self.picture)
        self.camera = Camera(plan, mode == "byhand") if mode in ("camera", "byhand") else None

    def now(self):
        return round(time.monotonic() - self.begun, 3)

    def document(self, frame, doc, gzipped):
        fact = {"id": frame, "at": self.now(), "gzipped": gzipped, **doc}
        values = doc["serialized_output_data"]
        if values is not None:
            fact["serialized_output_data"] = {name: summary(v) for name, v in values.items()}
        self.facts["documents"].append(fact)
        if frame and not doc["processing_complete"]:
            self.last = max(self.last, frame)
            if self.camera:
                self.camera.hand.release()
        self.acknowledge(frame)
        while self.changes and frame >= self.changes[0]["after"]:
            self.session.say(self.changes.pop(0)["say"])
        self.reconsider()

    def acknowledge(self, frame):
        hold = self.plan.get("hold")
        if self.plan.get("acks") != "each" or not frame:
            return
        if hold and self.held is None and frame >= hold["after"]:
            self.held = frame
            self.session.say({"ack": frame})
            asyncio.get_running_loop().call_later(hold["seconds"], self.resume, hold)
        elif self.held is None or self.held < 0:
            self.session.say({"ack": frame})

    def resume(self, hold):
        self.facts["reached"].append(self.last)
        self.held = -1
        self.session.say({"ack": hold.get("ack") or self.last})

    def picture(self, frame):
        self.facts["pictures"].append({"pts": frame.pts, "at": self.now(), **pictures.look(frame)})
        self.reconsider()

    def reconsider(self):
        stop = self.plan.get("stop", {})
        for what in ("documents", "pictures"):
            if what in stop and len(self.facts[what]) < stop[what]:
                return
        if "documents" in stop or "pictures" in stop:
            self.stopped.set()

    async def play(self):
        s, plan = self.session, self.plan
        label = plan.get("label", "inference")
        if label:
            s.channel(label)
        if self.camera:
            s.video(self.camera, plan.get("receive", True), plan.get("codec"))
        elif plan.get("receive", True):
            s.video(codec=plan.get("codec"))
        if self.mode == "file":
            s.upload_channel()
        try:
            answer, self.facts["answered_in"] = await s.open(
                self.box, plan.get("request", {}), plan.get("headers"))
        except session.Refused as e:
            await s.close()
            self.facts["refused"] = {**e.body, "status": e.status, "retry_after": e.headers.get("Retry-After")}
            return
        sdp = answer.pop("sdp")
        self.facts["answer"] = answer
        self.facts["codecs"] = sorted(set(re.findall(r"^a=rtpmap:\d+ (VP8|H264)/", sdp, re.M)))
        await s.connected()
        for text in plan.get("say", []):
            s.say(text)
        upload = asyncio.ensure_future(self.upload()) if plan.get("file") else None
        await self.until_the_end()
        if upload:
            upload.cancel()
            await asyncio.gather(upload, return_exceptions=True)
        await s.close()

    async def until_the_end(self):
        s, plan = self.session, self.plan
        stop = plan.get("stop", {})
        ends = {"complete": s.complete.wait(), "lost": s.ended.wait(), "stopped": self.stopped.wait()}
        if "seconds" in stop:
            ends["time"] = asyncio.sleep(stop["seconds"])
        tasks = {asyncio.ensure_future(c): name for name, c in ends.items()}
        done, pending = await asyncio.wait(tasks, timeout=plan.get("within", 60), return_when=asyncio.FIRST_COMPLETED)
        names = [tasks[t] for t in done]
        for t in pending:
            t.cancel()
        self.facts["ended_by"] = next((n for n in ("complete", "stopped", "time", "lost") if n in names), "nothing")
        self.facts["ended_at"] = self.now()
        if self.facts["ended_by"] != "complete" and stop.get("how") == "vanish":
            self.report()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.facts["ended_by"] == "complete":
            # The last word came; who waits sees the box close the connection.
            try:
                await asyncio.wait_for(s.ended.wait(), 8)
                self.facts["closed_by_box"] = self.now()
            except asyncio.TimeoutError:
                pass

    async def upload(self):
        s, how = self.session, self.plan.get("upload", {})
        with open(self.plan["file"], "rb") as f:
            messages = wire.chunks(f.read())
        if how.get("repeat"):
            messages += messages[::3]
        if how.get("shuffle"):
            # The chunk that completes the file is the last, whatever comes before it.
            random.Random(7).shuffle(messages)
        for i in range(how.get("pings", 0)):
            await s.send(b"" if i % 2 == 0 else b"p")
        for i, message in enumerate(self.hostile(messages, how.get("fault"))):
            if i >= how.get("until", len(messages) + 1) or not await s.send(message):
                return
            self.facts["uploaded"] += len(message)

    @staticmethod
    def hostile(messages, fault):
        """The messages, the last of them replaced by what the protocol forbids."""
        total = len(messages)
        head = wire.UPLOAD_HEADER.pack
        wrong = {
            None: messages[-1],
            "total": head(0, total + 1) + b"x" * 100,
            "index": head(total, total) + b"x" * 100,
            "length": b"\x01\x02\x03\x04\x05",
            "huge": head(0, 0xFFFFFFFF) + b"x" * 100,
            "none": head(0, 0) + b"x" * 100,
        }[fault]
        if fault == "huge" or fault == "none":
            return [wrong]
        return messages[:-1] + [wrong]

    def report(self):
        facts = self.facts
        facts["echoes"] = [[type(m).__name__, len(m)] for m in self.session.echoes if len(m) <= 1]
        facts["faults"] = self.session.faults
        facts["incomplete"] = self.session.documents.incomplete
        facts["track_ended"] = self.session.track_ended
        facts["took"] = self.now()
        print(json.dumps(facts), flush=True)


def summary(value):
    """An output as it came, but for pictures: those are looked at."""
    if isinstance(value, dict) and value.get("type") == "base64":
        look = pictures.look(pictures.decode(value["value"]))
        return {"picture": look, "bytes": len(value["value"]), "video_metadata": value.get("video_metadata")}
    return value


async def main():
    if len(sys.argv) not in (3, 4) or sys.argv[1] not in ("camera", "byhand", "url", "file"):
        sys.exit(__doc__)
    plan = {}
    if len(sys.argv) == 4:
        plan = json.loads(sys.stdin.read() if sys.argv[3] == "-" else sys.argv[3])
    if plan.get("loopback", True):
        aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
    av.logging.set_level(av.logging.FATAL)  # encoders tell their life's story
    player = Player(sys.argv[1], sys.argv[2], plan)
    await player.play()
    player.report()


if __name__ == "__main__":
    asyncio.run(main())
