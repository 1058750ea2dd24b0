"""Matroska and WebM, as ffmpeg and mkvmerge write them."""

from kit import ffmpeg, run


def declare(kinds):
    add = kinds.family("matroska", container="Matroska", source=(44_100, 2))
    encode = lambda codec, *more, source=(44_100, 2): lambda path: ffmpeg("-i", kinds.sources.f32(*source), "-c:a", codec, *more, path)
    for codec, name, lossless, short in (
        ("pcm_s16le", "PCM s16le", True, True), ("pcm_s24le", "PCM s24le", True, False), ("pcm_f32le", "PCM f32le", True, False), ("pcm_s16be", "PCM s16be", True, False),
        ("pcm_u8", "PCM u8", True, False), ("flac", "FLAC", True, False), ("aac", "AAC", False, True), ("libmp3lame", "MP3", False, False),
        ("libvorbis", "Vorbis", False, True), ("mp2", "MP2", False, False), ("alac", "ALAC", True, False),
    ):
        add(f"mka_{codec}", "mka", encode(codec), codec=name, lossless=lossless, short=short, expect="either" if codec in ("pcm_s16be", "alac", "mp2") else "equal",
            names=[name, name.split()[0], "codec"])
    add("mka_opus", "mka", encode("libopus", source=(48_000, 2)), codec="Opus", source=(48_000, 2))
    add("mka_pcm_6ch", "mka", encode("pcm_s16le", source=(48_000, 6)), codec="PCM s16le", source=(48_000, 6), lossless=True)
    for codec, name, names in (("ac3", "AC-3", ["AC-3", "AC3"]), ("eac3", "E-AC-3", ["AC-3", "AC3"]), ("dca", "DTS", ["DTS"]), ("tta", "TTA", ["TTA", "True Audio"]),
                               ("truehd", "TrueHD", ["TrueHD"]), ("wmav2", "WMA", ["WMA", "ACM", "Windows"])):
        add(f"mka_{codec}", "mka", encode(codec, "-strict", "-2", source=(48_000, 2)), codec=name, expect="named", names=names, source=(48_000, 2), short=codec == "ac3")
    add("mka_wavpack", "mka", encode("wavpack"), codec="WavPack", expect="either", names=["WavPack"], lossless=True)
    live = ("-f", "matroska", "-live", "1")
    add("mka_live_vorbis", "mka", lambda path: ffmpeg("-i", kinds.sources.f32(44_100, 2), "-c:a", "libvorbis", *live, "-"), codec="Vorbis",
        note="sizes are unknown, as in a stream")
    add("mka_piped_opus", "mka", lambda path: ffmpeg("-i", kinds.sources.f32(48_000, 2), "-c:a", "libopus", "-f", "matroska", "-"), codec="Opus", source=(48_000, 2))
    add("mka_cues_first", "mka", encode("libvorbis", "-cues_to_front", "1", "-reserve_index_space", "2000"), codec="Vorbis")
    add("mka_half_missing", "mka", lambda path: (lambda c: c[:len(c) // 2])(kinds.encoded("half.mka", "-c:a", "pcm_s16le", source=(44_100, 2))), codec="PCM s16le",
        source=None, lossless=True, expect="named", names=["truncated"])
    for name, arguments, codec, source in (
        ("lacing_aac", ("-c:a", "aac"), "AAC", "lace.m4a"), ("mp3", ("-c:a", "libmp3lame"), "MP3", "lace.mp3"), ("flac", ("-c:a", "flac"), "FLAC", "lace.flac"),
        ("vorbis", ("-c:a", "libvorbis"), "Vorbis", "lace.ogg"), ("opus", ("-c:a", "libopus", "-ar", "48000"), "Opus", "lace.opus"), ("pcm", (), "PCM s16le", "lace.wav"),
    ):
        add(f"mkvmerge_{name}", "mka", lambda path, a=arguments, s=source: merged(kinds, path, a, s), codec=codec, lossless=codec in ("FLAC", "PCM s16le"),
            short=name == "lacing_aac")
    for method in ("zlib", "none"):
        add(f"mkvmerge_compression_{method}", "mka", lambda path, m=method: merged(kinds, path, ("-c:a", "libmp3lame"), "lace.mp3", "--compression", f"0:{m}"),
            codec="MP3", expect="either" if method == "zlib" else "equal", names=["compress"])

    add = kinds.family("webm", container="WebM", source=(48_000, 2))
    add("webm_opus", "webm", encode("libopus", source=(48_000, 2)), codec="Opus", short=True)
    add("webm_opus_mono_24k", "webm", encode("libopus", "-b:a", "24k", source=(48_000, 1)), codec="Opus", source=(48_000, 1))
    add("webm_opus_60ms", "webm", encode("libopus", "-frame_duration", "60", source=(48_000, 2)), codec="Opus")
    add("webm_opus_6ch", "webm", encode("libopus", source=(48_000, 6)), codec="Opus", source=(48_000, 6))
    add("webm_vorbis", "webm", encode("libvorbis", source=(48_000, 2)), codec="Vorbis", short=True)
    add("webm_opus_vp8", "webm", lambda path: ffmpeg("-f", "lavfi", "-i", "testsrc=s=64x48:r=5:d=3", "-i", kinds.sources.f32(48_000, 2), "-c:v", "libvpx", "-c:a", "libopus", path), codec="Opus")
    add("webm_piped", "webm", lambda path: ffmpeg("-i", kinds.sources.f32(48_000, 2), "-c:a", "libopus", "-f", "webm", "-live", "1", "-"), codec="Opus",
        note="as a browser's MediaRecorder writes it")


def merged(kinds, path, arguments, name, *options):
    kinds.encoded(name, *arguments, source=(44_100, 2))
    run("mkvmerge", "--quiet", "-o", path, *options, kinds.folder / "parts" / name)
