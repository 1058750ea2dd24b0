"""FLAC: native, in Ogg, in MP4; with tags around it."""

import struct

import mpeg
from containers import PCM, chunk, fmt, riff
from kit import ffmpeg, run


def declare(kinds):
    add = kinds.family("flac", container="FLAC", codec="FLAC", lossless=True, source=(44_100, 2))
    wav = kinds.sources.wav

    def encode(*arguments, source=(44_100, 2)):
        return lambda path: run("flac", "--silent", "--force", *arguments, "-o", path, wav(*source))

    def few(bits, width):
        """Through an EXTENSIBLE header, because flac takes no raw samples of 12 or 20 bits."""
        def make(path):
            samples = kinds.sources.kept_bits(16_000, 2, width, bits)
            wide = riff(fmt(PCM, 2, 16_000, 8 * width, 40, valid=bits, mask=3), chunk(b"data", samples))
            run("flac", "--silent", "--force", "-o", path, "-", stdin=wide)
        return make

    def raw(bits, width, channels, *arguments):
        """From samples of `bits` bits, as flac wants them: in the lower bits of `width` bytes."""
        def make(path):
            samples = kinds.sources.kept_bits(16_000, channels, 4, bits)
            values = struct.unpack(f"<{len(samples) // 4}i", samples)
            small = b"".join((value >> (32 - bits)).to_bytes(width, "little", signed=True) for value in values)
            run("flac", "--silent", "--force", "--force-raw-format", "--endian=little", "--sign=signed", f"--bps={bits}", f"--channels={channels}",
                "--sample-rate=16000", *arguments, "-o", path, "-", stdin=small)
        return make

    for level in (0, 5, 8):
        add(f"flac_level{level}", "flac", encode(f"-{level}"), short=level == 5)
    for bits, width in ((8, 1), (12, 2), (16, 2), (20, 3), (24, 3), (32, 4)):
        # ffmpeg decodes 12 bits to the wrong level, and 32 bits not at all.
        add(f"flac_{bits}bit", "flac", few(bits, width) if bits in (12, 20) else raw(bits, width, 2), source=(16_000, 2), reference=("ffmpeg", "source") if bits != 8 else ("ffmpeg",), short=bits in (12, 24),
            expect="either" if bits == 32 else "equal", names=["32 bit", "32-bit", "bits"] if bits == 32 else ())
    for size in (16, 192, 576, 1152, 4608, 16_384, 65_535):
        add(f"flac_block{size}", "flac", encode("--lax", f"--blocksize={size}"), short=size == 4608)
    for rate in (8000, 11_025, 12_345, 16_000, 22_050, 32_000, 48_000, 96_000, 192_000):
        add(f"flac_{rate}", "flac", encode("--lax", source=(rate, 1)), source=(rate, 1))
    for channels in range(3, 9):
        add(f"flac_{channels}ch", "flac", encode("--channel-map=none", source=(16_000, channels)), source=(16_000, channels), short=channels == 6)
    add("flac_mono", "flac", encode(source=(44_100, 1)), source=(44_100, 1))
    add("flac_no_mid_side", "flac", encode("--no-mid-side"))
    add("flac_no_seektable", "flac", encode("--no-seektable", "--no-padding"))
    add("flac_piped", "flac", raw_pipe(kinds), short=True)
    add("flac_min_block_0", "flac", lambda path: patched(kinds, path, 8, bytes(2)), short=True)
    add("flac_sizes_unknown", "flac", lambda path: patched(kinds, path, 12, bytes(6)))
    add("flac_no_md5", "flac", lambda path: patched(kinds, path, 26, bytes(16)))
    add("flac_id3v2", "flac", lambda path: tagged(kinds, path, mpeg.id3v2(3, 5000)), short=True)
    add("flac_id3v1", "flac", lambda path: tagged(kinds, path, after=mpeg.id3v1()))
    add("flac_ape", "flac", lambda path: tagged(kinds, path, after=mpeg.ape_tag()))
    add("flac_id3v2_id3v1", "flac", lambda path: tagged(kinds, path, mpeg.id3v2(4), mpeg.id3v1()))
    add("flac_wasted_bits", "flac", raw(16, 2, 1), source=(16_000, 1))
    add("flac_wasted_bits_12", "flac", lambda path: run(
        "flac", "--silent", "--force", "--force-raw-format", "--endian=little", "--sign=signed", "--bps=16", "--channels=2", "--sample-rate=16000", "-o", path,
        "-", stdin=kinds.sources.kept_bits(16_000, 2, 2, 12)), source=(16_000, 2), reference=("ffmpeg", "source"))
    add("flac_picture", "flac", lambda path: with_block(kinds, path, 6, bytes(70_000)))
    add("flac_unknown_block", "flac", lambda path: with_block(kinds, path, 77, b"fLaC\xff\xf8" * 300))
    add("flac_ffmpeg", "flac", lambda path: ffmpeg("-i", kinds.sources.f32(44_100, 2), "-sample_fmt", "s32", path))
    add("flac_ffmpeg_pipe", "flac", lambda path: ffmpeg("-i", wav(44_100, 2), "-f", "flac", "-"))
    add("flac_half_missing", "flac", lambda path: tagged(kinds, path, cut=0.5), expect="named", names=["truncated"], short=True)
    add("flac_rubbish_at_end", "flac", lambda path: tagged(kinds, path, after=b"nothing" * 500), expect="either", names=["corrupt"], warning=None)
    add("flac_one_bad_frame", "flac", lambda path: damaged(kinds, path), expect="either", names=["corrupt"], warning="damage", reference=("ffmpeg",),
        frame=9000, note="one frame of about 33 is lost")
    add("flac_in_ogg", "oga", encode("--ogg"), container="Ogg", short=True)
    add("flac_in_ogg_mono", "ogg", encode("--ogg", source=(16_000, 1)), container="Ogg", source=(16_000, 1))
    add("flac_in_ogg_ffmpeg", "ogg", lambda path: ffmpeg("-i", wav(44_100, 2), "-c:a", "flac", path), container="Ogg")
    add("flac_in_mp4", "mp4", lambda path: ffmpeg("-i", wav(44_100, 2), "-c:a", "flac", "-strict", "-2", path), container="MP4", short=True)
    add("flac_in_mp4_24", "mp4", lambda path: ffmpeg("-i", kinds.sources.f32(48_000, 2), "-c:a", "flac", "-sample_fmt", "s32", "-strict", "-2", path),
        container="MP4", source=(48_000, 2))


def plain(kinds, path):
    """The bytes of a usual file; `path` tells where there is room for it."""
    spare = path.with_suffix(".spare")
    run("flac", "--silent", "--force", "-o", spare, kinds.sources.wav(44_100, 2))
    content = spare.read_bytes()
    spare.unlink()
    return content


def patched(kinds, path, at, replacement):
    content = plain(kinds, path)
    return content[:at] + replacement + content[at + len(replacement):]


def tagged(kinds, path, before=b"", after=b"", cut=None):
    content = plain(kinds, path)
    return before + (content[:int(len(content) * cut)] if cut else content) + after


def with_block(kinds, path, kind, body):
    content = plain(kinds, path)
    return content[:42] + bytes([kind]) + len(body).to_bytes(3, "big") + body + content[42:]


def damaged(kinds, path):
    content = bytearray(plain(kinds, path))
    middle = len(content) // 2
    content[middle:middle + 200] = bytes(byte ^ 0x5A for byte in content[middle:middle + 200])
    return bytes(content)


def raw_pipe(kinds):
    """Neither its input nor its output can be sought in: no number of samples, no MD5."""
    return lambda path: run("flac", "--silent", "--force-raw-format", "--endian=little", "--sign=signed", "--bps=16", "--channels=2", "--sample-rate=44100",
                            "--stdout", "-", stdin=kinds.sources.pcm(44_100, 2))
