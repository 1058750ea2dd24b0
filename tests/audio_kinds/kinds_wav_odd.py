"""WAV files as programs really write them: odd chunks, wrong lengths, pipes, and files that were cut short."""

import struct

import containers as box
from containers import chunk, fmt, riff
from kit import ffmpeg, run

LIST = chunk(b"LIST", b"INFOISFT\x0e\0\0\0Lavf59.27.100\0")
ODD_LIST = b"INFOINAM\x05\0\0\0title"
BEXT = chunk(b"bext", b"a description".ljust(256, b"\0") + bytes(346))
FACT = chunk(b"fact", struct.pack("<I", 48_160))


def chunks(kinds):
    add = kinds.family("wav-chunks", container="WAV", codec="PCM s16le", source=(16_000, 2), lossless=True)
    form, samples = fmt(box.PCM, 2, 16_000, 16), lambda: kinds.sources.pcm(16_000, 2)
    data = lambda: chunk(b"data", samples())
    made = {
        "list_before": lambda: riff(form, LIST, data()),
        "list_after": lambda: riff(form, data(), LIST),
        "list_before_fmt": lambda: riff(LIST, form, data()),
        "odd_padded_before": lambda: riff(form, chunk(b"LIST", ODD_LIST), data()),
        "odd_padded_after": lambda: riff(form, data(), chunk(b"LIST", ODD_LIST)),
        "odd_unpadded_after": lambda: riff(form, data(), chunk(b"LIST", ODD_LIST, pad=False)),
        "junk": lambda: riff(chunk(b"JUNK", bytes(4000)), form, data()),
        "pad_to_4096": lambda: riff(form, chunk(b"PAD ", bytes(4096 - 12 - 24 - 8 - 8)), data()),
        "fllr": lambda: riff(form, chunk(b"FLLR", bytes(4044)), data()),
        "bext": lambda: riff(BEXT, form, data()),
        "fact": lambda: riff(form, FACT, data()),
        "fact_wrong": lambda: riff(form, chunk(b"fact", struct.pack("<I", 100)), data()),
        "id3_after": lambda: riff(form, data(), chunk(b"id3 ", b"ID3\x04\0\0\0\0\0\x0a" + bytes(10))),
        "cue_smpl": lambda: riff(form, chunk(b"cue ", struct.pack("<IIIIIII", 1, 1, 0, 0x6174_6164, 0, 0, 100)), chunk(b"smpl", bytes(36)), data()),
        "unknown_chunk_with_data_inside": lambda: riff(form, chunk(b"abcd", b"data\x04\0\0\0\x7f\x7f\x7f\x7f"), data()),
        "bytes_after_the_end": lambda: riff(form, data()) + b"some rubbish after the file" * 9,
        "zeros_after_the_end": lambda: riff(form, data()) + bytes(4096),
        "second_data": lambda: riff(form, data(), chunk(b"data", bytes(64))),
        "byte_rate_wrong": lambda: riff(fmt(box.PCM, 2, 16_000, 16, byte_rate=1), data()),
        "byte_rate_zero": lambda: riff(fmt(box.PCM, 2, 16_000, 16, byte_rate=0xFFFF_FFFF), data()),
    }
    for name, make in made.items():
        add(f"wav_{name}", "wav", lambda path, m=make: m(), short=name in ("list_before", "odd_padded_before", "odd_unpadded_after", "bext"),
            reference=("source",) if name == "second_data" else ("ffmpeg",))
    # The chunk after an odd one that isn't padded begins a byte early. Readers that look for it find it; ffmpeg doesn't.
    add("wav_odd_unpadded_before", "wav", lambda path: riff(form, chunk(b"LIST", ODD_LIST, pad=False), data()),
        expect="either", names=["corrupt", "data", "chunk"], reference=("source",))
    add("wav_u8_odd_data", "wav", lambda path: riff(fmt(box.PCM, 1, 16_000, 8), chunk(b"data", kinds.sources.pcm(16_000, 1, "u8")[:48_159]), LIST),
        codec="PCM u8", source=(16_000, 1), seconds=48_159 / 16_000)
    add("wav_u8_odd_data_unpadded", "wav", lambda path: riff(fmt(box.PCM, 1, 16_000, 8), chunk(b"data", kinds.sources.pcm(16_000, 1, "u8")[:48_159], pad=False), LIST),
        codec="PCM u8", source=(16_000, 1), seconds=48_159 / 16_000)


def lengths(kinds):
    """Lengths in the header that are not true. A tool that writes to a pipe can't go back to correct them."""
    add = kinds.family("wav-lengths", container="WAV", codec="PCM s16le", source=(16_000, 2), lossless=True)
    form, samples = fmt(box.PCM, 2, 16_000, 16), lambda: kinds.sources.pcm(16_000, 2)
    long = len_data = 4 * 48_160

    def sized(size, riff_size, tail=b""):
        return lambda path: riff(form, chunk(b"data", samples(), size=size), size=riff_size) + tail

    for name, size, riff_size, warning, short in (
        ("data_0_riff_36", 0, 36, "length", True),
        ("data_0_riff_0", 0, 0, "length", True),
        ("data_0_riff_right", 0, 36 + long, "length", False),
        ("data_ffffffff", 0xFFFF_FFFF, 0xFFFF_FFFF, None, True),
        ("data_ffffffff_riff_0", 0xFFFF_FFFF, 0, None, False),
        ("data_7fffffff", 0x7FFF_FFFF, 0x7FFF_FFFF, None, False),
        ("data_7ffff000", 0x7FFF_F000, 0x7FFF_F024, None, False),
        ("data_80000000", 0x8000_0000, 0x8000_0024, None, False),
        ("data_fffffff0", 0xFFFF_FFF0, 0xFFFF_FFF0, None, False),
        ("data_1_too_many", len_data + 1, 37 + long, None, True),
        ("data_44_too_many", len_data + 44, 36 + long, None, True),
        ("data_8_too_many", len_data + 8, 44 + long, None, False),
        ("riff_size_0", len_data, 0, None, False),
        ("riff_size_8_too_many", len_data, 44 + long, None, False),
        ("riff_size_8_too_few", len_data, 28 + long, None, False),
        ("riff_size_ffffffff", len_data, 0xFFFF_FFFF, None, False),
        ("riff_size_of_header", len_data, 36, None, False),
    ):
        add(f"wav_{name}", "wav", sized(size, riff_size), warning=warning, short=short, reference=("ffmpeg", "source"))
    for cut in (1, 2, 3):
        make = lambda path, c=cut: riff(form, chunk(b"data", samples()[:-c]))
        add(f"wav_frame_lacks_{cut}", "wav", make, short=cut == 1, note="the last frame is incomplete, and the length says so")
    add("wav_10_percent_missing", "wav", lambda path: riff(form, chunk(b"data", samples()))[:44 + long * 9 // 10], expect="either",
        names=["truncated"], warning="length", source=None)
    for share in (50, 80, 95):
        make = lambda path, s=share: riff(form, chunk(b"data", samples()))[:44 + long * (100 - s) // 100]
        add(f"wav_{share}_percent_missing", "wav", make, expect="named", names=["truncated"], short=share == 50, source=None)
    add("wav_header_alone", "wav", lambda path: riff(form, chunk(b"data", samples()))[:44], expect="named", names=["truncated", "no samples"], short=True)
    add("wav_half_a_header", "wav", lambda path: riff(form, chunk(b"data", samples()))[:30], expect="named", names=["truncated", "corrupt", "cut"])
    add("wav_no_data_chunk", "wav", lambda path: riff(form, LIST), expect="named", names=["no samples", "data", "truncated"])
    add("wav_no_fmt_chunk", "wav", lambda path: riff(chunk(b"data", samples())), expect="named", names=["fmt", "corrupt"])
    add("wav_0_channels", "wav", lambda path: riff(fmt(box.PCM, 0, 16_000, 16), chunk(b"data", samples())), expect="named", names=["channel", "corrupt"])
    add("wav_rate_0", "wav", lambda path: riff(fmt(box.PCM, 2, 0, 16), chunk(b"data", samples())), expect="named", names=["rate", "corrupt", " 0 Hz"])
    add("wav_nothing_in_data", "wav", lambda path: riff(form, chunk(b"data", b"")), expect="named", names=["no samples", "empty"])
    silence = lambda path: riff(form, chunk(b"data", bytes(64_000)))
    add("wav_silence", "wav", silence, source=None, seconds=1.0)
    add("wav_one_sample", "wav", lambda path: riff(form, chunk(b"data", b"\x40\x20\x40\x20")), source=None, seconds=1 / 16_000)


def pipes(kinds):
    add = kinds.family("wav-pipes", container="WAV", codec="PCM s16le", source=(44_100, 2), lossless=True)
    wav = lambda: kinds.sources.wav(44_100, 2)
    add("wav_ffmpeg_pipe", "wav", lambda path: ffmpeg("-i", wav(), "-f", "wav", "-"), short=True)
    add("wav_ffmpeg_pipe_f32", "wav", lambda path: ffmpeg("-i", wav(), "-c:a", "pcm_f32le", "-f", "wav", "-"), codec="PCM f32le")
    add("wav_ffmpeg_pipe_6ch", "wav", lambda path: ffmpeg("-i", kinds.sources.f32(44_100, 6), "-c:a", "pcm_s24le", "-f", "wav", "-"),
        codec="PCM s24le", source=(44_100, 6))
    add("wav_sox_pipe", "wav", lambda path: run("sox", "-t", "raw", "-r", "44100", "-c", "2", "-b", "16", "-e", "signed", "-", "-t", "wav", "-",
                                                stdin=kinds.sources.pcm(44_100, 2)), short=True)
    add("wav_sox_pipe_mulaw", "wav", lambda path: run("sox", "-t", "raw", "-r", "44100", "-c", "2", "-b", "16", "-e", "signed", "-", "-t", "wav",
                                                      "-e", "mu-law", "-", stdin=kinds.sources.pcm(44_100, 2)), codec="mulaw")
    add("w64_ffmpeg_pipe", "w64", lambda path: ffmpeg("-i", wav(), "-f", "w64", "-"), container="Wave64", reference=("source",), expect="either",
        names=["length", "truncated", "no samples", "corrupt"], note="its lengths are 0, and ffmpeg finds nothing in it")
    add("wav_mpg123_style", "wav", lambda path: riff(fmt(box.PCM, 2, 44_100, 16), chunk(b"data", kinds.sources.pcm(44_100, 2), size=0xFFFF_FFFF - 36),
                                                     size=0xFFFF_FFFF))


def declare(kinds):
    for part in (chunks, lengths, pipes):
        part(kinds)
