"""A TCP proxy that cuts connections in the middle of their bytes, a given number of times."""

import random
import socket
import threading

BLOCK = 16384


class Proxy:
    """Forwards `port` to a server on this machine. Each connection is cut after a random number of bytes while cuts are left."""

    def __init__(self, target, seed):
        self.target = target
        self.random = random.Random(seed)
        self.lock = threading.Lock()
        self.left = 0
        self.cuts = 0
        self.sent = 0
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def cut(self, times):
        """Cuts as many of the next connections."""
        with self.lock:
            self.left += times

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def limit(self):
        """Bytes after which this connection is cut; None if it is not."""
        with self.lock:
            if self.left == 0:
                return None
            self.left -= 1
            # Within a head, within a body, and often within the answer.
            return self.random.choice([50, 700, 3000, 20000, 150000])

    def serve(self, client):
        try:
            server = socket.create_connection(("127.0.0.1", self.target), timeout=10)
        except OSError:
            client.close()
            return
        limit = self.limit()
        budget = [limit]
        pair = (client, server)
        threads = [
            threading.Thread(target=self.forward, args=(client, server, pair, budget, True), daemon=True),
            threading.Thread(target=self.forward, args=(server, client, pair, budget, False), daemon=True),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for one in pair:
            one.close()
        if limit is not None and budget[0] is not None and budget[0] > 0:
            # It ended before it could be cut: another one is cut in its place.
            with self.lock:
                self.left += 1

    def forward(self, source, sink, pair, budget, upwards):
        try:
            while block := source.recv(BLOCK):
                with self.lock:
                    if upwards:
                        self.sent += len(block)
                    if budget[0] is not None:
                        if budget[0] <= len(block):
                            block, over = block[: budget[0]], True
                            budget[0] = 0
                        else:
                            budget[0] -= len(block)
                            over = False
                    else:
                        over = False
                sink.sendall(block)
                if over:
                    with self.lock:
                        self.cuts += 1
                    break
            else:
                # The other direction may still have bytes.
                sink.shutdown(socket.SHUT_WR)
                return
        except OSError:
            pass
        for one in pair:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
