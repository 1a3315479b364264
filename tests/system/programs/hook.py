"""A training in miniature: the real hook's wire, a run directory, and nothing that needs torch.

hook.py SOCKET RUN_DIRECTORY: says hello and what it trains, then a sample each second; where the
daemon goes away it connects anew, as a hook does. Each connection is a line of its output.
"""

import os
import socket
import sys
import time

sys.path.insert(0, "/var/lib/speaker")
from yolowatch_hook import wire

address, run_dir = sys.argv[1:]


def connected():
    while True:
        try:
            new = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            new.connect(address)
        except OSError as error:
            print("no way", error.strerror, flush=True)
            time.sleep(0.2)
            continue
        print("connected", flush=True)
        tell(new, "hello", pid=os.getpid(), attempt=0, python="3", torch="2")
        tell(new, "run", trainer="ultralytics", train_calls=1, batch=16, accumulate=4, nbs=64,
             epochs=9, run_dir=run_dir)  # fmt: skip
        return new


def tell(connection, kind, **fields):
    connection.send(wire.encode(kind, fields))


connection, step = connected(), 0
while True:
    step += 1
    try:
        tell(
            connection,
            "sample",
            seconds=1.0,
            steps=1,
            phase="forward",
            epoch=0,
            step=step,
            batch=16,
        )
    except OSError:
        connection.close()
        connection = connected()
    time.sleep(0.2)
