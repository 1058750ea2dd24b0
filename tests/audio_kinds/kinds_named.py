"""WavPack; formats that are refused by name; and files that are no audio at all."""

import bz2
import gzip
import io
import json
import lzma
import pickle
import struct
import tarfile
import zipfile
import zlib

from kit import ffmpeg, run


def wavpack(kinds):
    add = kinds.family("wavpack", container="WavPack", codec="WavPack", lossless=True, expect="either", names=["WavPack"], source=(44_100, 2))
    encode = lambda *arguments, source=(44_100, 2), deep=False: lambda path: run(
        "wavpack", "-q", "-y", *arguments, kinds.sources.f32(*source) if deep else kinds.sources.wav(*source), "-o", path)
    add("wavpack_16", "wv", encode(), short=True)
    add("wavpack_16_mono", "wv", encode(source=(16_000, 1)), source=(16_000, 1))
    for bits, codec in ((8, "pcm_u8"), (24, "pcm_s24le"), (32, "pcm_s32le")):
        add(f"wavpack_{bits}", "wv", lambda path, c=codec: run("wavpack", "-q", "-y", deep(kinds, c), "-o", path), codec=f"WavPack {bits} bit")
    add("wavpack_float", "wv", encode(deep=True), codec="WavPack float", short=True)
    for mode in ("-f", "-h", "-hh", "-x3"):
        add(f"wavpack{mode}", "wv", encode(mode))
    add("wavpack_hybrid", "wv", encode("-b256"), lossless=False, codec="WavPack hybrid", short=True)
    add("wavpack_hybrid_float", "wv", encode("-b3.0", deep=True), lossless=False, codec="WavPack hybrid")
    add("wavpack_6ch", "wv", encode(source=(44_100, 6)), source=(44_100, 6))
    add("wavpack_ffmpeg", "wv", lambda path: ffmpeg("-i", kinds.sources.wav(44_100, 2), path))
    add("wavpack_half_missing", "wv", lambda path: (lambda c: c[:len(c) // 2])(kinds.encoded("half.wv", "-c:a", "wavpack", "-sample_fmt", "s16p", source=(44_100, 2))),
        source=None, expect="named", names=["truncated", "WavPack"])


def deep(kinds, codec):
    path = kinds.folder / "parts" / f"{codec}.wav"
    if not path.exists():
        ffmpeg("-i", kinds.sources.f32(44_100, 2), "-c:a", codec, path)
    return path


def others(kinds):
    add = kinds.family("named", expect="named", source=(44_100, 2))
    encode = lambda codec, *more, source=(44_100, 2): lambda path: ffmpeg("-i", kinds.sources.f32(*source), "-c:a", codec, *more, path)
    add("tta", "tta", encode("tta"), container="TTA", codec="TTA", names=["TTA", "True Audio"], lossless=True, short=True)
    add("ac3", "ac3", encode("ac3"), container="AC-3", codec="AC-3", names=["AC-3", "AC3"], short=True)
    add("eac3", "eac3", encode("eac3"), container="E-AC-3", codec="E-AC-3", names=["AC-3", "AC3"])
    add("dts", "dts", encode("dca", "-strict", "-2"), container="DTS", codec="DTS", names=["DTS"])
    add("wma1", "wma", encode("wmav1"), container="ASF", codec="WMA", names=["WMA", "Windows Media", "ASF"])
    add("wma2", "wma", encode("wmav2"), container="ASF", codec="WMA", names=["WMA", "Windows Media", "ASF"], short=True)
    add("mp3_in_asf", "asf", encode("libmp3lame"), container="ASF", codec="MP3", names=["WMA", "Windows Media", "ASF"])
    add("amr_nb", "amr", lambda path: run("sox", kinds.sources.wav(8000, 1), "-t", "amr-nb", path), container="AMR", codec="AMR", names=["AMR"], source=(8000, 1), short=True)
    add("amr_wb", "awb", lambda path: b"#!AMR-WB\n" + bytes([0x04] + [0x11] * 17) * 50, container="AMR", codec="AMR-WB", names=["AMR"], source=None)
    add("musepack", "mpc", lambda path: run("mpcenc", "--silent", "--overwrite", kinds.sources.wav(44_100, 2), path), container="Musepack", codec="Musepack", names=["Musepack"])
    add("avi_pcm", "avi", encode("pcm_s16le"), container="AVI", codec="PCM", names=["AVI"])
    add("avi_mp3", "avi", encode("libmp3lame"), container="AVI", codec="MP3", names=["AVI"])
    add("flv_aac", "flv", encode("aac"), container="FLV", codec="AAC", names=["FLV", "Flash"])
    add("mpegts_aac", "ts", encode("aac"), container="MPEG-TS", codec="AAC", names=["transport stream", "MPEG-TS"])
    add("mpegts_mp2", "ts", encode("mp2"), container="MPEG-TS", codec="MP2", names=["transport stream", "MPEG-TS"])
    add("mpegps_mp2", "mpg", encode("mp2", "-f", "vob"), container="MPEG-PS", codec="MP2", names=["program stream", "MPEG-PS"])
    add("realaudio", "ra", encode("real_144", "-ar", "8000", "-ac", "1", "-f", "rm", source=(8000, 1)), container="RealMedia", codec="RealAudio", names=["Real"], source=None)
    add("truehd", "thd", encode("truehd", "-strict", "-2"), container="TrueHD", codec="TrueHD", names=["TrueHD", "MLP", "not a known", "not audio"])
    add("codec2", "c2", encode("libcodec2", "-f", "codec2", source=(8000, 1)), container="Codec 2", codec="Codec 2", names=["Codec 2", "codec2", "not a known", "not audio"], source=None)
    for name, extension, head, names in (
        ("monkey", "ape", b"MAC " + struct.pack("<H", 3990), ["Monkey"]), ("tak", "tak", b"tBaK", ["TAK"]), ("optimfrog", "ofr", b"OFR ", ["OptimFROG"]),
        ("dsf", "dsf", b"DSD " + struct.pack("<QQQ", 28, 20_092, 0), ["DSD"]), ("dsdiff", "dff", b"FRM8" + bytes(8) + b"DSD ", ["DSD"]),
        ("midi", "mid", b"MThd\0\0\0\x06\0\1\0\1\0\x60MTrk", ["MIDI"]),
    ):
        add(name, extension, lambda path, h=head: h + bytes(range(256)) * 80, container=name, codec=name, names=names, source=None, short=name == "monkey",
            note="its head alone is real: Debian has no encoder")


def zip_of(name, content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, content)
    return file.getvalue()


def tar_of(name, content):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def png():
    piece = lambda name, body: struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    rows = zlib.compress(b"".join(b"\0" + bytes(range(64)) for _ in range(64)))
    return b"\x89PNG\r\n\x1a\n" + piece(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 0, 0, 0, 0)) + piece(b"IDAT", rows) + piece(b"IEND", b"")


def no_audio(kinds):
    add = kinds.family("not-audio", container="none", codec="none", expect="named")
    page = b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body><h1>Not Found</h1></body></html>\n"
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d7a" * 16 + b"\nsize 12345\n"
    wav = lambda: kinds.sources.wav(16_000, 1).read_bytes()
    for name, extension, make, names, short in (
        ("html", "wav", lambda: page, ["HTML"], True),
        ("html_as_mp3", "mp3", lambda: page * 50, ["HTML"], False),
        ("html_lower_case", "flac", lambda: b"\n\n  <html lang=en>" + page, ["HTML"], False),
        ("html_with_bom", "wav", lambda: b"\xef\xbb\xbf" + page, ["HTML"], False),
        ("html_comment_first", "wav", lambda: b"<!-- served by a proxy -->\n" + page, ["HTML"], False),
        ("xml", "mp3", lambda: b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", ["XML"], False),
        ("json", "wav", lambda: json.dumps({"error": "rate limit exceeded", "code": 429}).encode(), ["JSON"], True),
        ("json_list", "mp3", lambda: json.dumps([{"error": "no"}] * 40, indent=2).encode(), ["JSON"], False),
        ("lfs_pointer", "wav", lambda: pointer, ["Git LFS pointer", "LFS"], True),
        ("lfs_pointer_as_flac", "flac", lambda: pointer, ["Git LFS pointer", "LFS"], False),
        ("zip", "wav", lambda: zip_of("a.wav", wav()), ["zip"], True),
        ("zip_empty", "mp3", lambda: zip_of("a.wav", b"")[-22:], ["zip", "corrupt", "not a"], False),
        ("tar", "wav", lambda: tar_of("a.wav", wav()), ["tar"], True),
        ("gzip", "wav", lambda: gzip.compress(wav()), ["gzip"], True),
        ("bzip2", "wav", lambda: bz2.compress(wav()), ["bzip2"], False),
        ("xz", "wav", lambda: lzma.compress(wav()[:9000]), ["xz"], False),
        ("zstd", "wav", lambda: b"\x28\xb5\x2f\xfd\x24\x04" + bytes(range(200)), ["zstd", "Zstandard"], False),
        ("7z", "wav", lambda: b"7z\xbc\xaf\x27\x1c\0\4" + bytes(range(200)), ["7z"], False),
        ("empty", "wav", lambda: b"", ["empty"], True),
        ("empty_mp3", "mp3", lambda: b"", ["empty"], False),
        ("one_byte", "wav", lambda: b"R", ["text", "truncated", "corrupt", "not audio", "not a known"], False),
        ("text", "wav", lambda: b"this clip was removed at the request of its owner\n" * 4, ["text"], True),
        ("text_utf16", "mp3", lambda: "this clip was removed\n".encode("utf-16") * 4, ["text", "not audio", "not a known"], False),
        ("csv", "wav", lambda: b"id,start,end\na,0.0,1.5\n" * 30, ["text", "CSV"], False),
        ("transcript", "flac", lambda: "1\n00:00:01,000 --> 00:00:02,000\nGrüß Gott\n".encode(), ["text", "subtitle"], False),
        ("pdf", "wav", lambda: b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + bytes(range(256)), ["PDF"], True),
        ("png", "wav", png, ["PNG", "picture", "image"], True),
        ("jpeg", "mp3", lambda: b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0" + bytes(range(256)) * 9, ["JPEG", "picture", "image"], False),
        ("gif", "wav", lambda: b"GIF89a\1\0\1\0" + bytes(range(256)), ["GIF", "picture", "image"], False),
        ("numpy", "wav", lambda: b"\x93NUMPY\1\0\x76\0{'descr': '<f4', 'fortran_order': False, 'shape': (16000,), }".ljust(128) + bytes(64_000), ["NumPy"], False),
        ("parquet", "wav", lambda: b"PAR1" + bytes(range(256)) * 4 + b"PAR1", ["Parquet"], False),
        ("pickle", "wav", lambda: pickle.dumps(list(range(5000))), ["pickle", "not audio", "not a known"], False),
        ("program", "wav", lambda: b"\x7fELF\2\1\1" + bytes(5000), ["program", "ELF"], False),
        ("zeros", "wav", lambda: bytes(65_536), ["zero"], True),
        ("zeros_as_mp3", "mp3", lambda: bytes(65_536), ["zero", "not audio", "not a known"], False),
        ("ones", "mp3", lambda: b"\xff" * 65_536, ["not audio", "not a known", "corrupt"], False),
        ("riff_of_another_form", "wav", lambda: b"RIFF" + struct.pack("<I", 4 + 300) + b"WEBPVP8 " + bytes(300), ["WebP", "picture", "image", "not audio", "not a known"], False),
    ):
        add(f"not_{name}", extension, lambda path, m=make: m(), names=names, short=short)


def declare(kinds):
    for part in (wavpack, others, no_audio):
        part(kinds)
