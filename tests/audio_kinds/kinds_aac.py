"""AAC in ADTS, LATM and MP4; ALAC, MP3, Opus and others in MP4; video with a sound track."""

import struct

import containers as box
import mpeg
from kit import Skip, ffmpeg, run

VIDEO = ("-f", "lavfi", "-i", "testsrc=s=64x48:r=5:d=3")


def with_video(source, *arguments):
    """ffmpeg's arguments for a small picture and a sound."""
    return (*VIDEO, "-i", source, "-map", "0:v", "-map", "1:a", "-c:v", "libx264", "-preset", "ultrafast", *arguments)


def adts(kinds):
    add = kinds.family("aac-adts", container="ADTS", codec="AAC", source=(44_100, 2))
    encode = lambda rate, channels, *more: lambda path: ffmpeg("-i", kinds.sources.f32(rate, channels), "-c:a", "aac", *more, path)
    for rate in (8000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000):
        add(f"adts_{rate}", "aac", encode(rate, 1), source=(rate, 1), short=rate == 16_000)
    for channels in (2, 3, 4, 5, 6, 8):
        add(f"adts_{channels}ch", "aac", encode(44_100, channels, "-b:a", f"{64 * channels}k"), source=(44_100, channels) if channels != 3 else None,
            short=channels in (2, 6), note="ffmpeg mixes 2.1 to 3.0 before it encodes" if channels == 3 else None,
            expect="equal" if channels <= 2 else "either", names=() if channels <= 2 else ["channel"])
    add("adts_24k", "aac", encode(44_100, 2, "-b:a", "24k"))
    add("adts_fast", "aac", encode(44_100, 2, "-aac_coder", "fast"))
    add("adts_no_tns_is_pns", "aac", encode(44_100, 2, "-aac_tns", "0", "-aac_is", "0", "-aac_pns", "0"))
    add("adts_mpeg2", "aac", lambda path: mpeg2(ffmpeg("-i", kinds.sources.f32(44_100, 2), "-c:a", "aac", "-aac_pns", "0", "-f", "adts", "-")))
    made = lambda: kinds.encoded("adts.aac", "-c:a", "aac", source=(44_100, 2))
    add("adts_id3v2", "aac", lambda path: mpeg.id3v2(4, 3000) + made(), short=True)
    add("adts_id3v1", "aac", lambda path: made() + mpeg.id3v1())
    add("adts_last_frame_cut", "aac", lambda path: made()[:-60])
    add("adts_junk_in_front", "aac", lambda path: bytes(range(1, 100)) * 2 + made(), expect="either", names=["not a known", "not audio"])
    add("adts_starts_in_a_frame", "aac", lambda path: made()[1000:], source=None, expect="either", names=["not a known", "not audio", "corrupt"])
    add("adts_joined", "aac", lambda path: made() + kinds.encoded("tail.aac", "-c:a", "aac", source=(44_100, 2, "tail")), source=None)
    add("adts_mono_then_stereo", "aac", lambda path: kinds.encoded("mono.aac", "-c:a", "aac", source=(44_100, 1)) + kinds.encoded("tail.aac", "-c:a", "aac", source=(44_100, 2, "tail")),
        reference=("parts",), parts=lambda: [kinds.folder / "parts/mono.aac", kinds.folder / "parts/tail.aac"], expect="either", names=["channel"])

    add = kinds.family("aac-latm", container="LATM/LOAS", codec="AAC", source=(44_100, 2), expect="either", names=["LATM", "LOAS"])
    add("latm", "latm", lambda path: ffmpeg("-i", kinds.sources.f32(44_100, 2), "-c:a", "aac", "-f", "latm", path), short=True)
    add("latm_named_aac", "latm", lambda path: ffmpeg("-i", kinds.sources.f32(44_100, 2), "-c:a", "aac", "-f", "latm", path), ending="aac")


def mpeg2(content):
    """Sets the MPEG-2 bit in each frame's header."""
    content, at = bytearray(content), 0
    while at + 7 <= len(content):
        content[at + 1] |= 8
        at += (content[at + 3] & 3) << 11 | content[at + 4] << 3 | content[at + 5] >> 5
    return bytes(content)


def high_efficiency(kinds):
    """Debian has no encoder for HE-AAC. These are AAC-LC files that call themselves HE-AAC: without SBR data a decoder doubles the
    rate and adds nothing, so the sound is the source's. A decoder that takes the doubled rate for the rate of the samples
    plays them at double speed."""
    add = kinds.family("aac-he", container="MP4", expect="either", source=(16_000, 1), reference=("source", "ffmpeg"), frame=8192)
    made = lambda: kinds.encoded("low.m4a", "-c:a", "aac", source=(16_000, 1))
    # AudioSpecificConfig: type, index of the rate, channels, index of the doubled rate and type of the core in 5, 4, 4, 4 and 5
    # bits, then three zeros.
    packed = lambda kind: struct.pack(">I", (kind << 17 | 8 << 13 | 1 << 9 | 5 << 5 | 2) << 10)
    names = ["HE-AAC", "SBR", "aacPlus"]
    add("he_aac_explicit", "m4a", lambda path: box.mp4_with_config(made(), packed(5)), codec="HE-AAC", names=names, short=True)
    add("he_aac_v2_explicit", "m4a", lambda path: box.mp4_with_config(made(), packed(29)), codec="HE-AAC v2", names=[*names, "PS"])
    # Backward compatible: LC first, then 0x2B7, type 5, SBR present, index of the doubled rate.
    compatible = (2 << 11 | 8 << 7 | 1 << 3) << 24 | (0x2B7 << 5 | 5) << 8 | 1 << 7 | 5 << 3
    add("he_aac_compatible", "m4a", lambda path: box.mp4_with_config(made(), compatible.to_bytes(5, "big")), codec="HE-AAC", names=names)
    add("he_aac_implicit", "aac", lambda path: with_sbr(kinds.encoded("low.aac", "-c:a", "aac", source=(16_000, 1))), codec="HE-AAC", names=names, container="ADTS",
        short=True)


def with_sbr(content):
    """Adds a fill element that holds (empty) SBR data to each ADTS frame, before its END element, which is 3 one bits."""
    at, out = 0, []
    while at + 7 <= len(content):
        size = (content[at + 3] & 3) << 11 | content[at + 4] << 3 | content[at + 5] >> 5
        value = int.from_bytes(content[at + 7:at + size], "big")
        zeros = (value & -value).bit_length() - 1
        bits = 8 * (size - 7) - zeros
        value >>= zeros
        if value & 7 != 7:
            raise Skip("a frame doesn't end in END")
        # FIL (6), 2 bytes: extension 13 (SBR), no header; then END.
        value, bits = value >> 3, bits - 3
        for field, width in ((6, 3), (2, 4), (13, 4), (0, 12), (7, 3)):
            value, bits = value << width | field, bits + width
        value, bits = value << -bits % 8, bits + -bits % 8
        head = bytearray(content[at:at + 7])
        length = 7 + bits // 8
        head[3] = head[3] & ~3 | length >> 11
        head[4], head[5] = length >> 3 & 255, (length & 7) << 5 | head[5] & 31
        out.append(bytes(head) + value.to_bytes(bits // 8, "big"))
        at += size
    return b"".join(out)


def mp4(kinds):
    add = kinds.family("mp4-aac", container="MP4", codec="AAC", source=(44_100, 2))
    made = lambda *more, source=(44_100, 2): lambda path: ffmpeg("-i", kinds.sources.f32(*source), "-c:a", "aac", *more, path)
    for rate, channels in ((8000, 1), (16_000, 1), (22_050, 2), (44_100, 2), (48_000, 2), (48_000, 1)):
        add(f"m4a_{rate}_{channels}ch", "m4a", made(source=(rate, channels)), source=(rate, channels), short=rate == 44_100)
    for channels in (3, 6, 8):
        add(f"m4a_{channels}ch", "m4a", made("-b:a", f"{64 * channels}k", source=(44_100, channels)), source=(44_100, channels) if channels != 3 else None, expect="either",
            names=["channel", "AAC"], short=channels == 6)
    add("m4a_moov_first", "m4a", made("-movflags", "+faststart"), short=True)
    add("m4a_fragmented", "m4a", made("-movflags", "frag_keyframe+empty_moov"), short=True)
    add("m4a_fragmented_dash", "mp4", made("-movflags", "dash+delay_moov", "-frag_duration", "500000"))
    add("m4a_piped", "m4a", lambda path: ffmpeg("-i", kinds.sources.f32(44_100, 2), "-c:a", "aac", "-movflags", "frag_keyframe+empty_moov", "-f", "mp4", "-"))
    add("m4a_no_edit_list", "m4a", made("-use_editlist", "0"))
    add("m4a_edit_cuts_start", "m4a", lambda path: ffmpeg("-ss", "0.5", "-i", part(kinds), "-c", "copy", path), seconds=None, source=None)
    add("m4a_edit_cuts_both", "m4a", lambda path: ffmpeg("-ss", "0.7", "-t", "1.5", "-i", part(kinds), "-c", "copy", path), seconds=None, source=None)
    add("m4a_edit_delays", "m4a", lambda path: ffmpeg("-itsoffset", "0.4", "-i", part(kinds), "-c", "copy", path), expect="either", names=["edit"],
        reference=("ffmpeg", "source"), note="an empty edit: 0.4 s of silence or none")
    add("m4a_big_metadata", "m4a", made("-metadata", "comment=" + "x" * 60_000, "-movflags", "+faststart"))
    add("m4a_brand_3gp", "3gp", lambda path: ffmpeg("-i", kinds.sources.f32(16_000, 1), "-c:a", "aac", path), source=(16_000, 1))
    add("m4b", "m4b", lambda path: ffmpeg("-i", kinds.sources.f32(44_100, 2), "-c:a", "aac", "-f", "ipod", path))
    add("m4a_no_moov", "m4a", lambda path: cut_before(part(kinds).read_bytes(), b"moov"), source=None, expect="named", names=["truncated", "moov", "missing"], short=True)
    add("m4a_half_missing", "m4a", lambda path: (lambda c: c[:len(c) // 2])(kinds.encoded("front.m4a", "-c:a", "aac", "-movflags", "+faststart", source=(44_100, 2))),
        source=None, expect="named", names=["truncated"])

    add = kinds.family("mp4-others", container="MP4", source=(44_100, 2))
    encode = lambda codec, *more, source=(44_100, 2): lambda path: ffmpeg("-i", kinds.sources.f32(*source), "-c:a", codec, *more, path)
    add("alac_16", "m4a", encode("alac", "-sample_fmt", "s16p"), codec="ALAC", lossless=True, short=True)
    add("alac_24", "m4a", encode("alac", "-sample_fmt", "s32p"), codec="ALAC", lossless=True)
    add("alac_mono_16k", "m4a", encode("alac", source=(16_000, 1)), codec="ALAC", lossless=True, source=(16_000, 1))
    add("alac_6ch", "m4a", encode("alac", source=(48_000, 6)), codec="ALAC", lossless=True, source=(48_000, 6), expect="either", names=["channel", "ALAC"])
    add("mp3_in_mp4", "mp4", encode("libmp3lame"), codec="MP3", short=True)
    add("mp3_in_mp4_16k", "mp4", encode("libmp3lame", source=(16_000, 1)), codec="MP3", source=(16_000, 1))
    add("mp2_in_mp4", "mp4", encode("mp2"), codec="MP2", expect="either", names=["MP2", "MPEG"])
    add("opus_in_mp4", "mp4", encode("libopus", source=(48_000, 2)), codec="Opus", source=(48_000, 2), short=True, expect="either", names=["Opus"])
    add("opus_in_mp4_mono", "mp4", encode("libopus", source=(48_000, 1)), codec="Opus", source=(48_000, 1), expect="either", names=["Opus"])
    add("ac3_in_mp4", "mp4", encode("ac3"), codec="AC-3", expect="named", names=["AC-3", "AC3"])
    add("eac3_in_mp4", "mp4", encode("eac3"), codec="E-AC-3", expect="named", names=["E-AC-3", "EAC3", "AC-3"])
    add("dts_in_mp4", "mp4", encode("dca", "-strict", "-2"), codec="DTS", expect="named", names=["DTS"])
    add("vorbis_in_mp4", "mp4", encode("libvorbis"), codec="Vorbis", expect="either", names=["Vorbis"])
    for form in ("s16le", "s16be", "s24le", "f32le", "u8"):
        add(f"mov_{form}", "mov", encode(f"pcm_{form}"), container="MOV", codec=f"PCM {form}", lossless=True, short=form == "s16le")
    for form in ("mulaw", "alaw"):
        add(f"mov_{form}", "mov", encode(f"pcm_{form}"), container="MOV", codec=form, lossless=True, expect="either", names=["law", "codec"])
    add("mov_ima4", "mov", encode("adpcm_ima_qt"), container="MOV", codec="ima4", expect="either", names=["IMA", "ima4"])
    add("mp4_with_amr", "3gp", lambda path: amr_in_3gp(kinds, path), codec="AMR", container="3GP", source=None, expect="named", names=["AMR"])

    add = kinds.family("video", source=(44_100, 2))
    source = lambda: kinds.sources.f32(44_100, 2)
    for extension, container, codec, name in (("mp4", "MP4", "aac", "AAC"), ("mov", "MOV", "aac", "AAC"), ("mkv", "Matroska", "aac", "AAC"), ("mp4", "MP4", "libmp3lame", "MP3"),
                                              ("mov", "MOV", "pcm_s16le", "PCM s16le"), ("mkv", "Matroska", "flac", "FLAC")):
        add(f"video_{extension}_{codec}", extension, lambda path, c=codec: ffmpeg(*with_video(source(), "-c:a", c, path)), container=container, codec=name,
            short=(extension, codec) == ("mp4", "aac"), lossless=codec in ("pcm_s16le", "flac"))
    add("video_sound_first", "mp4", lambda path: ffmpeg(*VIDEO, "-i", source(), "-map", "1:a", "-map", "0:v", "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac", path),
        container="MP4", codec="AAC")
    add("video_two_sounds", "mp4", lambda path: ffmpeg("-i", source(), "-i", kinds.sources.f32(16_000, 1), "-map", "0:a", "-map", "1:a", "-c:a", "aac", path),
        container="MP4", codec="AAC", note="the first track counts")
    for extension, container in (("mp4", "MP4"), ("mkv", "Matroska")):
        add(f"video_without_sound_{extension}", extension, lambda path: ffmpeg(*VIDEO, "-c:v", "libx264", "-preset", "ultrafast", path), container=container,
            codec="none", source=None, expect="named", names=["no audio", "no sound", "without an audio"], short=extension == "mp4")


def part(kinds):
    kinds.encoded("edit.m4a", "-c:a", "aac", source=(44_100, 2))
    return kinds.folder / "parts/edit.m4a"


def cut_before(content, name):
    return content[:content.index(name) - 4]


def amr_in_3gp(kinds, path):
    amr = kinds.folder / "parts/speech.amr"
    run("sox", kinds.sources.wav(8000, 1), "-t", "amr-nb", amr)
    ffmpeg("-i", amr, "-c", "copy", path)


def declare(kinds):
    for each in (adts, high_efficiency, mp4):
        each(kinds)
