"""Floods the hook's socket from several processes, as a hostile training would.

    python flood.py MESSAGES PROCESSES SEED REPORT RUN_DIR

Started under `yolowatch run`, whose process is its parent: the parent's memory is read from /proc
while the flood goes on. Half of the messages are what a hook would send, the other half is not. A
connection that is cut is made anew. REPORT gets the figures, in JSON.
"""

import errno
import json
import os
import random
import socket
import sys
import time
from pathlib import Path

from yolowatch_hook import wire

sys.path.insert(0, str(Path(__file__).parent.parent))
import messages

COUNT, PROCESSES, SEED = map(int, sys.argv[1:4])
REPORT, RUN_DIR = sys.argv[4:6]
WATCHED = os.getppid()


def resident_bytes():
    with open(f"/proc/{WATCHED}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def connect():
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(os.environ["YOLOWATCH_SOCKET"])
    return connection


def flood(number, count):
    """Send so many messages; how many connections that took."""
    rng = random.Random(SEED * 1000 + number)
    made, connection = 0, None
    for _ in range(count):
        make = messages.valid if rng.random() < 0.5 else messages.hostile
        data = make(rng, wire, RUN_DIR)
        for _attempt in range(3):
            try:
                if connection is None:
                    connection, made = connect(), made + 1
                connection.send(data, socket.MSG_NOSIGNAL)
                break
            except (BrokenPipeError, ConnectionError):
                connection = None
            except OSError as error:
                if error.errno != errno.EMSGSIZE:  # longer than the socket takes at all
                    raise
                break
    return made


before, peak = resident_bytes(), []
children = []
began = time.monotonic()
for number in range(PROCESSES):
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        made = flood(number, COUNT // PROCESSES)
        os.write(writing, str(made).encode())
        os._exit(0)
    os.close(writing)
    children.append((pid, reading))
connections = 0
for pid, reading in children:
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        peak.append(resident_bytes())
        time.sleep(0.05)
    connections += int(os.read(reading, 64))
with open(REPORT, "w") as file:
    half = peak[len(peak) // 2 :]
    figures = {
        "messages": COUNT // PROCESSES * PROCESSES,
        "connections": connections,
        "seconds": time.monotonic() - began,
        "resident_before_bytes": before,
        "resident_half_bytes": max(peak[: len(peak) // 2]),
        "resident_most_bytes": max(half),
    }
    json.dump(figures, file)
