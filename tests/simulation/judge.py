"""A judge behind OpenAI's API that takes its time: python3 judge.py PORT SECONDS. Every reply comes after so many seconds."""

import asyncio
import json
import sys


def verdict(body):
    """A verdict that depends on the length of what is judged, so that rewards differ."""
    text = "".join(str(message.get("content", "")) for message in body.get("messages", []))
    return json.dumps({"consistent": len(text) % 2, "quality": len(text) % 10 / 10})


async def serve(reader, writer, seconds):
    """Answers the requests of a connection, one after another."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            fields = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
            body = await reader.readexactly(int(fields.get("content-length", 0)))
            if first.startswith("GET"):
                reply = {"object": "list", "data": [{"id": "slow", "object": "model"}]}
            else:
                await asyncio.sleep(seconds)
                message = {"role": "assistant", "content": verdict(json.loads(body))}
                reply = {
                    "object": "chat.completion",
                    "model": "slow",
                    "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
                }
            text = json.dumps(reply).encode()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(text) + text)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main():
    port, seconds = int(sys.argv[1]), float(sys.argv[2])
    server = await asyncio.start_server(lambda reader, writer: serve(reader, writer, seconds), "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


asyncio.run(main())
