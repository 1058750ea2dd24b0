"""MP1, MP2 and MP3: encoders' settings, tags, and files that were joined or cut."""

import functools
import random
import struct

import mpeg
from kit import ffmpeg, run

RATES = (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)


def lame(kinds, *arguments, source=(44_100, 2)):
    # To a file, because lame goes back to write its tag.
    path = kinds.folder / "parts" / "lame.mp3"
    # At the rate of the source, because at low bit rates lame chooses a lower one.
    run("lame", "--quiet", "--resample", source[0] / 1000, *arguments, kinds.sources.wav(*source), path)
    return path.read_bytes()


@functools.cache
def bare(kinds, rate, channels, sound="speech", kbps=64):
    """An MP3 of constant bit rate without any tag: its frames alone."""
    return lame(kinds, "-t", "-b", str(kbps), source=(rate, channels, sound))


def settings(kinds):
    add = kinds.family("mp3", container="MPEG audio", codec="MP3", source=(44_100, 2))
    for rate in RATES:
        for channels in (1, 2):
            add(f"mp3_{rate}_{channels}ch", "mp3", lambda path, s=(rate, channels): lame(kinds, "-b", "64", source=s),
                source=(rate, channels), short=(rate, channels) in ((16_000, 1), (44_100, 2)))
    for rate in (8000, 16_000, 22_050, 44_100):
        add(f"mp3_bare_{rate}", "mp3", lambda path, r=rate: bare(kinds, r, 1), source=(rate, 1), short=rate == 44_100)
    for kbps in (32, 48, 128, 320):
        add(f"mp3_cbr{kbps}", "mp3", lambda path, b=kbps: lame(kinds, "-b", str(b)))
    for level in (0, 4, 6, 9):
        add(f"mp3_V{level}", "mp3", lambda path, v=level: lame(kinds, "-V", str(v)))
        add(f"mp3_V{level}_bare", "mp3", lambda path, v=level: lame(kinds, "-t", "-V", str(v)))
    add("mp3_noise_then_speech_V6_bare", "mp3", lambda path: lame(kinds, "-t", "-V", "6", source=(44_100, 1, "late")), source=(44_100, 1, "late"),
        short=True, note="the bit rate of the first frames says nothing of the length")
    add("mp3_abr", "mp3", lambda path: lame(kinds, "--abr", "96"))
    add("mp3_abr_bare", "mp3", lambda path: lame(kinds, "-t", "--abr", "96"))
    for mode in "jsfd":
        add(f"mp3_mode_{mode}", "mp3", lambda path, m=mode: lame(kinds, "-m", m, "-b", "96"))
    add("mp3_crc", "mp3", lambda path: lame(kinds, "-p", "-b", "96"), short=True)
    add("mp3_crc_bare_mono", "mp3", lambda path: lame(kinds, "-p", "-t", source=(22_050, 1)), source=(22_050, 1))
    # ffmpeg knows no free format from the second frame on; libmpg123 does.
    add("mp3_free_format", "mp3", lambda path: lame(kinds, "--freeformat", "-b", "400"), expect="either", names=["free format", "corrupt", "MP3"],
        reference=("source",))
    add("mp3_lame_pipe", "mp3", lambda path: run("lame", "--quiet", "-V", "5", kinds.sources.wav(44_100, 2), "-"), short=True,
        note="the place of the tag is left empty")
    add("mp3_nores", "mp3", lambda path: lame(kinds, "--nores", "-b", "64"))
    add("mp3_shine", "mp3", lambda path: ffmpeg("-i", kinds.sources.wav(44_100, 2), "-c:a", "libshine", path))
    add("mp3_ffmpeg", "mp3", lambda path: ffmpeg("-i", kinds.sources.wav(44_100, 2), "-q:a", "4", path))
    add("mp3_ffmpeg_no_xing", "mp3", lambda path: ffmpeg("-i", kinds.sources.wav(44_100, 2), "-write_xing", "0", "-id3v2_version", "0", path))
    add("mp3_ffmpeg_pipe", "mp3", lambda path: ffmpeg("-i", kinds.sources.wav(44_100, 2), "-f", "mp3", "-"), expect="equal")
    add("mp3_sox", "mp3", lambda path: run("sox", kinds.sources.wav(44_100, 2), path))

    add = kinds.family("mp2", container="MPEG audio", codec="MP2", source=(44_100, 2))
    for rate in (16_000, 22_050, 24_000, 32_000, 44_100, 48_000):
        for channels in (1, 2):
            add(f"mp2_{rate}_{channels}ch", "mp2", lambda path, r=rate, n=channels: run("twolame", "--quiet", kinds.sources.wav(r, n), path),
                source=(rate, channels), short=(rate, channels) == (44_100, 2))
    for mode in ("joint", "dual"):
        add(f"mp2_{mode}", "mp2", lambda path, m=mode: run("twolame", "--quiet", "-m", m, "-b", "96", kinds.sources.wav(44_100, 2), path),
            # ffmpeg leaves out the first frames of joint stereo, which mpg123 decodes.
            reference=("mpg123",))
    add("mp2_crc", "mp2", lambda path: run("twolame", "--quiet", "-p", kinds.sources.wav(44_100, 2), path))
    add("mp2_vbr", "mp2", lambda path: run("twolame", "--quiet", "-v", kinds.sources.wav(44_100, 2), path))
    add("mp2_ffmpeg", "mp2", lambda path: ffmpeg("-i", kinds.sources.wav(48_000, 2), path), source=(48_000, 2))
    add("mp2_ffmpeg_fixed", "mp2", lambda path: ffmpeg("-i", kinds.sources.wav(48_000, 2), "-c:a", "mp2fixed", path), source=(48_000, 2))
    add("mp2_named_mp3", "mp2", lambda path: run("twolame", "--quiet", kinds.sources.wav(44_100, 2), path), ending="mp3", warning=None)

    add = kinds.family("mp1", container="MPEG audio", codec="MP1", note="random samples: its sound is known to a decoder only")
    for rate, channels, kbps in ((44_100, 2, 384), (48_000, 1, 192), (32_000, 2, 448), (24_000, 1, 128), (16_000, 2, 256)):
        add(f"mp1_{rate}_{channels}ch", "mp1", lambda path, r=rate, n=channels, b=kbps: mpeg.layer1(r, n, b), seconds=round(3 * rate / 384) * 384 / rate,
            short=(rate, channels) == (44_100, 2))
    add("mp1_padded", "mp1", lambda path: mpeg.layer1(padded=True), seconds=345 * 384 / 44_100)


def tags(kinds):
    add = kinds.family("mp3-tags", container="MPEG audio", codec="MP3", source=(44_100, 2))
    plain = lambda: bare(kinds, 44_100, 2)
    half = lambda: mpeg.frames(plain())

    def middle(tag):
        every = half()
        at = len(every) // 2
        return b"".join(every[:at]) + tag + b"".join(every[at:])

    for name, make, short in (
        ("id3v1", lambda: plain() + mpeg.id3v1(), True),
        ("id3v22", lambda: mpeg.id3v2(2) + plain(), False),
        ("id3v23", lambda: mpeg.id3v2(3) + plain(), False),
        ("id3v24_footer", lambda: mpeg.id3v2(4, footer=True) + plain(), False),
        ("id3v23_picture", lambda: mpeg.id3v2(3, 300_000) + plain(), True),
        ("id3v24_picture", lambda: mpeg.id3v2(4, 70_000) + plain(), False),
        ("id3v22_picture", lambda: mpeg.id3v2(2, 70_000) + plain(), False),
        ("id3v24_padded", lambda: mpeg.id3v2(4, pad=5000) + plain(), False),
        ("id3v2_twice", lambda: mpeg.id3v2(3, 3000) + mpeg.id3v2(4, 3000) + plain(), False),
        ("id3v2_at_end", lambda: plain() + mpeg.id3v2(4, footer=True), False),
        ("ape_at_end", lambda: plain() + mpeg.ape_tag(), True),
        ("ape_picture_at_end", lambda: plain() + mpeg.ape_tag(extra=9000), False),
        ("ape_id3v1_at_end", lambda: plain() + mpeg.ape_tag() + mpeg.id3v1(), False),
        ("ape_no_header", lambda: plain() + mpeg.ape_tag(header=False), False),
        ("ape_at_start", lambda: mpeg.ape_tag() + plain(), False),
        ("lyrics3", lambda: plain() + mpeg.lyrics3() + mpeg.id3v1(), False),
        ("lame_tag_with_all", lambda: mpeg.id3v2(3, 9000) + lame(kinds, "-V", "5") + mpeg.ape_tag() + mpeg.id3v1(), True),
        ("zeros_at_end", lambda: plain() + bytes(5000), False),
        ("zeros_at_start", lambda: bytes(5000) + plain(), False),
        ("id3v2_then_zeros", lambda: mpeg.id3v2(3) + bytes(1000) + plain(), False),
    ):
        # ffmpeg decodes what looks like a frame in some tags, so the untagged file is the truth.
        untagged = lambda: [kinds.part("bare_44100_2_speech.mp3", plain())]
        truth = dict(reference=("ffmpeg",)) if name == "lame_tag_with_all" else dict(reference=("parts",), parts=untagged)
        add(f"mp3_{name}", "mp3", lambda path, m=make: m(), short=short, **truth)
    for name, tag in (("id3v1", mpeg.id3v1), ("id3v2", lambda: mpeg.id3v2(3, 2000)), ("ape", lambda: mpeg.ape_tag(extra=2000))):
        add(f"mp3_{name}_in_the_middle", "mp3", lambda path, t=tag: middle(t()), reference=("parts",),
            parts=lambda: [kinds.part("bare_44100_2_speech.mp3", plain())], short=name == "id3v2")
    add("mp3_vbri", "mp3", lambda path: mpeg.vbri(bare(kinds, 44_100, 2)), short=True)
    add("mp3_xing_0_frames", "mp3", lambda path: xing(kinds, 0))
    add("mp3_xing_too_few", "mp3", lambda path: xing(kinds, 40), note="says a third of its frames; what is there is heard", reference=("parts", "ffmpeg"),
        parts=lambda: [kinds.part("V5_44100_2.mp3", lame(kinds, "-V", "5"))], warning="length", expect="either", names=["corrupt", "length"])
    add("mp3_xing_too_many", "mp3", lambda path: xing(kinds, 10_000), expect="named", names=["truncated"], note="says 261 s")
    rubbish = lambda count: bytes(byte & 0x7F for byte in random.Random(5).randbytes(count))
    for count in (100, 1000, 20_000):
        add(f"mp3_{count}_bytes_of_junk_in_front", "mp3", lambda path, n=count: rubbish(n) + plain(), reference=("parts",),
            parts=lambda: [kinds.part("bare_44100_2_speech.mp3", plain())], expect="equal" if count <= 1000 else "either", names=["not a", "corrupt"],
            short=count == 1000)
    add("mp3_web_head_in_front", "mp3", lambda path: b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\n\r\n" + plain(), reference=("ffmpeg", "parts"),
        parts=lambda: [kinds.part("bare_44100_2_speech.mp3", plain())], expect="either", names=["HTTP", "text"])


def xing(kinds, count):
    """A LAME file that states another number of frames."""
    content = lame(kinds, "-V", "5")
    at = content.index(b"Xing") + 8
    return content[:at] + struct.pack(">I", count) + content[at + 4:]


def joined(kinds):
    """Two files one after another, as `cat` and broadcasters make them. ffmpeg's command line resamples and remixes what follows
    to the form of the first, with a downmix of its own, so the truth is the decoding of each part alone."""
    add = kinds.family("mp3-joined", container="MPEG audio", codec="MP3")
    bare_part = lambda *source: kinds.part("bare_{}_{}_{}.mp3".format(*source), bare(kinds, *source))
    tagged_part = lambda *source: kinds.part("lame_{}_{}_{}.mp3".format(*source), lame(kinds, "-b", "64", source=source))
    speech, tail = "speech", "tail"
    for name, first, second, part, references, short in (
        ("same", (44_100, 2, speech), (44_100, 2, tail), bare_part, ("parts", "ffmpeg"), True),
        ("same_tagged", (44_100, 2, speech), (44_100, 2, tail), tagged_part, ("parts", "ffmpeg"), True),
        ("mono_then_stereo", (44_100, 1, speech), (44_100, 2, tail), bare_part, ("parts",), True),
        ("stereo_then_mono", (44_100, 2, speech), (44_100, 1, tail), bare_part, ("parts",), False),
        ("rate_up", (22_050, 2, speech), (44_100, 2, tail), bare_part, ("parts",), False),
        ("rate_down", (48_000, 1, speech), (16_000, 1, tail), bare_part, ("parts",), True),
        ("rate_and_channels", (44_100, 2, speech), (24_000, 1, tail), bare_part, ("parts",), False),
    ):
        add(f"mp3_joined_{name}", "mp3", lambda path, a=first, b=second, p=part: p(*a).read_bytes() + p(*b).read_bytes(), reference=references,
            parts=lambda a=first, b=second, p=part: [p(*a), p(*b)], short=short, frame=1152 if part is bare_part else 3 * 1152,
            note="an encoder's delay between the parts may be heard or not" if part is tagged_part else None)
    add("mp3_joined_with_id3", "mp3", lambda path: bare(kinds, 44_100, 2) + mpeg.id3v1() + mpeg.id3v2(3, 3000) + bare(kinds, 44_100, 2, tail),
        reference=("parts", "ffmpeg"), parts=lambda: [bare_part(44_100, 2, speech), bare_part(44_100, 2, tail)])
    add("mp3_joined_bit_rates", "mp3", lambda path: bare(kinds, 44_100, 2) + bare(kinds, 44_100, 2, tail, 192), reference=("ffmpeg",))


def damage(kinds):
    add = kinds.family("mp3-damage", container="MPEG audio", codec="MP3", source=(44_100, 2))
    plain = lambda: bare(kinds, 44_100, 2)
    add("mp3_last_frame_cut", "mp3", lambda path: plain()[:-150], short=True)
    add("mp3_last_frame_cut_tagged", "mp3", lambda path: lame(kinds, "-b", "128")[:-200])
    add("mp3_starts_in_a_frame", "mp3", lambda path: plain()[5000:], seconds=None, reference=("ffmpeg",), expect="either", names=["corrupt"],
        note="cut out of a stream: the first frame refers to bits that are gone", source=None)
    add("mp3_half_missing_bare", "mp3", lambda path: plain()[:len(plain()) // 2], source=None, note="nothing in the file says that it was longer")
    add("mp3_half_missing", "mp3", lambda path: (lambda c: c[:len(c) // 2])(lame(kinds, "-b", "128")), seconds=None, expect="named", names=["truncated"], short=True)
    every = lambda: mpeg.frames(plain())
    add("mp3_a_frame_lost", "mp3", lambda path: b"".join(every()[:40] + every()[41:]), seconds=None, expect="either", names=["corrupt"], warning="damage", frame=3 * 1152)
    add("mp3_rubbish_between", "mp3", lambda path: b"".join(every()[:40] + [b"rubbish" * 100] + every()[40:]), expect="either", names=["corrupt"],
        reference=("parts", "ffmpeg"), parts=lambda: [kinds.part("bare_44100_2_speech.mp3", plain())], warning="damage", frame=3 * 1152)
    add("mp3_random_bytes", "mp3", lambda path: random.Random(9).randbytes(40_000), source=None, expect="named",
        names=["corrupt", "not audio", "not a known"], container="none", codec="none")


def declare(kinds):
    for part in (settings, tags, joined, damage):
        part(kinds)
