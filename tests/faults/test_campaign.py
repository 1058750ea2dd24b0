"""The campaign sees what it claims to see: `python3 -m unittest discover tests/faults`, which `make faults` runs first."""

import json
import os
import random
import shutil
import tempfile
import unittest
from pathlib import Path

import compare
import damage
from case import Campaign, Case, Fault


def write_run(folder):
    arm = folder / "grpo/seed-7"
    checkpoint = arm / "checkpoints/step-000002"
    checkpoint.mkdir(parents=True)
    (checkpoint / "model.safetensors").write_bytes(b"weights")
    (folder / "scenario.toml").write_text("")
    rows = [{"step": step, "loss": 0.5, "groups_dispatched": 2, "groups_trained": 1, "groups_excluded": {"no_variance": 1},
             "step_seconds": random.random()} for step in (1, 2)]
    (arm / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (arm / "status.json").write_text(json.dumps({"status": "done", "step": 2, "groups": {}}))
    return arm


class Comparing(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.one, self.other = self.folder / "one", self.folder / "other"
        write_run(self.one)
        self.arm = write_run(self.other)

    def outcome(self):
        with self.assertRaises(compare.Difference) as raised:
            compare.same(self.one, self.other)
        return raised.exception.outcome

    def lines(self, change):
        path = self.arm / "metrics.jsonl"
        path.write_text("".join(change(path.read_text().splitlines(True))))

    def test_times_may_differ(self):
        compare.same(self.one, self.other)
        compare.conserved(self.other)

    def test_a_lost_row(self):
        self.lines(lambda lines: lines[:1])
        self.assertEqual(self.outcome(), "lost")

    def test_a_doubled_row(self):
        self.lines(lambda lines: lines + lines[:1])
        self.assertEqual(self.outcome(), "doubled")

    def test_another_value(self):
        self.lines(lambda lines: [line.replace('"loss": 0.5', '"loss": 0.25') for line in lines])
        self.assertEqual(self.outcome(), "different")

    def test_a_broken_line(self):
        self.lines(lambda lines: [lines[0][1:], lines[1]])
        self.assertEqual(self.outcome(), "damaged")

    def test_an_incomplete_line(self):
        self.lines(lambda lines: [lines[0], lines[1][:9]])
        self.assertEqual(self.outcome(), "damaged")

    def test_other_weights(self):
        (self.arm / "checkpoints/step-000002/model.safetensors").write_bytes(b"weight5")
        self.assertEqual(self.outcome(), "different")

    def test_another_state(self):
        (self.arm / "status.json").write_text(json.dumps({"status": "failed", "step": 2, "groups": {}}))
        self.assertEqual(self.outcome(), "different")

    def test_a_missing_arm(self):
        shutil.rmtree(self.arm)
        self.assertEqual(self.outcome(), "lost")

    def test_groups_that_do_not_add_up(self):
        self.lines(lambda lines: [line.replace('"groups_trained": 1', '"groups_trained": 2') for line in lines])
        with self.assertRaises(compare.Difference):
            compare.conserved(self.other)


class Processes(unittest.TestCase):
    """With a shell script in the place of the sandbox."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)

    def case(self, script):
        program = self.folder / "sandbox"
        program.write_text(f"#!/bin/sh\n{script}\n")
        os.chmod(program, 0o755)
        campaign = Campaign(program, self.folder / "out", 7, True)
        campaign.limit = 0.5
        return Case(campaign, "test", 0)

    def outcome(self, script, *expected):
        with self.assertRaises(Fault) as raised:
            self.case(script).start().end(*expected)
        return raised.exception.outcome

    def test_outcomes(self):
        self.assertEqual(self.case("exit 2").start().end(0, 2), 2)
        self.assertEqual(self.outcome("exit 1", 0), "wrong_exit")
        self.assertEqual(self.outcome("sleep 60", 0), "hung")
        self.assertEqual(self.outcome("kill -SEGV $$", 130), "crashed")
        self.assertEqual(self.outcome("echo \"thread 'x' panicked at y.rs\"; exit 1", 1), "crashed")

    def test_kills_are_counted(self):
        case = self.case("sleep 60")
        process = case.start()
        self.assertTrue(process.kill())
        self.assertFalse(process.kill())
        self.assertEqual(case.kills, 1)


class Damaging(unittest.TestCase):
    def test_every_damage_changes_the_file(self):
        with tempfile.TemporaryDirectory() as folder:
            path, content = Path(folder, "metrics.jsonl"), b'{"step": 1}\n{"step": 2}\n' + bytes(50)
            for seed in range(300):
                path.write_bytes(content)
                words, only_added = damage.damage(random.Random(seed), path)
                after = path.read_bytes() if path.exists() else None
                self.assertNotEqual(after, content, words)
                self.assertEqual(only_added, after is not None and after.startswith(content), words)

    def test_cases_are_drawn_by_their_seed(self):
        with tempfile.TemporaryDirectory() as folder:
            draw = lambda seed: Case(Campaign("/bin/true", folder, seed, True), "kill", 3).rng.random()
            self.assertEqual(draw(7), draw(7))
            self.assertNotEqual(draw(7), draw(8))


if __name__ == "__main__":
    unittest.main()
