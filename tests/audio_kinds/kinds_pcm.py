"""AIFF, AU, CAF, NIST SPHERE and other containers of plain samples."""

import struct

import containers as box
from containers import chunk
from kit import ffmpeg, run


def aiff(kinds):
    pcm, frames = kinds.sources.pcm, 48_160
    add = kinds.family("aiff", container="AIFF", lossless=True, source=(16_000, 2))
    text = chunk(b"NAME", b"odd", ">")
    for form, bits in (("s8", 8), ("s16be", 16), ("s24be", 24), ("s32be", 32)):
        add(f"aiff_{form}", "aiff", lambda path, f=form, b=bits: box.aiff(pcm(16_000, 2, f), 2, 16_000, b, frames), codec=f"PCM {form}",
            short=form == "s16be")
    add("aiff_odd_chunk_before", "aiff", lambda path: box.aiff(pcm(16_000, 2, "s16be"), 2, 16_000, 16, frames, before=[text]), codec="PCM s16be", short=True)
    add("aiff_offset_8", "aiff", lambda path: box.aiff(pcm(16_000, 2, "s16be"), 2, 16_000, 16, frames, offset=8), codec="PCM s16be",
        reference=("ffmpeg", "source"))
    add("aiff_mark_after", "aiff", lambda path: box.aiff(pcm(16_000, 2, "s16be"), 2, 16_000, 16, frames, after=[chunk(b"MARK", b"\0\0", ">"), text]), codec="PCM s16be")
    add("aiff_comm_last", "aiff", lambda path: box.aiff(pcm(16_000, 2, "s16be"), 2, 16_000, 16, frames, sound_first=True), codec="PCM s16be",
        expect="either", names=["COMM", "corrupt"], reference=("source",), note="legal, and ffmpeg doesn't read it")
    add("aiff_12_bit", "aiff", lambda path: box.aiff(swapped(kinds.sources.kept_bits(16_000, 2, 2, 12)), 2, 16_000, 12, frames), codec="PCM 12 in 16 bit",
        reference=("source",))
    add("aiff_20_bit", "aiff", lambda path: box.aiff(b"".join(s[::-1] for s in pieces(kinds.sources.kept_bits(16_000, 2, 3, 20), 3)), 2, 16_000, 20, frames),
        codec="PCM 20 in 24 bit", reference=("source",))
    add("aiff_half_missing", "aiff", lambda path: box.aiff(pcm(16_000, 2, "s16be"), 2, 16_000, 16, frames)[:96_000], codec="PCM s16be", expect="named",
        names=["truncated"], short=True)
    add("aiff_sox_pipe", "aiff", lambda path: run("sox", kinds.sources.wav(16_000, 2), "-t", "aiff", "-", ), codec="PCM s16be", reference=("ffmpeg", "source"))
    add("aiff_ffmpeg_pipe", "aiff", lambda path: ffmpeg("-i", kinds.sources.wav(16_000, 2), "-f", "aiff", "-"), codec="PCM s16be", reference=("source",),
        expect="either", names=["truncated", "no samples", "corrupt"], note="ffmpeg writes lengths of 0 to a pipe")
    for rate, channels in ((8000, 1), (44_100, 2), (96_000, 2), (16_000, 6)):
        add(f"aiff_ffmpeg_{rate}_{channels}ch", "aiff", lambda path, r=rate, n=channels: ffmpeg("-i", kinds.sources.f32(r, n), path),
            codec="PCM s16be", source=(rate, channels))
    add("aiff_sox_24", "aif", lambda path: run("sox", kinds.sources.f32(44_100, 2), "-b", "24", path), codec="PCM s24be", source=(44_100, 2))

    add = kinds.family("aifc", container="AIFC", lossless=True, source=(16_000, 2))
    for tag, form, bits in ((b"NONE", "s16be", 16), (b"sowt", "s16le", 16), (b"fl32", "f32be", 32), (b"FL32", "f32be", 32), (b"fl64", "f64be", 64),
                            (b"ulaw", "mulaw", 16), (b"alaw", "alaw", 16), (b"in24", "s24be", 24), (b"in32", "s32be", 32), (b"ULAW", "mulaw", 16),
                            (b"raw ", "u8", 8), (b"twos", "s16be", 16), (b"NONE", "s8", 8), (b"NONE", "s24be", 24)):
        name = tag.decode().strip() + ("_upper" if tag in (b"ULAW", b"FL32") else "") + (f"_{bits}" if tag == b"NONE" else "")
        add(f"aifc_{name}", "aifc", lambda path, t=tag, f=form, b=bits: box.aiff(pcm(16_000, 2, f), 2, 16_000, b, frames, t),
            codec=f"{tag.decode().strip()} ({form})", short=tag in (b"sowt", b"fl32", b"ulaw"))
    for codec, tag in (("pcm_s16le", "sowt"), ("pcm_f32be", "fl32"), ("pcm_mulaw", "ulaw")):
        add(f"aifc_ffmpeg_{tag}", "aif", lambda path, c=codec: ffmpeg("-i", kinds.sources.f32(44_100, 2), "-c:a", c, "-f", "aiff", path),
            codec=f"{tag}", source=(44_100, 2))
    add("aifc_ima4", "aifc", lambda path: ffmpeg("-i", kinds.sources.f32(44_100, 2), "-c:a", "adpcm_ima_qt", "-f", "aiff", path), codec="ima4",
        source=(44_100, 2), lossless=False, expect="either", names=["IMA", "ima4"])
    add("aifc_gsm", "aifc", lambda path: run("sndfile-convert", "-gsm610", kinds.sources.wav(8000, 1), path.with_suffix(".aiff")) or moved(path), codec="GSM 6.10",
        source=(8000, 1), lossless=False, expect="named", names=["GSM"], frame=640)
    add("aifc_dwvw", "aifc", lambda path: run("sndfile-convert", "-dwvw16", kinds.sources.wav(16_000, 1), path.with_suffix(".aiff")) or moved(path), codec="DWVW",
        source=(16_000, 1), expect="named", names=["DWVW"])


def moved(path):
    made = path.with_suffix(".aiff")
    content = made.read_bytes()
    made.unlink()
    return content


def pieces(content, width):
    return (content[at:at + width] for at in range(0, len(content), width))


def swapped(content):
    swapped = bytearray(content)
    swapped[::2], swapped[1::2] = content[1::2], content[::2]
    return bytes(swapped)


def au(kinds):
    pcm = kinds.sources.pcm
    add = kinds.family("au", container="AU", lossless=True, source=(16_000, 2))
    codings = {1: "mulaw", 2: "s8", 3: "s16be", 4: "s24be", 5: "s32be", 6: "f32be", 7: "f64be", 27: "alaw"}
    for coding, form in codings.items():
        add(f"au_{form}", "au", lambda path, c=coding, f=form: box.au(c, pcm(16_000, 2, f), 2, 16_000), codec=form, short=coding in (1, 3))
    add("au_mulaw_8000", "snd", lambda path: box.au(1, pcm(8000, 1, "mulaw"), 1, 8000), codec="mulaw", source=(8000, 1))
    for form, coding in (("s16be", 3), ("mulaw", 1)):
        add(f"au_{form}_unknown_length", "au", lambda path, c=coding, f=form: box.au(c, pcm(16_000, 2, f), 2, 16_000, 0xFFFF_FFFF), codec=form, short=coding == 3)
    add("au_long_text", "au", lambda path: box.au(3, pcm(16_000, 2, "s16be"), 2, 16_000, text=b"recorded by hand".ljust(400, b"\0")), codec="s16be")
    add("au_no_text", "au", lambda path: box.au(3, pcm(16_000, 2, "s16be"), 2, 16_000, text=b""), codec="s16be")
    add("au_sox_pipe", "au", lambda path: run("sox", kinds.sources.wav(44_100, 2), "-t", "au", "-"), codec="s16be", source=(44_100, 2))
    add("au_half_missing", "au", lambda path: box.au(3, pcm(16_000, 2, "s16be"), 2, 16_000)[:96_000], codec="s16be", expect="named", names=["truncated"])
    add("au_g721", "au", lambda path: box.au(23, pcm(8000, 1, "u8")[:12_000], 1, 8000), codec="G.721", source=None, expect="named",
        names=["G.721", "G721", "ADPCM", "23"], seconds=None)


def caf(kinds):
    pcm = kinds.sources.pcm
    add = kinds.family("caf", container="CAF", lossless=True, source=(44_100, 2))
    for form in ("s16le", "s16be", "s24le", "s24be", "s32le", "f32le", "f32be", "f64le", "s8"):
        add(f"caf_{form}", "caf", lambda path, f=form: ffmpeg("-i", kinds.sources.f32(44_100, 2), "-c:a", f"pcm_{f}", path), codec=f"PCM {form}",
            short=form == "s16le")
    for form in ("alaw", "mulaw"):
        add(f"caf_{form}", "caf", lambda path, f=form: ffmpeg("-i", kinds.sources.f32(44_100, 2), "-c:a", f"pcm_{f}", path), codec=form)
    add("caf_unknown_length", "caf", lambda path: box.caf(pcm(16_000, 2, "s16be"), 2, 16_000, size=-1), codec="PCM s16be", source=(16_000, 2), short=True)
    add("caf_free_chunk", "caf", lambda path: box.caf(pcm(16_000, 2), 2, 16_000, flags=2, before=b"free" + struct.pack(">q", 4001) + bytes(4001)),
        codec="PCM s16le", source=(16_000, 2))
    add("caf_half_missing", "caf", lambda path: box.caf(pcm(16_000, 2), 2, 16_000, flags=2)[:96_000], codec="PCM s16le", source=(16_000, 2),
        expect="named", names=["truncated"])
    for bits in (16, 20, 24, 32):
        add(f"caf_alac{bits}", "caf", lambda path, b=bits: run("sndfile-convert", f"-alac{b}", kinds.sources.wav(44_100, 2), path), codec="ALAC",
            expect="equal" if bits == 16 else "either", names=["ALAC"])
    add("caf_alac_ffmpeg", "caf", lambda path: ffmpeg("-i", kinds.sources.wav(44_100, 2), "-c:a", "alac", path), codec="ALAC")
    lossy = dict(lossless=False, expect="either")
    add("caf_ima4", "caf", lambda path: ffmpeg("-i", kinds.sources.f32(44_100, 2), "-c:a", "adpcm_ima_qt", path), codec="ima4", names=["IMA", "ima4"], **lossy)
    add("caf_aac", "caf", lambda path: ffmpeg("-i", kinds.sources.f32(44_100, 2), "-c:a", "aac", path), codec="AAC", names=["AAC"], **lossy)
    add("caf_mp3", "caf", lambda path: ffmpeg("-i", kinds.sources.f32(44_100, 2), "-c:a", "libmp3lame", path), codec="MP3", names=["MP3", ".mp3"], **lossy)
    add("caf_opus", "caf", lambda path: ffmpeg("-i", kinds.sources.f32(48_000, 2), "-c:a", "libopus", path), codec="Opus", names=["Opus"],
        lossless=False, expect="either", source=(48_000, 2))
    add("caf_ac3", "caf", lambda path: ffmpeg("-i", kinds.sources.f32(44_100, 2), "-c:a", "ac3", path), codec="AC-3", names=["AC-3", "AC3"],
        lossless=False, expect="named")


def sphere(kinds):
    pcm, frames = kinds.sources.pcm, 48_160
    add = kinds.family("sphere", container="NIST SPHERE", lossless=True, source=(16_000, 1))
    add("sph_01", "sph", lambda path: box.sphere(pcm(16_000, 1), 1, 16_000, frames), codec="PCM s16le", short=True)
    add("sph_10", "sph", lambda path: box.sphere(pcm(16_000, 1, "s16be"), 1, 16_000, frames, order="10"), codec="PCM s16be", short=True)
    add("sph_01_stereo", "sph", lambda path: box.sphere(pcm(16_000, 2), 2, 16_000, frames), codec="PCM s16le", source=(16_000, 2))
    add("sph_timit_wav", "wav", lambda path: box.sphere(pcm(16_000, 1), 1, 16_000, frames, more=["database_id -s5 TIMIT", "sample_max -i 2191", "sample_sig_bits -i 16"]),
        codec="PCM s16le", note="TIMIT's files are SPHERE and are named .WAV")
    add("sph_header_2048", "sph", lambda path: box.sphere(pcm(16_000, 1), 1, 16_000, frames, header=2048), codec="PCM s16le")
    for channels in (1, 2):
        add(f"sph_ulaw_{channels}ch", "sph", lambda path, n=channels: box.sphere(pcm(8000, n, "mulaw"), n, 8000, 24_080, "ulaw", 1, "1"), codec="mulaw",
            source=(8000, channels), short=channels == 1)
    add("sph_mu_law", "sph", lambda path: box.sphere(pcm(8000, 1, "mulaw"), 1, 8000, 24_080, "mu-law", 1, None), codec="mulaw", source=(8000, 1), reference=("source",))
    add("sph_alaw", "sph", lambda path: box.sphere(pcm(8000, 1, "alaw"), 1, 8000, 24_080, "alaw", 1, None), codec="alaw", source=(8000, 1), reference=("ffmpeg", "source"))
    add("sph_no_coding", "sph", lambda path: box.sphere(pcm(16_000, 1), 1, 16_000, frames).replace(b"sample_coding -s3 pcm\n", b"") .replace(b"end_head\n", b"end_head\n" + b"\n" * 22),
        codec="PCM s16le", reference=("source",))
    add("sph_24bit", "sph", lambda path: box.sphere(pcm(16_000, 1, "s24le"), 1, 16_000, frames, width=3, order="012"), codec="PCM s24le",
        expect="either", names=["bit", "bytes"], reference=("source",))
    add("sph_sox", "sph", lambda path: run("sox", kinds.sources.wav(16_000, 2), path), codec="PCM s16", source=(16_000, 2))
    add("sph_sndfile", "nist", lambda path: run("sndfile-convert", "-pcm16", kinds.sources.wav(16_000, 2), path), codec="PCM s16", source=(16_000, 2))
    shorten = "pcm,embedded-shorten-v2.00"
    add("sph_shorten", "sph", lambda path: box.sphere(b"ajkg\x02" + pcm(16_000, 1)[:20_000], 1, 16_000, frames, shorten), codec="shorten", expect="named",
        names=["shorten"], short=True)
    add("sph_ulaw_shorten", "sph", lambda path: box.sphere(b"ajkg\x02" + pcm(16_000, 1)[:20_000], 1, 8000, frames, "ulaw,embedded-shorten-v2.00", 1, "1"), codec="shorten",
        expect="named", names=["shorten"])
    add("sph_half_missing", "sph", lambda path: box.sphere(pcm(16_000, 1), 1, 16_000, frames)[:48_000], codec="PCM s16le", expect="named", names=["truncated"])
    add("shorten", "shn", lambda path: b"ajkg\x02" + pcm(16_000, 1)[:20_000], container="shorten", codec="shorten", expect="named", names=["shorten"], source=None)


def others(kinds):
    """Containers nobody here needs: each must be named, or heard."""
    add = kinds.family("pcm-others", lossless=True, source=(16_000, 1), expect="either")
    wav = lambda: kinds.sources.wav(16_000, 1)
    for extension, container, names in (("voc", "VOC", ["VOC", "Creative"]), ("paf", "PAF", ["PAF", "not a known", "not audio"]),
                                        ("sf", "IRCAM", ["IRCAM", "not a known"]), ("svx", "8SVX", ["SVX", "IFF", "not a known"]),
                                        ("mat5", "MAT5", ["MAT", "not a known"]), ("pvf", "PVF", ["PVF", "not a known"]), ("htk", "HTK", ["HTK", "not a known", "raw"])):
        add(f"other_{extension}", extension, lambda path: run("sndfile-convert", "-pcm16", wav(), path), container=container, codec="PCM", names=names)
    raw = dict(container="none", codec="PCM s16le", source=None, expect="named", names=["not audio", "not a known", "raw"])
    add("raw_as_raw", "raw", lambda path: kinds.sources.pcm(16_000, 1), **raw, short=True)
    add("raw_as_wav", "wav", lambda path: kinds.sources.pcm(16_000, 1), **raw)
    add("raw_as_mp3", "mp3", lambda path: kinds.sources.pcm(16_000, 1), **raw)
    add("raw_f32", "pcm", lambda path: kinds.sources.pcm(16_000, 1, "f32le"), **raw)
    add("raw_mulaw", "ul", lambda path: kinds.sources.pcm(8000, 1, "mulaw"), **raw)
    add("raw_gsm", "gsm", lambda path: run("sox", kinds.sources.wav(8000, 1), path), container="none", codec="GSM 6.10", source=None, expect="named",
        names=["GSM", "not audio", "not a known", "raw"])


def declare(kinds):
    for part in (aiff, au, caf, sphere, others):
        part(kinds)
