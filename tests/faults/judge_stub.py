"""A judge's server that fails in the way that its first argument names, after some good replies."""

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODE, AFTER = sys.argv[1], int(sys.argv[2])
ASKED = [0]
LOCK = threading.Lock()
GOOD = json.dumps({"consistent": 1, "quality": 0.9})


class Judge(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, code, body, **headers):
        content = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self):
        self.answer(200, {"object": "list", "data": [{"id": "judge", "object": "model"}]})

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        with LOCK:
            ASKED[0] += 1
            good = ASKED[0] <= AFTER
        if good:
            self.reply(GOOD)
        else:
            self.fail()

    def reply(self, content, finish="stop"):
        choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish}
        self.answer(200, {"id": "x", "object": "chat.completion", "model": "judge", "choices": [choice]})

    def fail(self):
        if MODE == "500":
            self.answer(500, {"error": {"message": "out of memory"}})
        elif MODE == "429":
            self.answer(429, {"error": {"message": "slow down"}}, Retry_After="3600")
        elif MODE == "hangs":
            time.sleep(3600)
        elif MODE == "drops":
            self.close_connection = True
        elif MODE == "truncated":
            self.send_response(200)
            self.send_header("content-length", "100000")
            self.end_headers()
            self.wfile.write(b'{"choices": [')
            self.close_connection = True
        elif MODE == "drips":
            self.send_response(200)
            self.send_header("content-length", "100000")
            self.end_headers()
            for _ in range(1000):
                self.wfile.write(b" ")
                time.sleep(0.1)
        elif MODE == "flood":
            self.send_response(200)
            self.send_header("content-length", str(1 << 30))
            self.end_headers()
            for _ in range(1 << 10):
                self.wfile.write(b" " * (1 << 20))
        elif MODE == "not-json":
            self.answer(200, "<html>bad gateway</html>")
        elif MODE == "deep":
            self.answer(200, '{"choices":' + "[" * 100_000)
        elif MODE == "off-scale":
            self.reply(json.dumps({"consistent": 7, "quality": -3}))
        elif MODE == "two-verdicts":
            self.reply(GOOD + json.dumps({"consistent": 0, "quality": 0.1}))
        elif MODE == "rambles":
            self.reply("{" * 30_000)
        elif MODE == "empty":
            self.reply("")
        elif MODE == "length":
            self.reply('{"consistent": 1, "qual', finish="length")
        elif MODE == "error-200":
            self.answer(200, {"error": {"message": "rate limit", "code": 429}})
        elif MODE == "redirect":
            self.answer(307, "", Location="http://127.0.0.1:1/v1/chat/completions")
        elif MODE == "dies":
            server.socket.close()
            import os
            os._exit(0)


server = ThreadingHTTPServer(("127.0.0.1", 0), Judge)
server.daemon_threads = True
print(server.server_port, flush=True)
server.serve_forever()
