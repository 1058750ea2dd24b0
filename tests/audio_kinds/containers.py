"""Headers written by hand: WAV and its relatives, AIFF, AU, SPHERE, and changes to Ogg pages and MP4 boxes."""

import struct

PCM, MS_ADPCM, FLOAT, ALAW, MULAW, IMA_ADPCM, GSM, MP3, EXTENSIBLE = 1, 2, 3, 6, 7, 0x11, 0x31, 0x55, 0xFFFE

# Everything after the two bytes of the codec in an EXTENSIBLE header's sub-format.
GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")


def chunk(name, body, end="<", pad=True, size=None):
    """A RIFF chunk; `size` is the length its header states."""
    odd = b"\0" if pad and len(body) % 2 else b""
    return name + struct.pack(end + "I", len(body) if size is None else size) + body + odd


def fmt(codec, channels, rate, bits, size=16, end="<", valid=None, mask=0, align=None, extra=None, byte_rate=None):
    """A `fmt ` chunk of 16, 18, 20 or 40 bytes (40: EXTENSIBLE with `valid` bits), or one with `extra` bytes after its 18."""
    align = align or channels * ((bits + 7) // 8)
    tag = EXTENSIBLE if size == 40 else codec
    body = struct.pack(end + "HHIIHH", tag, channels, rate, byte_rate or rate * align, align, bits)
    if extra is not None:
        body += struct.pack(end + "H", len(extra)) + extra
    elif size == 40:
        body += struct.pack(end + "HHI", 22, bits if valid is None else valid, mask) + struct.pack(end + "H", codec) + GUID_TAIL
    else:
        body += bytes(size - 16)
    return chunk(b"fmt ", body, end)


def riff(*chunks, magic=b"RIFF", end="<", size=None, form=b"WAVE"):
    body = form + b"".join(chunks)
    return magic + struct.pack(end + "I", len(body) if size is None else size) + body


def rf64(format_chunk, samples, frames, magic=b"RF64", between=b""):
    """The lengths lie in `ds64`; the usual places hold 0xFFFFFFFF."""
    rest = format_chunk + between + chunk(b"data", samples, size=0xFFFF_FFFF)
    total = 4 + 36 + len(rest)
    ds64 = chunk(b"ds64", struct.pack("<QQQI", total, len(samples), frames, 0))
    return magic + struct.pack("<I", 0xFFFF_FFFF) + b"WAVE" + ds64 + rest


def extended(value):
    """An 80-bit float, as AIFF states its rate."""
    exponent = value.bit_length() - 1
    return struct.pack(">HQ", 16383 + exponent, value << (63 - exponent))


def aiff(samples, channels, rate, bits, frames, compression=None, offset=0, before=(), after=(), ssnd_size=None, sound_first=False):
    """AIFF, or AIFC if a compression is given."""
    comm = struct.pack(">hIh", channels, frames, bits) + extended(rate)
    head = b""
    if compression:
        comm += compression + b"\0\0"
        head = chunk(b"FVER", struct.pack(">I", 0xA280_5140), ">")
    body = struct.pack(">II", offset, 0) + bytes(offset) + samples
    sound = [chunk(b"SSND", body, ">", size=ssnd_size)]
    comm = [chunk(b"COMM", comm, ">")]
    chunks = sound + comm if sound_first else comm + list(before) + sound
    return riff(head, *chunks, *after, magic=b"FORM", end=">", form=b"AIFC" if compression else b"AIFF")


def au(coding, samples, channels, rate, size=None, text=bytes(4)):
    size = len(samples) if size is None else size
    return b".snd" + struct.pack(">IIIII", 24 + len(text), size, coding, rate, channels) + text + samples


def sphere(samples, channels, rate, frames, coding="pcm", width=2, order="01", header=1024, more=()):
    """NIST SPHERE, as TIMIT, Switchboard and WSJ0 are distributed."""
    lines = ["NIST_1A", f"{header:7d}", f"channel_count -i {channels}", f"sample_rate -i {rate}", f"sample_n_bytes -i {width}",
             f"sample_count -i {frames}", f"sample_coding -s{len(coding)} {coding}"]
    if order:
        lines.append(f"sample_byte_format -s{len(order)} {order}")
    text = "\n".join([*lines, *more, "end_head", ""]).encode()
    return text.ljust(header, b"\0" if header == 2048 else b"\n") + samples


def caf(samples, channels, rate, form=b"lpcm", flags=0, packet=None, bits=16, size=None, before=b""):
    """Flags: 1 float, 2 little-endian."""
    packet = channels * bits // 8 if packet is None else packet
    desc = struct.pack(">d4sIIIII", rate, form, flags, packet, 1, channels, bits)
    piece = lambda name, body, length=None: name + struct.pack(">q", len(body) if length is None else length) + body
    return b"caff\0\1\0\0" + piece(b"desc", desc) + before + piece(b"data", bytes(4) + samples, size)


def _crc_table():
    for value in range(256):
        value <<= 24
        for _ in range(8):
            value = (value << 1 ^ 0x04C1_1DB7 if value & 0x8000_0000 else value << 1) & 0xFFFF_FFFF
        yield value


CRC = list(_crc_table())


def ogg_pages(content):
    """The pages of an Ogg file, as bytearrays."""
    at, pages = 0, []
    while content[at:at + 4] == b"OggS":
        segments = content[at + 26]
        length = 27 + segments + sum(content[at + 27:at + 27 + segments])
        pages.append(bytearray(content[at:at + length]))
        at += length
    return pages


def ogg_join(pages):
    """The file of these pages, with their checksums made right."""
    for page in pages:
        page[22:26] = bytes(4)
        crc = 0
        for byte in page:
            crc = (crc << 8 & 0xFFFF_FFFF) ^ CRC[(crc >> 24) ^ byte]
        page[22:26] = struct.pack("<I", crc)
    return b"".join(pages)


def opus_head(content, pre_skip=None, gain=None):
    """Changes the Opus header: samples to leave out at the start, and the gain in 1/256 dB."""
    pages = ogg_pages(content)
    start = 27 + pages[0][26]
    assert pages[0][start:start + 8] == b"OpusHead"
    if pre_skip is not None:
        pages[0][start + 10:start + 12] = struct.pack("<H", pre_skip)
    if gain is not None:
        pages[0][start + 16:start + 18] = struct.pack("<h", gain)
    return ogg_join(pages[:1]) + b"".join(pages[1:])


def ogg_shifted(content, by):
    """Adds `by` to every granule position but those of header pages: a stream that was cut out of a longer one."""
    pages = ogg_pages(content)
    for page in pages:
        granule = struct.unpack_from("<q", page, 6)[0]
        if granule > 0:
            struct.pack_into("<q", page, 6, granule + by)
    return ogg_join(pages)


def mp4_path(content, *names):
    """Offsets of the boxes that lead to the one named last."""
    offsets, start, end = [], 0, len(content)
    inner = {b"stsd": 16, b"mp4a": 36}
    for name in names:
        at = start
        while content[at + 4:at + 8] != name:
            at += struct.unpack_from(">I", content, at)[0]
            assert at < end, name
        offsets.append(at)
        start, end = at + inner.get(name, 8), at + struct.unpack_from(">I", content, at)[0]
    return offsets


def mp4_with_config(content, config):
    """An M4A file whose AAC AudioSpecificConfig is replaced; `moov` must be at the end, so that no offset of a chunk moves."""
    content = bytearray(content)
    boxes = mp4_path(content, b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"mp4a", b"esds")
    assert mp4_path(content, b"mdat")[0] < boxes[0]
    # Descriptors of ffmpeg have a length of four bytes: 0x80 0x80 0x80 n. 3 holds 4, which holds 5, the config.
    found = content.index(b"\x05\x80\x80\x80", boxes[-1])
    grown = len(config) - content[found + 4]
    content[found + 4:found + 5 + content[found + 4]] = bytes([len(config)]) + config
    for tag in (b"\x03\x80\x80\x80", b"\x04\x80\x80\x80"):
        content[content.index(tag, boxes[-1]) + 4] += grown
    for box in boxes:
        struct.pack_into(">I", content, box, struct.unpack_from(">I", content, box)[0] + grown)
    return bytes(content)
