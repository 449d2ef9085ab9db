"""What can be said about the byte formats without a box: python3 wire_test.py"""

import gzip
import json
import random
import unittest

import wire


def messages(frame, document, size, compress=False):
    text = json.dumps(document).encode()
    if compress:
        text = gzip.compress(text)
    parts = [text[i : i + size] for i in range(0, len(text), size)]
    return [wire.HEADER.pack(frame, i, len(parts)) + p for i, p in enumerate(parts)]


class DocumentsTest(unittest.TestCase):
    def test_any_order_and_interleaved(self):
        rng = random.Random(1)
        want = {n: {"n": n, "text": "x" * rng.randrange(400)} for n in range(1, 30)}
        wires = [m for n, d in want.items() for m in messages(n, d, 17, compress=n % 2 == 0)]
        rng.shuffle(wires)
        docs, got = wire.Documents(), {}
        for m in wires:
            whole = docs.add(m)
            if whole:
                got[whole[0]] = whole[1]
                self.assertEqual(whole[2], whole[0] % 2 == 0)
        self.assertEqual(got, want)
        self.assertEqual(docs.incomplete, [])

    def test_refuses(self):
        def broken(*given):
            docs = wire.Documents()
            with self.assertRaises(wire.Broken):
                for m in given:
                    docs.add(m)

        head = wire.HEADER.pack
        broken(b"short")
        broken(head(1, 0, 0) + b"{}")
        broken(head(1, 2, 2) + b"{}")
        broken(head(1, 0, 2) + b"{", head(1, 1, 3) + b"}")
        broken(head(1, 0, 2) + b"{", head(1, 0, 2) + b"{")
        broken(head(1, 0, 1) + b"{}", head(1, 0, 1) + b"{}")
        broken(head(1, 0, 1) + b"x" * (wire.CHUNK + 1))

    def test_notices_repeat_their_id(self):
        docs = wire.Documents()
        for _ in range(2):
            self.assertEqual(docs.add(wire.HEADER.pack(0, 0, 1) + b"{}"), (0, {}, False))


class ChunksTest(unittest.TestCase):
    def test_whole(self):
        for size in (0, 1, 9, 10, 11, 99, 100):
            data = random.Random(size).randbytes(size)
            got = wire.chunks(data, 10)
            total = {wire.UPLOAD_HEADER.unpack_from(m)[1] for m in got}
            self.assertEqual(total, {len(got)})
            self.assertEqual([wire.UPLOAD_HEADER.unpack_from(m)[0] for m in got], list(range(len(got))))
            self.assertEqual(b"".join(m[8:] for m in got), data)


if __name__ == "__main__":
    unittest.main()
