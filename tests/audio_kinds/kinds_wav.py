"""WAV and its relatives: PCM of every width, other codecs, RF64, RIFX, Wave64."""

import struct

import containers as box
from containers import chunk, fmt, riff
from kit import ffmpeg, run

# Name, bytes per sample, codec.
PCM = {"u8": (1, box.PCM), "s16le": (2, box.PCM), "s24le": (3, box.PCM), "s32le": (4, box.PCM), "f32le": (4, box.FLOAT),
       "f64le": (8, box.FLOAT)}
RATES = (4000, 8000, 11_025, 12_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000, 176_400, 192_000)
MASKS = {1: 4, 2: 3, 3: 7, 4: 0x33, 5: 0x37, 6: 0x3F, 7: 0x70F, 8: 0x63F}


def pcm(kinds):
    add = kinds.family("wav-pcm", container="WAV", lossless=True)
    pcm = kinds.sources.pcm

    def wav(rate, channels, form, **header):
        width, codec = PCM[form]
        return lambda path: riff(fmt(codec, channels, rate, 8 * width, **header), chunk(b"data", pcm(rate, channels, form)))

    for form in PCM:
        for channels in (1, 2):
            add(f"wav_{form}_{channels}ch", "wav", wav(16_000, channels, form), codec=f"PCM {form}", source=(16_000, channels),
                short=channels == 2)
    for rate in RATES:
        add(f"wav_s16_{rate}", "wav", wav(rate, 2, "s16le"), codec="PCM s16le", source=(rate, 2), short=rate in (8000, 44_100))
    add("wav_f32_44100_mono", "wav", wav(44_100, 1, "f32le"), codec="PCM f32le", source=(44_100, 1))
    for rate in (12_345, 37_800):
        add(f"wav_s16_{rate}", "wav", wav(rate, 1, "s16le"), codec="PCM s16le", source=(rate, 1))
    for channels in range(3, 9):
        add(f"wav_s16_{channels}ch", "wav", wav(16_000, channels, "s16le"), codec="PCM s16le", source=(16_000, channels),
            short=channels in (3, 6))
    for size in (18, 20):
        for form in ("s16le", "f32le", "s24le"):
            add(f"wav_{form}_fmt{size}", "wav", wav(16_000, 2, form, size=size), codec=f"PCM {form}", source=(16_000, 2),
                short=form == "s16le")
    # Fewer bits than the container has, said in the plain header; by the specification they are the upper ones. ffmpeg takes 24 in
    # four bytes for Adobe Audition's float format, which has the same header, so this kind may be refused too.
    for width, bits, reference, short in ((2, 12, "ffmpeg", True), (3, 20, "source", False), (4, 24, "source", True), (4, 20, "source", False),
                                          (2, 14, "ffmpeg", False)):
        add(f"wav_{bits}in{8 * width}", "wav", few_bits(kinds, width, bits), codec=f"PCM {bits} in {8 * width} bit", source=(16_000, 2),
            reference=(reference,), short=short, expect="either" if (width, bits) == (4, 24) else "equal", names=["24", "bit"] if (width, bits) == (4, 24) else ())


def few_bits(kinds, width, bits):
    return lambda path: riff(fmt(box.PCM, 2, 16_000, bits, align=2 * width), chunk(b"data", kinds.sources.kept_bits(16_000, 2, width, bits)))


def extensible(kinds):
    add = kinds.family("wav-extensible", container="WAV", lossless=True)
    pcm = kinds.sources.pcm
    for form, (width, codec) in PCM.items():
        make = lambda path, f=form, w=width, c=codec: riff(
            fmt(c, 2, 16_000, 8 * w, 40, mask=3), chunk(b"data", pcm(16_000, 2, f)))
        add(f"ext_{form}", "wav", make, codec=f"PCM {form}", source=(16_000, 2), short=form in ("s16le", "f32le"))
    for channels, mask in MASKS.items():
        make = lambda path, n=channels, m=mask: riff(
            fmt(box.PCM, n, 16_000, 24, 40, mask=m), chunk(b"data", pcm(16_000, n, "s24le")))
        add(f"ext_s24_{channels}ch", "wav", make, codec="PCM s24le", source=(16_000, channels), short=channels == 6)
    for width, valid in ((2, 12), (2, 8), (3, 20), (3, 16), (4, 24), (4, 20), (4, 16)):
        make = lambda path, w=width, v=valid: riff(
            fmt(box.PCM, 2, 16_000, 8 * w, 40, valid=v, mask=3), chunk(b"data", kinds.sources.kept_bits(16_000, 2, w, v)))
        add(f"ext_{valid}in{8 * width}", "wav", make, codec=f"PCM {valid} in {8 * width} bit", source=(16_000, 2), reference=("source",),
            short=(width, valid) == (4, 24), note="8 bits of a quiet sound are far from the source" if valid == 8 else None)
    make = lambda path: riff(fmt(box.PCM, 2, 16_000, 16, 40, valid=0), chunk(b"data", pcm(16_000, 2, "s16le")))
    add("ext_valid0", "wav", make, codec="PCM s16le", source=(16_000, 2))
    make = lambda path: riff(fmt(box.PCM, 6, 16_000, 16, 40, mask=3), chunk(b"data", pcm(16_000, 6, "s16le")))
    add("ext_mask_too_small", "wav", make, codec="PCM s16le", source=(16_000, 6))
    make = lambda path: riff(fmt(box.PCM, 2, 16_000, 16, 40, mask=0xFFFF_FFFF), chunk(b"data", pcm(16_000, 2, "s16le")))
    add("ext_mask_all", "wav", make, codec="PCM s16le", source=(16_000, 2))


def companded(kinds):
    add = kinds.family("wav-g711", container="WAV", lossless=True)
    for codec, form in ((box.ALAW, "alaw"), (box.MULAW, "mulaw")):
        for size in (16, 18, 20, 40):
            make = lambda path, c=codec, f=form, s=size: riff(
                fmt(c, 1, 8000, 8, s, mask=4), chunk(b"data", kinds.sources.pcm(8000, 1, f)))
            add(f"wav_{form}_fmt{size}", "wav", make, codec=form, source=(8000, 1), short=True)
        for rate, channels in ((8000, 2), (16_000, 1), (44_100, 2)):
            make = lambda path, c=codec, f=form, r=rate, n=channels: riff(
                fmt(c, n, r, 8, 18), chunk(b"fact", struct.pack("<I", 3 * r)), chunk(b"data", kinds.sources.pcm(r, n, f)))
            add(f"wav_{form}_{rate}_{channels}ch", "wav", make, codec=form, source=(rate, channels))
    add("wav_mulaw_16bit_said", "wav", lambda path: riff(fmt(box.MULAW, 1, 8000, 16, 18, align=1), chunk(b"data", kinds.sources.pcm(8000, 1, "mulaw"))),
        codec="mulaw", source=(8000, 1), expect="either", names=["corrupt", "law"], reference=("source",),
        note="a header that states 16 bits for 8-bit codes")


def coded(kinds):
    """ADPCM must be heard; GSM must be named; the rest may be heard or named."""
    source = lambda rate, channels: ("-i", kinds.sources.f32(rate, channels))
    add = kinds.family("wav-adpcm", container="WAV")
    for codec, name in (("adpcm_ima_wav", "IMA ADPCM"), ("adpcm_ms", "MS ADPCM")):
        for rate, channels in ((8000, 1), (11_025, 2), (22_050, 1), (44_100, 1), (44_100, 2)):
            for block in (1024,) if rate != 22_050 else (256, 512, 2048):
                make = lambda path, c=codec, r=rate, n=channels, b=block: ffmpeg(*source(r, n), "-c:a", c, "-block_size", str(b), path)
                # The last block is filled up, and `fact` says where the sound ends, which ffmpeg doesn't read.
                add(f"wav_{codec}_{rate}_{channels}ch_{block}", "wav", make, codec=name, source=(rate, channels), frame=2 * block + 8,
                    short=(rate, channels) == (44_100, 2))
    for codec, word in (("ima-adpcm", "IMA ADPCM"), ("ms-adpcm", "MS ADPCM")):
        for channels in (1, 2):
            make = lambda path, c=codec, n=channels: run("sox", kinds.sources.wav(16_000, n), "-e", c, path)
            add(f"wav_sox_{codec}_{channels}ch", "wav", make, codec=word, source=(16_000, channels), frame=4096, short=channels == 1)
            make = lambda path, c=codec, n=channels: run("sndfile-convert", f"-{c}", kinds.sources.wav(16_000, n), path)
            add(f"wav_sndfile_{codec}_{channels}ch", "wav", make, codec=word, source=(16_000, channels), frame=4096)

    add = kinds.family("wav-named", container="WAV")
    gsm = dict(codec="GSM 6.10", expect="named", names=["GSM"], source=(8000, 1), frame=640)
    add("wav_gsm_ffmpeg", "wav", lambda path: ffmpeg(*source(8000, 1), "-c:a", "libgsm_ms", path), **gsm, short=True)
    add("wav_gsm_sox", "wav", lambda path: run("sox", kinds.sources.wav(8000, 1), "-e", "gsm-full-rate", path), **gsm)
    add("wav_gsm_sndfile", "wav", lambda path: run("sndfile-convert", "-gsm610", kinds.sources.wav(8000, 1), path), **gsm)
    for name, rate, channels, arguments, codec, names in (
        ("mp3", 44_100, 2, ["libmp3lame"], "MP3", ["MP3", "MPEG"]),
        ("mp3_mono_16k", 16_000, 1, ["libmp3lame"], "MP3", ["MP3", "MPEG"]),
        ("mp2", 48_000, 2, ["mp2"], "MP2", ["MP2", "MPEG"]),
        ("aac", 44_100, 2, ["aac"], "AAC", ["AAC"]),
        ("ac3", 48_000, 2, ["ac3"], "AC-3", ["AC-3", "AC3"]),
        ("dts", 48_000, 2, ["dca", "-strict", "-2"], "DTS", ["DTS"]),
        ("g726", 8000, 1, ["g726", "-b:a", "32k"], "G.726", ["G.726", "G726"]),
        ("g722", 16_000, 1, ["g722"], "G.722", ["G.722", "G722"]),
        ("g723", 8000, 1, ["g723_1", "-b:a", "6300"], "G.723.1", ["G.723", "G723"]),
        ("yamaha", 22_050, 1, ["adpcm_yamaha"], "Yamaha ADPCM", ["Yamaha"]),
        ("wmav2", 44_100, 2, ["wmav2"], "WMA", ["WMA", "Windows Media"]),
        ("flac", 44_100, 2, ["flac"], "FLAC", ["FLAC"]),
        ("speex", 16_000, 1, ["libspeex"], "Speex", ["Speex"]),
    ):
        make = lambda path, r=rate, n=channels, a=arguments: ffmpeg(*source(r, n), "-c:a", *a, path)
        # ffmpeg can't read these two back, so nothing says what they sound like.
        add(f"wav_with_{name}", "wav", make, codec=codec, expect="named" if name in ("aac", "speex") else "either", names=names, source=(rate, channels), short=name in ("mp3", "g726"))
    make = lambda path: riff(fmt(0x1234, 1, 16_000, 16, 18), chunk(b"data", kinds.sources.pcm(16_000, 1)))
    add("wav_unknown_codec", "wav", make, codec="0x1234", expect="named", names=["1234", "4660"])
    make = lambda path: riff(fmt(0, 1, 16_000, 16, 18), chunk(b"data", kinds.sources.pcm(16_000, 1)))
    add("wav_codec_0", "wav", make, codec="0", expect="named", names=["codec", "format", "0x0"], note="0 is WAVE_FORMAT_UNKNOWN")


def relatives(kinds):
    pcm = kinds.sources.pcm
    add = kinds.family("rf64", container="RF64", lossless=True)
    for magic in (b"RF64", b"BW64"):
        for form, bits in (("s16le", 16), ("s24le", 24)):
            make = lambda path, m=magic, f=form, b=bits: box.rf64(
                fmt(box.PCM, 2, 44_100, b), pcm(44_100, 2, f), round(44_100 * 3.01), m, chunk(b"LIST", b"INFOISFT\x04\0\0\0kit\0"))
            add(f"{magic.decode().lower()}_{form}", "wav", make, codec=f"PCM {form}", source=(44_100, 2), short=form == "s16le")
    add("rf64_ffmpeg", "wav", lambda path: ffmpeg("-i", kinds.sources.f32(44_100, 2), "-rf64", "always", path),
        codec="PCM s16le", source=(44_100, 2))
    add("rf64_sndfile", "rf64", lambda path: run("sndfile-convert", "-pcm24", kinds.sources.wav(44_100, 2), path),
        codec="PCM s24le", source=(44_100, 2))
    make = lambda path: box.rf64(fmt(box.FLOAT, 6, 48_000, 32, 40, mask=0x3F), pcm(48_000, 6, "f32le"), round(48_000 * 3.01))
    add("rf64_f32_6ch", "wav", make, codec="PCM f32le", source=(48_000, 6))
    make = lambda path: riff(chunk(b"JUNK", bytes(28)), fmt(box.PCM, 1, 16_000, 16), chunk(b"data", pcm(16_000, 1)))
    add("riff_with_room_for_ds64", "wav", make, codec="PCM s16le", source=(16_000, 1))

    # ffmpeg reads the samples of RIFX as little-endian.
    add = kinds.family("rifx", container="RIFX", lossless=True, reference=("source",))
    for form, bits, codec in (("u8", 8, box.PCM), ("s16be", 16, box.PCM), ("s24be", 24, box.PCM), ("s32be", 32, box.PCM), ("f32be", 32, box.FLOAT)):
        make = lambda path, f=form, b=bits, c=codec: riff(
            fmt(c, 2, 16_000, b, end=">"), chunk(b"data", pcm(16_000, 2, f), ">"), magic=b"RIFX", end=">")
        add(f"rifx_{form}", "wav", make, codec=f"PCM {form}", source=(16_000, 2), short=form == "s16be")
    add("rifx_sox", "wav", lambda path: run("sox", kinds.sources.wav(44_100, 2), "-B", path), codec="PCM s16be", source=(44_100, 2))

    add = kinds.family("w64", container="Wave64", lossless=True)
    for form in ("pcm_s16le", "pcm_s24le", "pcm_f32le", "pcm_mulaw", "pcm_u8"):
        add(f"w64_{form}", "w64", lambda path, f=form: ffmpeg("-i", kinds.sources.f32(44_100, 2), "-c:a", f, path),
            codec=form.replace("pcm_", "PCM "), source=(44_100, 2), short=form == "pcm_s16le")
    add("w64_sox", "w64", lambda path: run("sox", kinds.sources.wav(16_000, 1), path), codec="PCM s16le", source=(16_000, 1))
    add("w64_sndfile_f64", "w64", lambda path: run("sndfile-convert", "-float64", kinds.sources.f32(16_000, 2), path),
        codec="PCM f64le", source=(16_000, 2))
    add("w64_wavex_8ch", "w64", lambda path: ffmpeg("-i", kinds.sources.f32(16_000, 8), path), codec="PCM s16le", source=(16_000, 8))


def declare(kinds):
    for part in (pcm, extensible, companded, coded, relatives):
        part(kinds)
