"""A plug-in that fails in the way that its first argument names. It scores by length otherwise."""

import json
import os
import subprocess
import sys
import time

MODE, AFTER = sys.argv[1], int(sys.argv[2])


def send(value):
    sys.stdout.write((value if isinstance(value, str) else json.dumps(value)) + "\n")
    sys.stdout.flush()


def fail(message):
    """Fails on this batch; returns what is sent instead of scores, or None to send them."""
    scores = [len(item["completion"]) / 100 for item in message["items"]]
    answer = {"type": "scores", "id": message["id"], "scores": scores}
    if MODE == "dies":
        os._exit(1)
    if MODE == "killed":
        os.kill(os.getpid(), 9)
    if MODE == "hangs":
        time.sleep(3600)
    if MODE == "slow":
        time.sleep(0.5)
    if MODE == "too-few":
        answer["scores"] = scores[:-1]
    if MODE == "too-many":
        answer["scores"] = scores + [1.0]
    if MODE == "nan":
        answer["scores"] = [float("nan")] + scores[1:]
    if MODE == "infinite":
        return json.dumps(answer).replace(str(scores[0]), "1e400", 1)
    if MODE == "null":
        answer["scores"] = [None] + scores[1:]
    if MODE == "text":
        answer["scores"] = ["high"] + scores[1:]
    if MODE == "not-json":
        return "{" + "oops" * 10
    if MODE == "other-id":
        answer["id"] = message["id"] + 1000
    if MODE == "error":
        return {"type": "error", "id": message["id"], "message": "out of\nideas\x1b[31m \u202e"}
    if MODE == "twice":
        send(answer)
    if MODE == "deep":
        return '{"type":"scores","id":1,"scores":' + "[" * 100_000
    if MODE == "flood":
        for _ in range(2000):
            send("x" * 10_000)
    if MODE == "endless-line":
        while True:
            sys.stdout.write("x" * (1 << 16))
    if MODE == "endless-errors":
        for number in range(200_000):
            sys.stderr.write(f"warning {number}\n")
    if MODE == "closes-output":
        os.close(1)
        time.sleep(3600)
    if MODE == "leaves-child":
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)", *sys.argv[1:]])
    return answer


batches = 0
for line in sys.stdin:
    message = json.loads(line)
    if message["type"] == "hello":
        if MODE == "no-hello":
            time.sleep(3600)
        send({"type": "ready", "protocol": 2 if MODE == "other-protocol" else 1})
        continue
    batches += 1
    if batches > AFTER:
        send(fail(message))
    else:
        send({"type": "scores", "id": message["id"], "scores": [len(item["completion"]) / 100 for item in message["items"]]})
