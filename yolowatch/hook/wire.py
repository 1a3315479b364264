"""The one definition of the wire format between a hook and the daemon.

A message is one SOCK_SEQPACKET datagram: the magic `YW`, one byte version, one byte kind, then a
JSON object of at most `MAX_MESSAGE_BYTES`. The kinds and their fields, types and bounds are the
tables below; `decode` drops fields it does not know, refuses values of a wrong type or out of
bounds, and never returns anything that the tables do not name. A field that is unknown is absent:
unknown is not zero.

It deliberately holds no sockets and no policy. It stands in the hook because the hook may import
nothing else of yolowatch; the daemon imports it from here.
"""

import json
from operator import le

from .bounds import Bool, Choice, Float, Int, List, Record, Str, WireError

__all__ = ["VersionError", "WireError", "decode", "encode"]

MAGIC = b"YW"
VERSION = 1
ACCEPTED_VERSIONS = (1,)  # the current and, once there is one, the previous version
MAX_MESSAGE_BYTES = 8192
_HEADER_BYTES = 4

_BYTES_MAX = 1 << 50


class VersionError(WireError):
    """A well-formed header of a version that this side does not speak."""


PHASES = ("setup", "data", "forward", "loss", "backward", "optimizer", "validation", "save")


_BYTES = Int(0, _BYTES_MAX)
_COUNT = Int()
_NAME = Str(128)
_PATH = Str(1024)
_EPOCH = Int(-1)
_SIZE = Int(0, 1 << 20)

# Where a process stands in its training: in every sample and in the last words.
_PLACE = {
    "phase": Choice(PHASES),
    "epoch": _EPOCH,  # counted from 0, as the trainers do inside
    "step": _COUNT,  # training batches since the attempt began
    "batch": _SIZE,  # images in the micro-batch
    "height": _SIZE,  # pixels
    "width": _SIZE,
    "accumulate": _SIZE,  # micro-batches an optimizer step, at this moment
    "boxes": _COUNT,  # labelled boxes in the micro-batch
}
# What the allocator says. On the CPU `allocated` and `reserved` are both what the cap counts.
_MEMORY = {
    "allocated_bytes": _BYTES,
    "reserved_bytes": _BYTES,
    "inactive_split_bytes": _BYTES,
    "peak_bytes": _BYTES,  # highest `allocated` since the process began
    "capacity_bytes": _BYTES,
    "retries": _COUNT,
    "ooms": _COUNT,
    "active_bytes": _BYTES,  # allocated, and freed blocks that a stream may still use
}

FIELDS = {
    # first message on every connection
    "hello": {
        "pid": Int(1, 1 << 31),
        "attempt": _COUNT,
        "hook": _NAME,  # content hash of the staged hook
        "python": _NAME,
        "torch": _NAME,
        "argv": List(Str(200), 16),
        "rank": Int(-1, 1 << 16),
        "world_size": Int(0, 1 << 16),
        "local_world_size": Int(0, 1 << 16),  # of the ranks, those on this machine
        "max_restarts": Int(0, 1 << 16),  # of failed ranks, by their launcher itself
        "late": Bool(),  # the hook came into a process that was running already
        "stays_with": _PATH,  # said to whoever attaches: the hook serves the daemon there
    },
    # what is trained: sent when the trainer is set up, and again when it changes
    "run": {
        "trainer": _NAME,
        "trainer_version": _NAME,
        "entry": _NAME,  # "command" or "script"
        "train_calls": _COUNT,
        "run_dir": _PATH,
        "model": Str(256),
        "data": _PATH,
        "task": _NAME,
        "batch": Int(-1, 1 << 20),
        "accumulate": _SIZE,  # nominal, after warm-up
        "nbs": _SIZE,
        "weight_decay": Float(),  # as configured
        "effective_weight_decay": Float(),  # as the optimizer has it
        "epochs": _COUNT,
        "start_epoch": _COUNT,
        "image_size": _SIZE,
        "image_size_max": _SIZE,  # of the multi-scale range, rounded as the trainer does
        "image_size_min": _SIZE,
        "stride": _SIZE,
        "warmup_epochs": Float(),
        "precision": _NAME,  # "fp32", "fp16" or "bf16"
        "optimizer": _NAME,
        "optimizer_state_bytes": _BYTES,  # expected once every state exists
        "optimizer_state_exists": Bool(),
        "parameter_bytes": _BYTES,
        "device": _NAME,
        "train_images": _COUNT,
        "validation_batch": _SIZE,
        "resumed": Bool(),
        "multi_scale": Float(0.0, 1.0),  # sizes from 1 - this to 1 + this, of the image size
        "autocast": _NAME,  # the best mixed precision that device and trainer offer
        "checkpointable": _COUNT,  # blocks whose activations can be checkpointed
        "checkpointed": _COUNT,  # those that are
        "allocator": _NAME,  # the settings of the CUDA allocator
        "workers": _SIZE,  # processes that load images for the training
        "cache": _NAME,  # where images are cached: "ram", "disk" or "none"
        "pin_memory": Bool(),
        "freezable": _COUNT,  # layers of the backbone, the first ones of the model
        "frozen": _COUNT,  # so many of the first layers are not trained
        "pruned": Float(0.0, 1.0),  # part of the parameters that was taken away
        "prunable": Bool(),  # whether torch-pruning is installed
        "eight_bit": Bool(),  # whether bitsandbytes is installed and has this optimizer
        "guarded": Bool(),  # the range of sizes is capped for the first batches; see `guarding.py`
        "releasing": Bool(),  # cached memory is given back between the phases, as ordered
        "leaving": Bool(),  # the process ends as soon as this epoch is saved, as ordered
        "classes": _COUNT,
        "gpu": _NAME,  # its name, as its driver has it
        "gpu_number": Int(0, 1 << 16),  # of its CUDA device, as it numbers all devices itself
        "renumbered": Bool(),  # by its environment, which hides devices or orders them
        "spawnable": Bool(),  # its trainer can spawn ranks that train as it does alone
    },
    # a window of about a second
    "sample": dict(
        _PLACE,
        **_MEMORY,
        seconds=Float(),  # length of the window
        steps=_COUNT,  # training batches that ended in it
        allocated_min_bytes=_BYTES,
        allocated_max_bytes=_BYTES,
        dropped=_COUNT,  # messages lost so far
        faults=_COUNT,  # failures inside the hook so far
    ),
    # footprints: see `footprint.py` for what each item says
    "footprints": {
        "items": List(
            Record(Choice(PHASES), _SIZE, _SIZE, _SIZE, _COUNT, _BYTES, _BYTES, Bool(), _EPOCH), 64
        ),
    },
    "epoch_end": {"epoch": _EPOCH, "validated": Bool()},
    "checkpoint": {"path": _PATH, "epoch": _EPOCH, "step": _COUNT},
    # the trainer met an out-of-memory failure and goes on by itself
    "retry": dict(_PLACE, batch_before=_SIZE, text=Str(1000)),
    # an exception is about to end the process
    "last_words": dict(
        _PLACE,
        **_MEMORY,
        exception=_NAME,
        text=Str(2000),
        frames=List(Str(200), 12),  # innermost last, "file:line function"
        requested_bytes=_BYTES,  # by the allocator's own observer
        device_free_bytes=_BYTES,
        train_calls=_COUNT,
        handled=Bool(),  # left the trainer, but the program may still catch it
    ),
    "fault": {"where": _NAME, "text": Str(500), "count": _COUNT},
    "bye": {"finished": Bool(), "epoch": _EPOCH},
    # from the daemon to the hook: a live change; see `orders.py`
    "order": {"id": _COUNT, "name": _NAME, "value": Float(-1e18)},
    # the answer to it; a later one of the same id takes back what was accepted
    "ack": {"id": _COUNT, "accepted": Bool(), "reason": Str(500)},
    # a failed training has saved its state; the lists are what the epoch's row of results shows
    "emergency": {
        "epoch": _EPOCH,  # the last trained one in it
        "complete": Bool(),  # nothing of that epoch or of a later one was left out
        "step": _COUNT,
        "losses": List(Float(-1e18), 16),
        "loss_names": List(Str(64), 16),
        "rates": List(Float(-1e18), 64),
    },
    # a failure that would have ended the process was answered in it; see `levers/rescue.py`
    "rescue": dict(
        _PLACE,
        **_MEMORY,
        what=_NAME,  # "validation" or "step"
        before=_SIZE,  # the validation batch
        after=_SIZE,
        blocks=_COUNT,  # whose activations are computed again from now on
        exception=_NAME,
        text=Str(1000),
    ),
    # cached memory was given back between two phases, as ordered; the training stood still so long
    "released": {"seconds": Float(), "bytes": _BYTES},
    # the process ends as ordered: this epoch is saved, and nothing after it was trained
    "left": {"epoch": _EPOCH},
}
KINDS = tuple(FIELDS)
_CODE = {kind: code for code, kind in enumerate(KINDS)}


_SHAPES = {}  # by kind and names: the same fields come together again and again
_MOST_SHAPES = 64
_INTEGERS = frozenset((int,))


def _shape(kind, names):
    """Of fields that come together, the integers' names, least and most, and all other names."""
    if len(_SHAPES) >= _MOST_SHAPES:  # a peer may invent names
        _SHAPES.clear()
    table = FIELDS[kind]
    integers = [name for name in names if isinstance(table.get(name), Int)]  # type: ignore[attr-defined]
    lows, highs = [table[name].low for name in integers], [table[name].high for name in integers]
    found = integers, lows, highs, [name for name in names if name not in integers]
    _SHAPES[kind, names] = found
    return found


_read_json = json.JSONDecoder().raw_decode  # no blanks around it: `encode` makes none


def encode(kind, fields):
    """Bytes of one message; values are clipped to their bounds, None is left out.

    Raises WireError for a kind or field that the tables do not name and for a message that stays
    too long: both are mistakes of the caller.
    """
    table = FIELDS.get(kind)
    if table is None:
        raise WireError("no such kind: %s" % kind)
    body = {}
    for name, value in fields.items():
        if name not in table:
            raise WireError("no such field: %s.%s" % (kind, name))
        if value is not None:
            body[name] = table[name].clip(value)
    data = MAGIC + bytes((VERSION, _CODE[kind]))
    data += json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    if len(data) > MAX_MESSAGE_BYTES:
        raise WireError("message too long")
    return data


def decode(data):
    """`(kind, fields)` of one message; raises WireError, and nothing else, for hostile bytes."""
    if len(data) > MAX_MESSAGE_BYTES:
        raise WireError("message too long")
    if len(data) < _HEADER_BYTES or data[:2] != MAGIC:
        raise WireError("no yolowatch message")
    if data[2] not in ACCEPTED_VERSIONS:
        raise VersionError("version %d is not spoken here" % data[2])
    if data[3] >= len(KINDS):
        raise WireError("unknown kind %d" % data[3])
    kind = KINDS[data[3]]
    try:
        text = data[_HEADER_BYTES:].decode("utf-8")
        body, end = _read_json(text)
    except (ValueError, RecursionError):
        raise WireError("the body is no JSON") from None
    if end != len(text):
        raise WireError("the body is no JSON")
    if type(body) is not dict:
        raise WireError("the body is no object")
    names = tuple(body)
    integers, lows, highs, others = _SHAPES.get((kind, names)) or _shape(kind, names)
    # Nearly all of a sample are integers within their bounds, ten times a second: all at once.
    values = tuple(map(body.__getitem__, integers))
    typed = _INTEGERS.issuperset(map(type, values))
    if typed and all(map(le, lows, values)) and all(map(le, values, highs)):
        names = others
    table, name = FIELDS[kind], ""
    try:
        for name in names:
            if body[name] is None or name not in table:
                del body[name]
            else:
                body[name] = table[name].read(body[name])
    except WireError as error:
        raise WireError("%s.%s: %s" % (kind, name, error)) from None
    return kind, body
