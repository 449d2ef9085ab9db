"""The byte formats of the worker protocol, without any network.

Box to client: a message is frame_id, chunk_index, total_chunks (uint32 little-endian) and a
payload; the payloads of one frame_id, in the order of their index, are one JSON document,
which may be gzipped. Client to box: chunk_index, total_chunks and a payload of a file.
"""

import gzip
import json
import struct

CHUNK = 48 * 1024
HEADER = struct.Struct("<III")
UPLOAD_HEADER = struct.Struct("<II")


class Broken(Exception):
    """A message that the protocol does not allow."""


class Documents:
    """Puts documents together from messages, which may arrive in any order."""

    def __init__(self):
        self._open = {}  # frame_id -> list of payloads, None where one is missing
        self._done = set()

    def add(self, message):
        """Returns (frame_id, document, gzipped) once it is complete, else None."""
        if len(message) < HEADER.size:
            raise Broken(f"a message of {len(message)} bytes has no header")
        frame, index, total = HEADER.unpack_from(message)
        payload = message[HEADER.size :]
        if len(payload) > CHUNK:
            raise Broken(f"frame {frame}: a payload of {len(payload)} bytes")
        if total == 0 or index >= total:
            raise Broken(f"frame {frame}: chunk {index} of {total}")
        if frame in self._done and frame != 0:
            raise Broken(f"frame {frame} came twice")
        parts = self._open.setdefault(frame, [None] * total)
        if len(parts) != total or parts[index] is not None:
            raise Broken(f"frame {frame}: chunk {index} of {total}, having {len(parts)} of them")
        parts[index] = payload
        if any(p is None for p in parts):
            return None
        del self._open[frame]
        self._done.add(frame)
        text = b"".join(parts)
        gzipped = text[:2] == b"\x1f\x8b"
        return frame, json.loads(gzip.decompress(text) if gzipped else text), gzipped

    @property
    def incomplete(self):
        return sorted(self._open)


def chunks(data, size=CHUNK):
    """The messages that upload a file."""
    total = max(1, -(-len(data) // size))
    return [UPLOAD_HEADER.pack(i, total) + data[i * size : (i + 1) * size] for i in range(total)]
