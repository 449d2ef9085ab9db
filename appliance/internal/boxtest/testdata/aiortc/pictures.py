"""What can be told of a picture: its size, what was drawn on it, where the block is.

The films of these tests are grey: a bright block crosses a dark ground. Every pixel with a
colour was therefore drawn by the box.
"""

import base64
import io

import av
import numpy

GROUND, BLOCK = 60, 200


def look(frame):
    """Facts of an av.VideoFrame."""
    frame = frame.reformat(format="yuv420p")
    height, width = frame.height, frame.width
    y, u, v = (plane(p, w, h) for p, w, h in zip(
        frame.planes,
        (width, (width + 1) // 2, (width + 1) // 2),
        (height, (height + 1) // 2, (height + 1) // 2)))
    colour = (u.astype(int) - 128) ** 2 + (v.astype(int) - 128) ** 2 >= 24 * 24
    left, right = block(y[height // 2])
    return {"width": width, "height": height, "coloured": int(colour.sum()), "left": left, "right": right}


def plane(p, width, height):
    return numpy.frombuffer(bytes(p), numpy.uint8).reshape(-1, p.line_size)[:height, :width]


def block(row):
    """The last long bright run of a line: its first pixel and the one behind it."""
    left = right = run = 0
    for x, bright in enumerate(row > (GROUND + BLOCK) // 2):
        run = run + 1 if bright else 0
        if run > len(row) // 16:
            left, right = x - run + 1, x + 1
    return left, right


def decode(text):
    """The frame of an image value's base64 JPEG."""
    raw = base64.b64decode(text, validate=True)
    if raw[:2] != b"\xff\xd8" or raw[-2:] != b"\xff\xd9":
        raise ValueError("an image value is no JPEG")
    with av.open(io.BytesIO(raw), format="mjpeg") as container:
        return next(container.decode(video=0))


def paint(width, height, n, rate):
    """Frame n of a film: the block crosses the ground in three seconds, after one of nothing."""
    y = numpy.full((height, width), GROUND, numpy.uint8)
    w, h = width // 6, height // 3
    x = -w + (width + w) * (n % (4 * rate) - rate) // (3 * rate)
    y[(height - h) // 2 : (height + h) // 2, max(0, x) : max(0, x + w)] = BLOCK
    chroma = numpy.full((height // 2, width), 128, numpy.uint8)
    return av.VideoFrame.from_ndarray(numpy.concatenate([y, chroma]), format="yuv420p")
