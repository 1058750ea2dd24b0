"""A client of the control channel that makes random changes and remembers what was acknowledged."""

import http.client
import json
import threading
import time
import urllib.parse

REWARD = """def reward(completions, **columns):
    return [{slope} * len(text) / 200 for text in completions]
"""


def contact(run_dir):
    """The host and port of a run's control channel and its token; None while there is none."""
    try:
        written = json.loads((run_dir / "control.json").read_bytes())
    except (OSError, ValueError):
        return None
    place = urllib.parse.urlsplit(written["address"])
    return place.hostname, place.port, written["token"]


def request(contact, method, path, body=None, timeout=30):
    """Sends a request; the status and the answer, or None if the run is gone."""
    host, port, token = contact
    try:
        connection = http.client.HTTPConnection(host, port, timeout=timeout)
        text = None if body is None else json.dumps(body)
        connection.request(method, f"/api{path}", text, {"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, json.loads(content or b"null")
    except (OSError, http.client.HTTPException, ValueError):
        return None


class Changer(threading.Thread):
    """Changes the arms of a run at random, from several threads if several are started, until it is stopped."""

    def __init__(self, rng, folder, find_dir, arms, least=0.0, most=0.3):
        super().__init__(daemon=True)
        self.rng, self.folder, self.find_dir, self.arms = rng, folder, find_dir, arms
        self.least, self.most = least, most
        self.acknowledged, self.refused, self.done = [], 0, threading.Event()
        self.start()

    def run(self):
        while not self.done.is_set():
            run_dir = self.find_dir()
            place = run_dir and contact(run_dir)
            if place:
                self.change(place)
            time.sleep(self.rng.uniform(self.least, self.most) if place else 0.02)

    def stop(self):
        self.done.set()
        self.join(60)

    def change(self, place):
        arm = self.rng.choice(self.arms)
        method, path, body = self.any_change()
        answer = request(place, method, f"/arms/{arm}/7{path}", body)
        if answer is None:
            return
        status, applied = answer
        if status == 200 and isinstance(applied, dict) and "version" in applied:
            self.acknowledged.append((arm, applied["version"], applied["step"]))
        else:
            self.refused += 1

    def any_change(self):
        rng, number = self.rng, self.rng.randrange(3)
        name = ("first", "second", "third")[number]
        roll = rng.random()
        if roll < 0.4:
            return "PUT", "/weights", {rng.choice(["format", "think"]): round(rng.uniform(0, 1), 3)}
        if roll < 0.6:
            formula = rng.choice(["accuracy + w_format * format + w_think * think", "accuracy * (1 + w_format * format)",
                                  "w_format * format + w_think * think", "max(accuracy, w_think * think)"])
            return "PUT", "/formula", {"formula": formula}
        if roll < 0.8:
            path = self.folder / f"reward_{rng.randrange(1 << 30)}.py"
            path.write_text(REWARD.format(slope=round(rng.uniform(-1, 1), 3)))
            change = {"rewards": {name: {"kind": "python", "file": str(path)}}}
            if rng.random() < 0.7:
                change["join_formula"] = {name: {"weight": round(rng.uniform(0, 1), 3)}}
            return "POST", "/change", change
        if roll < 0.9:
            return "POST", "/change", {"rewards": {name: None}, "leave_formula": [name]}
        if roll < 0.95:
            return "POST", "/checkpoint", None
        return "POST", "/change", {"weights": {"format": 0.5, "think": 0.25}, "formula": "accuracy + w_format * format"}
