"""The one definition of what may be asked of the helper, and in which bounds.

A request is one datagram, a JSON object that names a verb, a run and what the verb's table has;
everything else is refused. No table can express an argument vector, an environment, a program or a
file name: files are named by the closed set `CHECKPOINTS` and `FILES`. The one path is that of the
run directory, which the worker accepts only if it is the user's own and the training wrote there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from yolowatch.hands.helper.bounds import Choice, Flag, Int, Many, Num, Record, Refused, Text

VERSION = 1
MAX_BYTES = 64 * 1024  # of a request
MAX_ANSWER_BYTES = 160 * 1024  # less than a socket's usual buffer

CHECKPOINTS = ("weights/last.pt", "weights/best.pt")
FILES = ("results.csv", "args.yaml", "opt.yaml", "hyp.yaml")
STEPS = ("grace", "stop", "vault", "rewrite", "relaunch")  # `wait` needs nobody's rights
SIGNALS = (2, 9, 15)  # INT, KILL, TERM

RUN = Text(r"[A-Za-z0-9]{1,64}")
_HASH = Text(r"[0-9a-f]{64}")
_SIZE = Int(0, 1 << 20)
_ATTEMPT = Int(0, 1 << 20)
_EPOCH = Int(-1, 1 << 31)
_LOSS = Num(-1e18)
# Printable, absolute, and without a part that leads up or stands still.
_DIRECTORY = Text(r"(?=.{2,1024}\Z)(?:/(?!\.{1,2}(?:/|\Z))[^/\x00-\x1f\x7f]+)+")

PROCESS = Record(
    {"boot_id": Text(r"[0-9a-f-]{36}"), "pid": Int(1, 1 << 22), "start_ticks": Int()}, {}
)
EDITS = Record(
    {},
    {
        "batch": Int(1, 1 << 20),
        "nbs": Int(1, 1 << 20),
        "weight_decay": Num(),
        "validation_batch": Int(1, 1 << 20),
        "multi_scale": Num(0.0, 1.0),
        "amp": Choice(("bf16", "fp16")),
        "checkpointing": Flag(),
        "expandable_segments": Flag(),
        "workers": Int(0, 4096),
        "cache": Choice(("disk", "none")),
        "pin_memory": Flag(),
        "freeze": Int(0, 100_000),
        "image_size": Int(1, 1 << 16),
        "image_size_before": Int(1, 1 << 16),
        "pruning": Num(0.0, 1.0),
        "optimizer_bits": Int(8, 8),
        "one_gpu": Int(1, 1 << 16),
        "more_gpus": Many(Int(0, 1 << 16), 64),
    },
)
# What the steps need to know of the user's own run.
USER = Record(
    {"trainer": Choice(("ultralytics", "yolov5", "yolov9"))},
    {
        "entry": Choice(("command", "script")),
        "batch": Int(-1, 1 << 20),
        "nbs": _SIZE,
        "effective_weight_decay": Num(),
        "epochs": Int(),
        "resumed": Flag(),
    },
)
EMERGENCY = Record(
    {"epoch": _EPOCH, "complete": Flag()},
    {
        "step": Int(),
        "losses": Many(_LOSS, 16),
        "loss_names": Many(Text(r"[\w/.() -]{1,64}"), 16),
        "rates": Many(_LOSS, 64),
    },
)
RESUME = Record(
    {"start": Choice(("resume", "afresh"))},
    {"epoch": _EPOCH, "sha256": _HASH, "emergency": EMERGENCY},
)
POLICY = Record(
    {
        "mode": Choice(("observe", "recommend", "auto")),
        "emergency": Choice(("never", "complete", "any")),
        "rescue": Flag(),
        "kill_grace_seconds": Num(0.0, 3600.0),
        "keep_checkpoints": Int(1, 1000),
        "vault_gib": Num(0.0, 1e6),
        "grace_seconds": Num(0.0, 86400.0),
    },
    {},
)
VERBS = {
    "capture": Record({"process": PROCESS}, {}),
    "forget": Record({}, {}),
    "step": Record(
        {
            "plan": Text(r"[A-Za-z0-9]{1,64}"),
            "step": Choice(STEPS),
            "attempt": _ATTEMPT,
            "failed_attempt": _ATTEMPT,
            "edits": EDITS,
            "user": USER,
            "run_dir": _DIRECTORY,
            "checkpoint": Choice(CHECKPOINTS),
            "saved": Flag(),
            "processes": Many(PROCESS, 1024),
            "copies": Many(Text(r"\d{6,9}-attempt\d{1,7}-epoch-?\d{1,9}-[0-9a-f]{16}\.pt"), 256),
            "adopted": Flag(),
            "policy": POLICY,
        },
        {"emergency": EMERGENCY, "resume": RESUME},
    ),
    "restore": Record(
        {
            "run_dir": _DIRECTORY,
            "policy": POLICY,
            "files": Many(Record({"name": Choice(FILES), "before": _HASH}, {}), 16),
        },
        {},
    ),
    "vault": Record(
        {
            "run_dir": _DIRECTORY,
            "checkpoint": Choice(CHECKPOINTS),
            "attempt": _ATTEMPT,
            "epoch": _EPOCH,
            "policy": POLICY,
        },
        {},
    ),
    "signal": Record({"process": PROCESS, "number": Int(1, 64)}, {}),
}
_HEAD = Record(
    {
        "version": Int(VERSION, VERSION),
        "id": Int(),
        "verb": Choice(tuple(VERBS)),
        "run": RUN,
    },
    {},
)


@dataclass(frozen=True)
class Request:
    """One well-formed request; `fields` holds what the verb's table names, and nothing else."""

    id: int
    verb: str
    run: str
    fields: dict[str, Any]


def encode(request: Request) -> bytes:
    """One datagram; raises Refused for what `decode` would refuse."""
    head = {"version": VERSION, "id": request.id, "verb": request.verb, "run": request.run}
    text = json.dumps({**head, "fields": request.fields}, separators=(",", ":")).encode()
    decode(text)
    return text


def decode(data: bytes) -> Request:
    """The request in a datagram; raises Refused, and nothing else, for hostile bytes."""
    if len(data) > MAX_BYTES:
        raise Refused("longer than a request may be")
    try:
        body = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        raise Refused("no JSON") from None
    if type(body) is not dict:
        raise Refused("no object")
    fields = body.pop("fields", None)
    head = _HEAD.read(body)
    found = VERBS[head["verb"]].read(fields)
    if head["verb"] == "signal" and found["number"] not in SIGNALS:
        raise Refused("number: only INT, TERM and KILL are sent")
    return Request(head["id"], head["verb"], head["run"], found)
