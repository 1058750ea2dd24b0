"""Ogg: Vorbis, Opus, Speex; chained and multiplexed streams."""

import containers as box
from kit import ffmpeg, run


def vorbis(kinds):
    add = kinds.family("vorbis", container="Ogg", codec="Vorbis", source=(44_100, 2))
    encode = lambda *arguments, source=(44_100, 2): lambda path: run("oggenc", "--quiet", *arguments, "-o", path, kinds.sources.wav(*source))
    for quality in (-1, 0, 3, 6, 10):
        add(f"vorbis_q{quality}", "ogg", encode("-q", str(quality)), short=quality == 3)
    for rate in (8000, 11_025, 16_000, 22_050, 32_000, 48_000, 96_000):
        add(f"vorbis_{rate}", "ogg", encode("-q", "3", source=(rate, 1)), source=(rate, 1), short=rate == 16_000)
    for channels in (1, 3, 4, 5, 6, 7, 8):
        add(f"vorbis_{channels}ch", "ogg", encode("-q", "5", source=(44_100, channels)), source=(44_100, channels), short=channels == 6)
    add("vorbis_managed", "ogg", encode("--managed", "-b", "96"))
    add("vorbis_big_comment", "ogg", encode("-q", "3", "-c", "LONG=" + "x" * 100_000))
    add("vorbis_ffmpeg", "oga", lambda path: ffmpeg("-i", kinds.sources.f32(44_100, 2), "-c:a", "libvorbis", path))
    add("vorbis_ffmpeg_own", "ogg", lambda path: ffmpeg("-i", kinds.sources.f32(44_100, 2), "-c:a", "vorbis", "-strict", "-2", path),
        # ffmpeg decodes what its own encoder makes otherwise than libvorbis does.
        reference=("libvorbis",))
    add("vorbis_short_pages", "ogg", lambda path: ffmpeg("-i", kinds.sources.f32(44_100, 2), "-c:a", "libvorbis", "-page_duration", "50000", path))
    add("vorbis_cut_from_a_stream", "ogg", lambda path: box.ogg_shifted(plain(kinds), 5 * 44_100), note="its positions begin at 5 s",
        reference=("ffmpeg", "source"), expect="equal")
    add("vorbis_half_missing", "ogg", lambda path: plain(kinds)[:len(plain(kinds)) // 2], source=None, expect="either", names=["truncated"],
        warning="length", note="the last page isn't marked as the last; nothing says how much is missing")
    add("vorbis_last_page_missing", "ogg", lambda path: b"".join(box.ogg_pages(plain(kinds))[:-1]), source=None, expect="either", names=["truncated"])
    add("vorbis_bad_checksum", "ogg", lambda path: bad_checksum(plain(kinds)), expect="either", names=["corrupt", "checksum"], warning="damage",
        reference=("ffmpeg", "source"), frame=44_100)
    add("vorbis_junk_between_pages", "ogg", lambda path: (lambda pages: b"".join(pages[:4]) + b"junk" * 30 + b"".join(pages[4:]))(box.ogg_pages(plain(kinds))),
        expect="either", names=["corrupt"], reference=("ffmpeg", "source"), warning="damage")
    add("vorbis_with_theora", "ogv", lambda path: ffmpeg("-f", "lavfi", "-i", "testsrc=s=64x48:r=5:d=3", "-i", kinds.sources.f32(44_100, 2), "-c:v", "libtheora", "-c:a", "libvorbis", path),
        container="Ogg with Theora", short=True)

    add = kinds.family("ogg-chained", container="Ogg", codec="Vorbis", reference=("parts",))
    for name, first, second, short in (
        ("same", (44_100, 2, "speech"), (44_100, 2, "tail"), True),
        ("rate", (44_100, 2, "speech"), (16_000, 2, "tail"), True),
        ("channels", (44_100, 1, "speech"), (44_100, 2, "tail"), True),
        ("rate_and_channels", (48_000, 2, "speech"), (22_050, 1, "tail"), False),
    ):
        parts = lambda a=first, b=second: [vorbis_part(kinds, *a), vorbis_part(kinds, *b)]
        add(f"vorbis_chained_{name}", "ogg", lambda path, p=parts: b"".join(each.read_bytes() for each in p()), parts=parts, short=short)
    thrice = lambda: [vorbis_part(kinds, *each) for each in ((44_100, 2, "speech"), (22_050, 1, "tail"), (44_100, 2, "tail"))]
    add("vorbis_chained_three", "ogg", lambda path: b"".join(each.read_bytes() for each in thrice()), parts=thrice)
    opus = lambda: [opus_part(kinds, 48_000, 2, "speech"), opus_part(kinds, 48_000, 1, "tail")]
    add("opus_chained", "opus", lambda path: b"".join(each.read_bytes() for each in opus()), parts=opus, codec="Opus", expect="either", names=["Opus"])
    mixed = lambda: [vorbis_part(kinds, 44_100, 2, "speech"), opus_part(kinds, 48_000, 1, "tail")]
    add("vorbis_then_opus", "ogg", lambda path: b"".join(each.read_bytes() for each in mixed()), parts=mixed, codec="Vorbis, Opus", expect="either", names=["Opus", "codec"])


def vorbis_part(kinds, rate, channels, sound):
    path = kinds.folder / "parts" / f"vorbis_{rate}_{channels}_{sound}.ogg"
    if not path.exists():
        # Streams of a chain must have different numbers.
        run("oggenc", "--quiet", "-q", "3", "-s", str(rate + channels + len(sound)), "-o", path, kinds.sources.wav(rate, channels, sound))
    return path


def opus_part(kinds, rate, channels, sound, *arguments):
    path = kinds.folder / "parts" / f"opus_{rate}_{channels}_{sound}{''.join(arguments)}.opus"
    if not path.exists():
        run("opusenc", "--quiet", *arguments, "--serial", str(rate + channels + len(sound)), kinds.sources.wav(rate, channels, sound), path)
    return path


def plain(kinds):
    return vorbis_part(kinds, 44_100, 2, "speech").read_bytes()


def bad_checksum(content):
    pages = box.ogg_pages(content)
    pages[len(pages) // 2][22] ^= 0xFF
    return b"".join(pages)


def opus(kinds):
    add = kinds.family("opus", container="Ogg", codec="Opus", source=(48_000, 2))
    encode = lambda *arguments, source=(48_000, 2): lambda path: run("opusenc", "--quiet", *arguments, kinds.sources.wav(*source), path)
    for channels in (1, 2):
        for kbps in (8, 12, 16, 24, 32, 64, 128):
            add(f"opus_{kbps}k_{channels}ch", "opus", encode("--bitrate", str(kbps), source=(48_000, channels)), source=(48_000, channels),
                short=(channels, kbps) in ((1, 12), (1, 24), (2, 128)), note="SILK at 8 to 16 kbit/s, then hybrid, then CELT")
    for size in ("2.5", "5", "10", "40", "60"):
        add(f"opus_frame_{size}", "opus", encode("--framesize", size), short=size == "2.5")
        if size in ("10", "40", "60"):
            add(f"opus_frame_{size}_silk", "opus", encode("--framesize", size, "--bitrate", "12", source=(16_000, 1)), source=(16_000, 1))
    for mode in ("speech", "music"):
        for kbps in (20, 40):
            add(f"opus_{mode}_{kbps}k", "opus", encode(f"--{mode}", "--bitrate", str(kbps)))
    for rate in (8000, 12_000, 16_000, 24_000, 44_100):
        add(f"opus_from_{rate}", "opus", encode(source=(rate, 1)), source=(rate, 1))
    add("opus_hard_cbr", "opus", encode("--hard-cbr"))
    add("opus_loss_fec", "opus", encode("--expect-loss", "30", "--bitrate", "16", source=(48_000, 1)), source=(48_000, 1))
    add("opus_no_phase_inv", "opus", encode("--no-phase-inv", "--bitrate", "20"))
    for channels in (3, 4, 5, 6, 7, 8):
        add(f"opus_{channels}ch", "opus", encode("--bitrate", str(48 * channels), source=(48_000, channels)), source=(48_000, channels), short=channels == 6)
    for application in ("voip", "lowdelay"):
        add(f"opus_ffmpeg_{application}", "opus", lambda path, a=application: ffmpeg("-i", kinds.sources.f32(48_000, 2), "-c:a", "libopus", "-application", a, path))
    add("opus_ffmpeg_frame_120", "opus", lambda path: ffmpeg("-i", kinds.sources.f32(48_000, 2), "-c:a", "libopus", "-frame_duration", "120", path))
    add("opus_ffmpeg_255", "opus", lambda path: ffmpeg("-i", kinds.sources.f32(48_000, 4), "-c:a", "libopus", "-mapping_family", "255", path), source=(48_000, 4))
    add("opus_dtx", "opus", lambda path: ffmpeg("-i", kinds.sources.f32(48_000, 1), "-af", "apad=pad_dur=1", "-c:a", "libopus", "-dtx", "1", "-b:a", "16k", path),
        source=None, seconds=4.01)
    made = lambda: opus_part(kinds, 48_000, 2, "speech").read_bytes()
    for skip in (0, 120, 1000, 9600):
        add(f"opus_pre_skip_{skip}", "opus", lambda path, s=skip: box.opus_head(made(), pre_skip=s), source=None, seconds=None, short=skip == 1000)
    for decibels in (-12, 6):
        # ffmpeg applies the gain of the header as RFC 7845 asks.
        add(f"opus_gain_{decibels}", "opus", lambda path, d=decibels: box.opus_head(made(), gain=256 * d), short=decibels == -12)
    add("opus_big_comment", "opus", encode("--comment", "LONG=" + "x" * 70_000))
    add("opus_cut_from_a_stream", "opus", lambda path: box.ogg_shifted(made(), 5 * 48_000), reference=("ffmpeg", "source"), frame=48_000 // 10)
    add("opus_named_ogg", "opus", encode(), ending="ogg")
    add("opus_half_missing", "opus", lambda path: made()[:len(made()) // 2], source=None, expect="either", names=["truncated"], warning="length")

    add = kinds.family("speex", container="Ogg", codec="Speex", expect="named", names=["Speex"])
    for flag, rate in (("--narrowband", 8000), ("--wideband", 16_000), ("--ultra-wideband", 32_000)):
        add(f"speex_{rate}", "spx", lambda path, f=flag, r=rate: run("speexenc", "--quiet", f, kinds.sources.wav(r, 1), path), source=(rate, 1), frame=2000,
            short=rate == 16_000)
    add("speex_stereo", "ogg", lambda path: ffmpeg("-i", kinds.sources.f32(16_000, 2), "-c:a", "libspeex", path), source=(16_000, 2), frame=2000)


def declare(kinds):
    vorbis(kinds)
    opus(kinds)
