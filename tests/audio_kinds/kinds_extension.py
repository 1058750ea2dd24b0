"""Files whose names say something else than they hold: the content counts, and a warning says so."""

from kit import ffmpeg, run

# Extension, container, codec, encoder, lossless.
MADE = (
    ("wav", "WAV", "PCM s16le", "pcm_s16le", True), ("aiff", "AIFF", "PCM s16be", "pcm_s16be", True), ("au", "AU", "PCM s16be", "pcm_s16be", True),
    ("caf", "CAF", "PCM s16be", "pcm_s16be", True), ("w64", "Wave64", "PCM s16le", "pcm_s16le", True), ("flac", "FLAC", "FLAC", "flac", True),
    ("mp3", "MPEG audio", "MP3", "libmp3lame", False), ("mp2", "MPEG audio", "MP2", "mp2", False), ("aac", "ADTS", "AAC", "aac", False),
    ("m4a", "MP4", "AAC", "aac", False), ("mov", "MOV", "PCM s16le", "pcm_s16le", True), ("ogg", "Ogg", "Vorbis", "libvorbis", False),
    ("opus", "Ogg", "Opus", "libopus", False), ("mka", "Matroska", "PCM s16le", "pcm_s16le", True), ("webm", "WebM", "Vorbis", "libvorbis", False),
    ("wv", "WavPack", "WavPack", "wavpack", True), ("tta", "TTA", "TTA", "tta", True), ("wma", "ASF", "WMA", "wmav2", False),
)


def declare(kinds):
    add = kinds.family("extension")
    for extension, container, codec, encoder, lossless in MADE:
        source = (48_000, 2) if codec == "Opus" else (44_100, 2)
        for ending in ("wav", "mp3", "flac", "bin"):
            if ending == extension or ending in ("flac", "bin") and extension not in ("mp3", "wav", "ogg"):
                continue
            expect = {"TTA": "named", "WMA": "named", "WavPack": "either"}.get(codec, "equal")
            names = {"TTA": ["TTA", "True Audio"], "WMA": ["WMA", "Windows Media", "ASF"], "WavPack": ["WavPack"]}.get(codec, ())
            # `.mp3` also stands for the other MPEG layers, and `.bin` for anything.
            warning = "extension" if ending != "bin" and (extension, ending) not in (("mp2", "mp3"), ("w64", "wav")) and expect != "named" else None
            add(f"{extension}_{codec.split()[0].lower()}_named_{ending}", extension, lambda path, e=extension, c=encoder, s=source: written(kinds, path, e, c, s),
                container=container, codec=codec, source=source, lossless=lossless, expect=expect, names=names, warning=warning, ending=ending,
                short=ending == "wav" and extension in ("mp3", "flac", "m4a"))
    add("sph_named_wav", "sph", lambda path: run("sox", kinds.sources.wav(16_000, 1), "-t", "sph", path), container="NIST SPHERE", codec="PCM s16", source=(16_000, 1),
        lossless=True, ending="wav", note="as TIMIT is distributed: no warning")
    add("wav_without_extension", "wav", lambda path: kinds.sources.wav(16_000, 1).read_bytes(), container="WAV", codec="PCM s16le", source=(16_000, 1), lossless=True,
        ending="WAV")


def written(kinds, path, extension, encoder, source):
    right = kinds.folder / "parts" / f"extension.{extension}"
    if not right.exists():
        ffmpeg("-i", kinds.sources.f32(*source), "-c:a", encoder, right)
    return right.read_bytes()
