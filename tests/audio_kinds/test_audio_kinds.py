"""The comparison sees what it claims to see: `python3 -B -m unittest discover tests/audio_kinds`."""

import array
import io
import json
import math
import os
import random
import shutil
import stat
import struct
import sys
import tempfile
import unittest
from contextlib import redirect_stdout
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent))

import compare
import containers as box
import make
import mpeg
import report
import sound

HERE = Path(__file__).resolve().parent


def speech_like(length=16_000, seed=1):
    """Noise through a simple low-pass filter, with a loudness that changes."""
    rng, value, samples = random.Random(seed), 0.0, array.array("f")
    for at in range(length):
        value += 0.3 * (rng.uniform(-1, 1) - value)
        samples.append(value * (0.6 + 0.4 * math.sin(at / 900)))
    return samples


class Measuring(unittest.TestCase):
    def faults(self, heard, lossless=True, most=1):
        return sound.difference(array.array("f", heard), self.truth, lossless, most).faults

    def setUp(self):
        self.truth = speech_like()

    def test_the_same_sound_is_equal(self):
        self.assertEqual(self.faults(self.truth), [])

    def test_a_shift_within_the_limit_is_equal(self):
        self.assertEqual(self.faults([0.0] * 5 + list(self.truth[:-5])), [])
        self.assertEqual(self.faults(list(self.truth[5:]) + [0.0] * 5), [])

    def test_a_larger_shift_is_another_sound(self):
        self.assertIn("sound", self.faults([0.0] * 6 + list(self.truth[:-6])))
        self.assertIn("sound", self.faults(list(self.truth[6:]) + [0.0] * 6))

    def test_a_shortened_sound(self):
        self.assertEqual(self.faults(self.truth[:-2]), ["length"])
        self.assertEqual(self.faults(self.truth[:-300], False, 418), [])
        self.assertEqual(self.faults(self.truth[:-500], False, 418), ["length"])

    def test_a_lengthened_sound(self):
        self.assertEqual(self.faults(list(self.truth) + [0.0] * 500, False, 418), ["length"])

    def test_a_quieter_and_a_louder_sound(self):
        # 0.1 dB is a factor of 1.0116.
        self.assertEqual(self.faults([0.98 * value for value in self.truth]), ["level"])
        self.assertEqual(self.faults([1.02 * value for value in self.truth]), ["level"])
        self.assertEqual(self.faults([1.01 * value for value in self.truth]), [])

    def test_noise_silence_and_inversion(self):
        self.assertIn("sound", self.faults(speech_like(seed=2)))
        self.assertIn("sound", self.faults([0.0] * len(self.truth)))
        self.assertIn("sound", self.faults([-value for value in self.truth]))

    def test_a_hole_in_the_middle(self):
        heard = list(self.truth)
        heard[8000:8400] = [0.0] * 400
        self.assertIn("sound", self.faults(heard))

    def test_a_value_that_is_no_number(self):
        self.assertEqual(self.faults([math.nan] + list(self.truth[1:])), ["not finite"])

    def test_added_noise_is_allowed_to_lossy_files_only(self):
        rng = random.Random(3)
        power = math.sqrt(sum(value * value for value in self.truth) / len(self.truth))
        # Noise of 1 % of the power: correlation 1 / sqrt(1.01) = 0.995, level +0.04 dB.
        heard = [value + rng.gauss(0, 0.1 * power) for value in self.truth]
        self.assertEqual(self.faults(heard), ["sound"])
        self.assertEqual(self.faults(heard, lossless=False), [])

    def test_silence_equals_silence_only(self):
        self.truth = array.array("f", bytes(4000))
        self.assertEqual(self.faults(self.truth), [])
        self.assertIn("sound", self.faults(speech_like(1000)))

    def test_the_report_says_how_late_a_sound_is(self):
        self.assertEqual(sound.find_shift(array.array("f", [0.0] * 1024) + self.truth, self.truth), 1024)
        self.assertEqual(sound.find_shift(self.truth[529:], self.truth), -529)
        self.assertIsNone(sound.find_shift(speech_like(seed=5), self.truth))


class Containers(unittest.TestCase):
    def test_wav_round_trip_and_the_mean_of_channels(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "a.wav"
            sound.write_wav(path, [0.5, -0.25, 1.0, 0.0], 8000, 2)
            wav = sound.read_wav(path.read_bytes())
        self.assertEqual((wav.rate, wav.channels, wav.frames), (8000, 2, 2))
        self.assertEqual(list(wav.mono()), [0.125, 0.5])

    def test_an_integer_wav_is_not_taken_for_float(self):
        wav = box.riff(box.fmt(box.PCM, 1, 16_000, 16), box.chunk(b"data", bytes(8)))
        with self.assertRaises(AssertionError):
            sound.read_wav(wav)

    def test_extended_floats_as_in_every_aiff(self):
        self.assertEqual(box.extended(44_100).hex(), "400eac44000000000000")
        self.assertEqual(box.extended(8000).hex(), "400bfa00000000000000")

    def test_the_checksum_of_ogg(self):
        page = bytearray(b"OggS" + bytes(23) + b"\x05hello")
        page[26], page[27:] = 1, b"\x05hello"
        joined = box.ogg_join([page])
        self.assertEqual([bytes(each) for each in box.ogg_pages(joined)], [joined])
        self.assertNotEqual(joined[22:26], bytes(4))

    def test_frames_of_layer_1_have_their_length(self):
        # 12 × 384,000 / 44,100 = 104.49: 104 slots of 4 bytes, and 105 in a padded frame.
        self.assertEqual({len(frame) for frame in mpeg.frames(mpeg.layer1(seconds=0.1))}, {416})
        self.assertEqual({len(frame) for frame in mpeg.frames(mpeg.layer1(seconds=0.1, padded=True))}, {416, 420})

    def test_tags_have_their_length(self):
        self.assertEqual(len(mpeg.id3v1()), 128)
        tag = mpeg.id3v2(4, pad=300, footer=True)
        size = sum(byte << shift for byte, shift in zip(tag[6:10], (21, 14, 7, 0)))
        self.assertEqual(len(tag), 10 + size + 10)


@unittest.skipUnless(shutil.which("ffmpeg"), "needs ffmpeg")
class Programs(unittest.TestCase):
    """The whole comparison, with a stand-in for the sandbox."""

    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        (cls.folder / "files").mkdir()
        truth = speech_like(32_000, 4)
        samples = struct.pack("<32000h", *(round(32_000 * value) for value in truth))
        stereo = struct.pack("<64000h", *(round(30_000 * value) for pair in zip(truth, speech_like(32_000, 6)) for value in pair))
        cls.entries = []
        for name, content, expect, names in (
            ("mono", box.riff(box.fmt(box.PCM, 1, 16_000, 16), box.chunk(b"data", samples)), "equal", []),
            ("stereo", box.riff(box.fmt(box.PCM, 2, 16_000, 16), box.chunk(b"data", stereo)), "equal", []),
            ("page", b"<html>not found</html>", "named", ["HTML"]),
        ):
            (cls.folder / f"files/{name}.wav").write_bytes(content)
            cls.entries.append({
                "name": name, "file": f"files/{name}.wav", "family": "test", "container": "WAV", "codec": "PCM", "expect": expect, "names": names,
                "lossless": True, "warning": None, "seconds": 2.0, "reference": ["ffmpeg"], "source": None, "parts": None, "frame": None, "note": None,
            })
        cls.program = cls.folder / "standin"
        cls.program.write_text(f"#!/bin/sh\nexec {sys.executable} -B {HERE / 'standin.py'} \"$@\"\n")
        cls.program.chmod(cls.program.stat().st_mode | stat.S_IXUSR)

    def outcome(self, fault="", entries=None, *arguments):
        """Exit code and output."""
        lines = [json.dumps(entry) + "\n" for entry in entries or self.entries]
        (self.folder / "manifest.jsonl").write_text("".join(lines))
        with mock.patch.dict(os.environ, STANDIN_FAULT=fault), redirect_stdout(io.StringIO()) as printed:
            code = compare.main([str(self.folder), "--sandbox", str(self.program), "--jobs", "1", *map(str, arguments)])
        return code, printed.getvalue()

    def test_a_good_ear_passes(self):
        code, printed = self.outcome()
        self.assertEqual(code, 0, printed)
        self.assertIn("2 of 2 (100.0%) must be heard", printed)

    def test_bad_ears_fail(self):
        for fault in ("late", "short", "quiet", "inverted", "silent", "noise", "nan"):
            code, printed = self.outcome(fault)
            self.assertEqual(code, 1, fault)
            self.assertIn("heard wrongly:\n  mono:", printed, fault)

    def test_an_ear_for_the_first_channel_only_fails(self):
        code, printed = self.outcome("first")
        self.assertEqual(code, 1)
        self.assertIn("heard wrongly:\n  stereo:", printed)

    def test_a_crash_is_blamed_on_its_file_alone(self):
        shutil.copy(self.folder / "files/mono.wav", self.folder / "files/crash.wav")
        entries = [*self.entries, {**self.entries[0], "name": "crash", "file": "files/crash.wav"}]
        code, printed = self.outcome("crash_on_it", entries)
        self.assertEqual(code, 1)
        self.assertIn("heard wrongly:\n  crash: crash: exit status", printed)
        self.assertNotIn("  mono:", printed)

    def test_a_crash_of_several_files_only_leaves_the_single_results(self):
        self.assertEqual(self.outcome("crash")[0], 0)

    def test_a_file_that_never_ends(self):
        shutil.copy(self.folder / "files/mono.wav", self.folder / "files/hang.wav")
        entries = [{**self.entries[0], "name": "hang", "file": "files/hang.wav"}]
        with mock.patch.multiple(compare, BATCH_SECONDS=2, FILE_SECONDS=2):
            code, printed = self.outcome("hang", entries)
        self.assertEqual(code, 1)
        self.assertIn("hang: no end after 2 s", printed)

    def test_a_refusal_where_sound_is_expected_and_one_that_names_nothing(self):
        heard = {**self.entries[2], "name": "should_be_heard", "expect": "equal"}
        other = {**self.entries[2], "name": "other_word", "names": ["page.wav", "zip"]}
        code, printed = self.outcome("", [*self.entries, heard, other])
        self.assertEqual(code, 1)
        self.assertIn("  should_be_heard: ", printed)
        self.assertIn("  other_word: the error says nothing of", printed)

    def test_a_sound_where_nothing_is_to_be_heard(self):
        verdict = compare.judge(self.entries[2], {"file": "x", "wav": str(self.written(speech_like()))}, compare.Reference(self.folder))
        self.assertEqual(verdict.result, "wrong")

    def written(self, samples):
        path = self.folder / "heard.wav"
        sound.write_wav(path, samples)
        return path

    def test_a_missing_warning_and_a_wrong_length_are_noted(self):
        reference = compare.Reference(self.folder)
        heard = self.written(reference.sound(self.folder / "files/mono.wav").samples)
        row = {"file": "x", "wav": str(heard), "seconds": 3.0, "rate": 8000, "channels": 1}
        verdict = compare.judge({**self.entries[0], "warning": "length"}, row, reference)
        self.assertEqual(verdict.result, "equal")
        self.assertEqual(len(verdict.notes), 3, verdict.notes)

    def test_the_table_replaces_only_what_lies_between_its_markers(self):
        path = self.folder / "audio.md"
        path.write_text(f"# Audio\n\n{report.BEGIN}\nold\n{report.END}\n\nmore\n")
        self.outcome("", None, "--table", path)
        text = path.read_text()
        self.assertTrue(text.startswith("# Audio\n") and text.endswith("\nmore\n"), text)
        self.assertIn("| WAV | PCM | 3 | 2 decoded, 1 refused by name |", text)
        self.assertNotIn("old", text)

    def test_fewer_than_98_percent_fail(self):
        verdict = lambda result: compare.Verdict({"expect": "equal", "family": "test"}, result)
        self.assertTrue(report.passed([verdict("equal")] * 98 + [verdict("refused")] * 2))
        self.assertFalse(report.passed([verdict("equal")] * 97 + [verdict("refused")] * 3))
        self.assertFalse(report.passed([verdict("equal")] * 99 + [verdict("wrong")]))


@unittest.skipUnless(shutil.which("ffmpeg"), "needs ffmpeg")
class Making(unittest.TestCase):
    def test_the_manifest_names_what_is_there(self):
        with tempfile.TemporaryDirectory() as folder:
            made = make.make(Path(folder), short=True, only="wav-g711")
            rows = [json.loads(line) for line in (Path(folder) / "manifest.jsonl").read_text().splitlines()]
            self.assertEqual(len(rows), 8)
            self.assertEqual(made.skipped, [])
            self.assertTrue(all((Path(folder) / row["file"]).stat().st_size > 20_000 for row in rows))
            # 3.01 s at 8 kHz.
            self.assertEqual({row["seconds"] for row in rows}, {3.01})

    def test_no_name_is_used_twice_and_expectations_are_complete(self):
        with tempfile.TemporaryDirectory() as folder:
            kinds = make.make(Path(folder), only="not-audio")
            self.assertGreaterEqual(len(kinds.entries), 30)
            self.assertTrue(all(entry["names"] and entry["expect"] == "named" for entry in kinds.entries))


if __name__ == "__main__":
    unittest.main()
