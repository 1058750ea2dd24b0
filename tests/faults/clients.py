"""Clients of the control channel that vanish, stall, flood or send rubbish, and changes under load."""

import json
import random
import socket
import threading

import compare
from case import kind
from control import Changer, contact
from kills import changing, found, same_as_its_replay, write
from scenario import LIVE


def begin(case):
    process = case.start(write(case, LIVE), "--out", "runs", "--quiet")
    case.until(lambda: (found(case) and contact(found(case))) or not process.alive(), 60)
    return process, contact(found(case))


def connect(place):
    return socket.create_connection(place[:2], timeout=5)


def head(place, method, path, **more):
    lines = [f"{method} /api{path} HTTP/1.1", f"Host: {place[0]}:{place[1]}", f"Authorization: Bearer {place[2]}"]
    return "\r\n".join(lines + [f"{name.replace('_', '-')}: {value}" for name, value in more.items()] + ["", ""]).encode()


def vanish(rng, place):
    """Asks for something and goes away before the answer."""
    with connect(place) as client:
        client.sendall(head(place, "GET", rng.choice(["/state", "/events", "/arms/grpo/7/rollouts?limit=500", "/openapi.json"])))


def half_open(rng, place):
    with connect(place) as client:
        client.sendall(head(place, "GET", "/state")[: rng.randrange(5, 60)])
        client.settimeout(rng.uniform(0, 1))
        try:
            client.recv(100)
        except OSError:
            pass


def slow_body(rng, place):
    with connect(place) as client:
        client.sendall(head(place, "PUT", "/arms/grpo/7/weights", Content_Length=50))
        for byte in b'{"format": 0.5':
            client.sendall(bytes([byte]))
            if rng.random() < 0.1:
                break


def rubbish(rng, place):
    with connect(place) as client:
        client.sendall(bytes(rng.randrange(256) for _ in range(rng.randrange(1, 5000))))


def many_headers(rng, place):
    with connect(place) as client:
        client.sendall(b"GET /api/state HTTP/1.1\r\n" + b"".join(b"x-%d: %s\r\n" % (n, b"y" * 200) for n in range(400)))


def huge(rng, place):
    with connect(place) as client:
        client.sendall(head(place, "POST", "/change", Content_Length=10**9))
        client.sendall(b'{"change": {"weights": {' * 1000)


def deep(rng, place):
    body = b'{"change":' * 20_000
    with connect(place) as client:
        client.sendall(head(place, "POST", "/change", Content_Length=len(body)) + body)
        client.recv(1000)


def refused_change(rng, place):
    body = json.dumps(rng.choice([{"weights": {"format": "much"}}, {"formula": "accuracy +"}, {"rewards": {"x": {"kind": "none"}}},
                                  {"weights": {"nobody": 1}}, {"join_formula": {"y": {}}}, [1, 2], None])).encode()
    with connect(place) as client:
        client.sendall(head(place, "POST", "/arms/grpo/7/change", Content_Length=len(body)) + body)
        client.recv(1000)


def streams(rng, place):
    clients = []
    for _ in range(rng.randrange(1, 80)):
        clients.append(connect(place))
        clients[-1].sendall(head(place, "GET", "/events"))
    for client in clients:
        client.close()


HABITS = [vanish, half_open, slow_body, rubbish, many_headers, huge, deep, refused_change, streams]


@kind("clients", quick=2, full=40)
def clients(case):
    """None of this changes the training."""
    process, place = begin(case)
    counted = []

    def visit(rng):
        while process.alive():
            try:
                rng.choice(HABITS)(rng, place)
                counted.append(1)
            except OSError:
                pass

    threads = [threading.Thread(target=visit, args=(random.Random(case.rng.random()),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    process.end(0)
    for thread in threads:
        thread.join(30)
    case.faults = len(counted)
    case.note(f"{len(counted)} visits")
    reference, _ = case.campaign.reference(LIVE)
    compare.same(reference, found(case))


@kind("swaps", quick=2, full=40)
def swaps(case):
    """Changes from several clients at once, as fast as they can, also by one that leaves before the answer."""
    process, place = begin(case)
    changers = [changing(case, least=0, most=0.05) for _ in range(3)]
    rng = random.Random(case.rng.random())
    while process.alive():
        try:
            body = json.dumps({"weights": {"format": round(rng.random(), 3)}}).encode()
            with connect(place) as client:
                client.sendall(head(place, "POST", "/arms/other/7/change", Content_Length=len(body)) + body)
        except OSError:
            pass
        case.pause(0.05, 0.3)
    process.end(0)
    for changer in changers:
        changer.stop()
    case.faults = sum(len(changer.acknowledged) + changer.refused for changer in changers)
    same_as_its_replay(case, changers, process.process.returncode)
