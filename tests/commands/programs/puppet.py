"""A training as its hook tells of it, without torch: real messages, real files, a played failure.

    python puppet.py RUN_DIR [--always] [--handled] [--early] [--grandchild] [--wait FILE]
                             [--hold FILE] [--tear] [--stopped]

Saves a checkpoint after its first epoch and runs out of memory, with --early before that. Started
again it obeys its edits, trains the second epoch and finishes, or with --always fails in the same
way. --grandchild: a process stays behind that goes on speaking for it. --wait: the last attempt
ends when FILE exists. --hold: the first one fails when FILE exists. --tear: it first cuts off its
checkpoint, once that was copied. --stopped: it stops itself after its last words. What it was
started with goes to RUN_DIR/attempt-N.json, a secret only as its hash.
"""

import argparse
import hashlib
import json
import os
import pickle
import signal
import socket
import sys
import time
import zipfile
from pathlib import Path

from yolowatch_hook import wire

parser = argparse.ArgumentParser()
parser.add_argument("run_dir", type=Path)
parser.add_argument("--always", action="store_true")
parser.add_argument("--handled", action="store_true")
parser.add_argument("--early", action="store_true")
parser.add_argument("--grandchild", action="store_true")
parser.add_argument("--wait", type=Path)
parser.add_argument("--hold", type=Path)
parser.add_argument("--tear", action="store_true")
parser.add_argument("--stopped", action="store_true")
options = parser.parse_args()

MIB = 1 << 20
TEXT = (
    "[enforce fail at alloc_cpu.cpp:113] . DefaultCPUAllocator: can't allocate memory: "
    f"you tried to allocate {200 * MIB} bytes. Error code 12 (Cannot allocate memory)"
)
attempt = int(os.environ["YOLOWATCH_ATTEMPT"])
edits = json.loads(os.environ.get("YOLOWATCH_EDITS", "{}"))
batch = edits.get("batch", 16)
place = {"phase": "backward", "step": 7, "batch": batch, "height": 64, "width": 64}
memory = {
    "allocated_bytes": 900 * MIB,
    "reserved_bytes": 900 * MIB,
    "peak_bytes": 950 * MIB,
    "capacity_bytes": 1024 * MIB,
}
run_dir = options.run_dir.resolve()
last = run_dir / "weights" / "last.pt"

connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
connection.connect(os.environ["YOLOWATCH_SOCKET"])


def tell(kind, **fields):
    connection.send(wire.encode(kind, fields))


def save(epoch):
    last.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(last, "w") as archive:
        facts = {"epoch": epoch, "optimizer": {"state": {}}}
        archive.writestr("archive/data.pkl", pickle.dumps(facts, protocol=2))
        archive.writestr("archive/data/0", b"\7" * 50_000)
    tell("epoch_end", epoch=epoch, validated=True)
    tell("checkpoint", path=str(last), epoch=epoch, step=5)


run_dir.mkdir(parents=True, exist_ok=True)
started_with = {
    "edits": edits,
    "argv": sys.argv[1:],
    "secret": hashlib.sha256(os.environ.get("TOKEN", "").encode()).hexdigest(),
}
(run_dir / f"attempt-{attempt}.json").write_text(json.dumps(started_with))
tell("hello", pid=os.getpid(), attempt=attempt, python=sys.version.split()[0], torch="2.15.0")
tell(
    "run",
    trainer="ultralytics",
    trainer_version="8.4.190",
    entry="script",
    train_calls=1,
    run_dir=str(run_dir),
    batch=batch,
    accumulate=64 // batch,
    nbs=64,
    weight_decay=0.0005,
    effective_weight_decay=0.0005,
    epochs=2,
    image_size=64,
    image_size_min=64,
    image_size_max=64,
    device="cpu",
    resumed=attempt > 0,
)
if attempt == 0:
    (run_dir / "args.yaml").write_text("task: detect\nbatch: 16\nnbs: 64\nweight_decay: 0.0005\n")
    (run_dir / "results.csv").write_text("epoch,loss\n1,0.5\n")
    if not options.early:
        save(0)
tell("sample", seconds=1.0, steps=1, **place, **memory)
if attempt == 0 and options.tear:
    while not list((run_dir / ".yolowatch").glob("checkpoints/*-epoch0-*.pt")):
        time.sleep(0.02)
    os.truncate(last, 20_000)
while attempt == 0 and options.hold and not options.hold.exists():
    time.sleep(0.02)
if attempt == 0 or options.always:
    tell(
        "last_words",
        exception="RuntimeError",
        text=TEXT,
        train_calls=1,
        epoch=1,
        handled=options.handled,
        **place,
        **memory,
    )
    if options.stopped:
        os.kill(os.getpid(), signal.SIGSTOP)
    if options.grandchild and os.fork() == 0:
        end = time.monotonic() + 20
        while time.monotonic() < end and not (run_dir / "attempt-1.json").exists():
            tell("sample", seconds=0.05, **place, **memory)
            time.sleep(0.05)
        os._exit(0)
    sys.exit(1)
end = time.monotonic() + 60
while options.wait and not options.wait.exists() and time.monotonic() < end:
    time.sleep(0.02)
with (run_dir / "results.csv").open("a") as table:
    table.write("2,0.4\n")
save(1)
tell("bye", finished=True, epoch=1)
