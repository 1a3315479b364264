"""Hostile messages for the hook's socket: valid ones of every kind, and what can be made of them.

Everything follows from a random generator, so that a flood can be sent again. It imports nothing
but the standard library and the wire format given to it, because the senders are processes of
their own.
"""

from __future__ import annotations

import json
import random
from typing import Any

OOM = (
    "[enforce fail at alloc_cpu.cpp:113] . DefaultCPUAllocator: can't allocate memory: "
    "you tried to allocate 209715200 bytes. Error code 12 (Cannot allocate memory)"
)
_PLACES = ("setup", "data", "forward", "loss", "backward", "optimizer", "validation", "save")
_PATHS = ("/etc", "/proc/1", "../../..", "/tmp/\u202egnp", "/runs/a b", "/" + "x" * 1023, "")
_TEXTS = (OOM, "", "x" * 2000, "'; DROP TABLE runs; --", "\x1b[2J<script>", "\ud83d\ude00" * 400)
_NUMBERS = (0, 1, -1, 2**31, 2**53, 2**53 + 1, -(2**63), 2**200, 1e308, 0.1, True, None)


def valid(rng: random.Random, wire: Any, run_dir: str) -> bytes:
    """A message as a hook would send it, of any kind, with values within their bounds."""
    kind = rng.choice(wire.KINDS)
    fields = {name: _value(rng, name, run_dir) for name in wire.FIELDS[kind] if rng.random() < 0.8}
    try:
        encoded: bytes = wire.encode(kind, fields)
    except (wire.WireError, ValueError, TypeError, OverflowError):
        encoded = wire.encode("bye", {"finished": rng.random() < 0.5})
    return encoded


def hostile(rng: random.Random, wire: Any, run_dir: str) -> bytes:
    """Anything but what a hook would send; most of it nearly is."""
    data = bytearray(valid(rng, wire, run_dir))
    kind = rng.randrange(10)
    if kind == 0:
        return rng.randbytes(rng.randrange(1, 400))
    if kind == 1:
        return bytes(data[: rng.randrange(1, len(data) + 1)])
    if kind == 2:
        data[2] = rng.choice((0, 2, 255))  # a version that nobody speaks
    elif kind == 3:
        data[3] = rng.randrange(256)  # another kind than the body is of
    elif kind == 4:
        return bytes(data) + rng.randbytes(1) * rng.choice((4000, 8192, 9000, 60_000))
    elif kind == 5:
        opening = rng.choice((b"[", b'{"a":', b'[{},"'))
        return bytes(data[:4]) + opening * rng.randrange(1, 3000)
    elif kind == 6:
        return bytes(data[:4]) + _forged(rng, wire, data[3], run_dir)
    elif kind == 7:
        return bytes(data[:4]) + json.dumps({str(n): n for n in range(600)}).encode()
    else:
        for _ in range(rng.randrange(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def _forged(rng: random.Random, wire: Any, code: int, run_dir: str) -> bytes:
    """Fields of the right name with values of any type and size."""
    names = list(wire.FIELDS[wire.KINDS[code % len(wire.KINDS)]])
    values = (*_NUMBERS, *_TEXTS, *_PATHS, [], {}, [[]] * 70, ["x" * 300] * 20, run_dir)
    body = {name: rng.choice(values) for name in rng.sample(names, min(len(names), 12))}
    return json.dumps(body).encode()


def _value(rng: random.Random, name: str, run_dir: str) -> Any:
    if name == "phase":
        return rng.choice(_PLACES)
    if name in ("path", "run_dir"):
        return rng.choice((run_dir, f"{run_dir}/{rng.randrange(10**6)}.pt", *_PATHS))
    if name == "trainer":
        return rng.choice(("ultralytics", "yolov5", "yolov9", "another"))
    if name == "items":
        shape = (rng.choice(_PLACES), rng.randrange(64), 640, 640, 5)
        return [[*shape, rng.randrange(2**40), rng.randrange(2**40), True, 1]] * rng.randrange(60)
    if name in ("losses", "rates"):
        return [rng.random()] * rng.randrange(16)
    if name in ("argv", "frames", "loss_names"):
        return [rng.choice(_TEXTS)] * rng.randrange(12)
    if name in ("text", "reason"):
        return rng.choice(_TEXTS)
    if name in ("finished", "handled", "accepted", "validated", "complete", "resumed"):
        return rng.random() < 0.5
    return rng.choice((0, 1, 16, 640, rng.randrange(2**40)))
