"""MPEG audio by hand: frames, tags, and an encoder of Layer I, for which Debian has none."""

import random
import struct

BIT_RATES = {  # (MPEG-1, layer): kbit/s
    (True, 1): [0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
    (True, 2): [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
    (True, 3): [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    (False, 1): [0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
    (False, 2): [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    (False, 3): [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
}
RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


def frames(content):
    """The frames of a file without tags, one after another."""
    at, found = 0, []
    while at + 4 <= len(content):
        assert content[at] == 0xFF and content[at + 1] >> 5 == 7, f"no frame at {at}"
        length = frame_length(content[at:at + 4])
        found.append(content[at:at + length])
        at += length
    return found


def id3v1(title="a title"):
    # Title, artist, album, year, comment and genre have fixed places: 128 bytes.
    return b"TAG" + title.encode().ljust(30, b"\0") + bytes(60) + b"2024" + bytes(30) + b"\x0c"


def id3v2(version=4, picture=0, footer=False, pad=0):
    """A tag with a title and perhaps a picture of so many bytes, in which frame headers are to be found."""
    def text_frame(name, body):
        if version == 2:
            return name[:3] + struct.pack(">I", len(body))[1:] + body
        size = synchsafe(len(body)) if version == 4 else struct.pack(">I", len(body))
        return name + size + b"\0\0" + body

    names = (b"TT2", b"PIC") if version == 2 else (b"TIT2", b"APIC")
    body = text_frame(names[0], b"\0a title")
    if picture:
        kind = b"\0JPG\3\0" if version == 2 else b"\0image/jpeg\0\3\0"
        lure = b"\xff\xfb\x90\x64" + bytes(413)
        body += text_frame(names[1], kind + (lure * (picture // len(lure) + 1))[:picture])
    body += bytes(pad)
    rest = bytes([version, 0, 0x10 if footer else 0]) + synchsafe(len(body))
    return b"ID3" + rest + body + (b"3DI" + rest if footer else b"")


def synchsafe(value):
    return bytes(value >> shift & 127 for shift in (21, 14, 7, 0))


def ape_tag(header=True, text="a title", extra=0):
    """APEv2. `extra` bytes of a binary item."""
    items = struct.pack("<II", len(text), 0) + b"Title\0" + text.encode()
    if extra:
        items += struct.pack("<II", extra, 2) + b"Cover Art (Front)\0" + (b"\xff\xfb\x90\x64" * (extra // 4 + 1))[:extra]
    count = 2 if extra else 1
    piece = lambda flags: b"APETAGEX" + struct.pack("<IIII", 2000, len(items) + 32, count, flags) + bytes(8)
    return (piece(0xA000_0000) if header else b"") + items + piece(0x8000_0000 if header else 0)


def lyrics3():
    body = b"LYRICSBEGIN" + b"IND0000200" + b"LYR00010[00:00]hey"
    return body + b"%06d" % len(body) + b"LYRICS200"


def vbri(content):
    """Puts Fraunhofer's VBR header in front of the frames of a file without a tag."""
    every = frames(content)
    toc = [len(frame) for frame in every]
    body = struct.pack(">4sHHHIIHHHH", b"VBRI", 1, 0, 75, len(content), len(every), len(toc), 1, 2, 1)
    body += b"".join(struct.pack(">H", size) for size in toc)
    # The table must fit into its frame: take the largest bit rate of the same version, rate and channels.
    head = bytearray(every[0][:4])
    head[2] = head[2] & 0x0D | 0xE0
    length = frame_length(head)
    assert 36 + len(body) <= length, "too long for one frame"
    return (bytes(head) + bytes(32) + body).ljust(length, b"\0") + content


def frame_length(head):
    """Length in bytes of the frame that begins with these four bytes."""
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    bits = BIT_RATES[version == 3, layer][head[2] >> 4] * 1000
    rate, padding = RATES[version][head[2] >> 2 & 3], head[2] >> 1 & 1
    if layer == 1:
        return (12 * bits // rate + padding) * 4
    return (144 if version == 3 or layer == 2 else 72) * bits // rate + padding


def layer1(rate=44_100, channels=2, bit_rate=384, seconds=3.0, padded=False, seed=1):
    """A Layer I file: random samples in the lowest eight subbands, with a loudness that changes. It is made without an
    analysis filter, so nobody knows its sound but a decoder."""
    version = next(version for version, rates in RATES.items() if rate in rates)
    assert version != 0, "Layer I has no MPEG-2.5"
    index = BIT_RATES[version == 3, 1].index(bit_rate)
    rng = random.Random(seed)
    out = []
    for number in range(round(seconds * rate / 384)):
        padding = int(padded and number % 2)
        length = (12 * bit_rate * 1000 // rate + padding) * 4
        bits = Bits()
        bits.put(0x7FF, 11), bits.put(version, 2), bits.put(3, 2), bits.put(1, 1)
        bits.put(index, 4), bits.put(RATES[version].index(rate), 2), bits.put(padding, 1), bits.put(0, 1)
        bits.put(3 if channels == 1 else 0, 2), bits.put(0, 6)
        width, used = 5, 8
        for band in range(32):
            for _ in range(channels):
                bits.put(width - 1 if band < used else 0, 4)
        loudness = 12 + 10 * (number // 25 % 2)
        for band in range(used):
            for channel in range(channels):
                bits.put(loudness + band + 3 * channel, 6)
        for _ in range(12):
            for _ in range(used * channels):
                bits.put(rng.randrange(2 ** width - 1), width)
        out.append(bits.bytes().ljust(length, b"\0"))
        assert len(out[-1]) == length, "does not fit into a frame"
    return b"".join(out)


class Bits:
    """Bits, the highest first."""

    def __init__(self):
        self.value, self.count = 0, 0

    def put(self, value, count):
        self.value = self.value << count | value
        self.count += count

    def bytes(self):
        left = -self.count % 8
        return (self.value << left).to_bytes((self.count + left) // 8, "big")
