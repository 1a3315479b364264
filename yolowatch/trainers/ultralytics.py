"""Ultralytics: its command line, `args.yaml` and `results.csv`.

A resumed Ultralytics run takes its configuration from the checkpoint and only a few arguments from
the command line; nbs and weight_decay are not among them and reach it through the hook. A program
of the user's own has no command line that could say any of this: there the hook does all of it.

Read from release 8.4.190: `cfg/__init__.py` (entrypoint, get_save_dir) and `engine/trainer.py`
(check_resume). No line of it is copied.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from yolowatch.model.plan import Edits
from yolowatch.model.run import RunSpec
from yolowatch.trainers import results, yaml_lines

NAME = "ultralytics"
CONFIGURATIONS = ("args.yaml",)
ADDS_TO_RESULTS = False
LEVERS = {
    "validation batch": "hook: the batches of the validation loader",
    "allocator": "environment: `PYTORCH_CUDA_ALLOC_CONF`",
    "cache": "hook: `args.cache`",
    "workers": "hook: `args.workers`",
    "pin memory": "hook: what the loaders are built with",
    "batch": "`batch=` and `args.yaml`; `nbs` and `weight_decay` by the hook",
    "checkpointing": "hook: `forward` of the big blocks",
    "multi-scale": "hook: `args.multi_scale`",
    "amp": "hook: `args.amp`, bf16 or fp16",
    "one gpu": "hook: the first of `args.device`",
    "more gpus": "hook: `args.device`; of the `yolo` command, on one CUDA device, beside idle ones",
    "8-bit optimizer": "hook: the optimizer that the trainer builds; needs bitsandbytes",
    "image size": "hook: `args.imgsz`",
    "freeze": "hook: `args.freeze`",
    "pruning": "hook: the model that the trainer sets up; needs torch-pruning",
}
REFUSED: dict[str, str] = {}
RELEASES = ("8.2", "8.3", "8.4")

_PROGRAMS = ("yolo", "ultralytics")
_MODULES = ("ultralytics", "ultralytics.cfg", "ultralytics.cfg.__init__")
_TASKS = ("detect", "segment", "semantic", "depth", "classify", "pose", "obb")
_MODES = ("train", "val", "predict", "export", "track", "benchmark")
# What a resume takes from its command line besides the batch; everything else is the checkpoint's.
_KEPT_BY_RESUME = (
    "imgsz", "device", "close_mosaic", "save_period", "workers", "cache", "patience", "time",
    "freeze", "val", "plots", "channels_last", "distill_model",
)  # fmt: skip

_PAIR = re.compile(r"\w+=")
_WORD = re.compile(r"[a-z_][a-z0-9_]*\Z")


# ---------------------------------------------------------------- the command line


def is_command(argv: Sequence[str]) -> bool:
    """Whether `argv` is the `yolo` command line, behind any wrapper, asked to train."""
    start = _start(argv)
    if start is None:
        return False
    words = _joined(argv[start:])
    modes = [w for w in words if w in _MODES] + [w[5:] for w in words if w.startswith("mode=")]
    # Without a mode a configuration file may hold it; otherwise the command predicts.
    return modes[-1] == "train" if modes else any(w.startswith("cfg=") for w in words)


def resume_command(argv: Sequence[str], last: str, edits: Edits) -> tuple[str, ...]:
    """The command that resumes from the checkpoint `last` with the edits' batch.

    Keeps the wrapper, the task and those of the user's arguments that a resume takes from its
    command line. Raises ValueError, a sentence, for a command that cannot be resumed like this.
    """
    start, words = _parsed(argv)
    kept = [w for w in words if w not in _MODES and _key(w) in _KEPT_BY_RESUME]
    tasks = [w for w in words if w in _TASKS or _key(w) == "task"]
    changed = [f"model={last}", "resume=True"]
    if edits.batch is not None:
        changed.append(f"batch={edits.batch}")
    return (*argv[:start], *tasks, "train", *kept, *changed)


def fresh_command(argv: Sequence[str], run_dir: str, edits: Edits) -> tuple[str, ...]:
    """The user's command once more, with the edits and in the run directory that it already has.

    `save_dir` names a directory that is used as it is; without it the trainer would count on to
    the next free name. Raises ValueError, a sentence, for a command that cannot be changed.
    """
    start, words = _parsed(argv)
    changes = {"save_dir": run_dir} | {name: repr(v) for name, v in _values(edits).items()}
    kept = [w for w in words if _key(w) not in changes]
    return (*argv[:start], *kept, *(f"{name}={value}" for name, value in changes.items()))


def validation_command(spec: RunSpec, batch: int) -> str:
    """As the `yolo` command validates; what is not known it takes from the checkpoint."""
    told = {"data": spec.data, "imgsz": spec.image_size, "batch": batch, "device": spec.device}
    words = [f"{name}={value}" for name, value in told.items() if value is not None]
    tasks = () if spec.task is None else (spec.task,)
    return shlex.join(("yolo", *tasks, "val", f"model={spec.run_dir}/weights/best.pt", *words))


def _parsed(argv: Sequence[str]) -> tuple[int, list[str]]:
    start = _start(argv)
    if start is None or not is_command(argv):
        raise ValueError("The command is not Ultralytics' own command line, so it is not changed.")
    words = _joined(argv[start:])
    if any(w.startswith(("data=[", "data=(")) for w in words):
        raise ValueError("The command trains on several data sets in turn; none is run twice.")
    return start, words


def _start(argv: Sequence[str]) -> int | None:
    """Where the command line's own arguments begin, or None when it is another program."""
    found = None
    for index, word in enumerate(argv):
        if word.endswith(".py") or word == "-c":
            break  # a program of the user's own, whatever its arguments are
        if word == "-m":
            following = argv[index + 1] if index + 1 < len(argv) else ""
            return index + 2 if following in _MODULES else None
        # The last one: a wrapper may take a name like an environment's first.
        if not _PAIR.match(word) and word.rpartition("/")[2] in _PROGRAMS:
            found = index + 1
    if found is None or not all(_PAIR.match(w) or _WORD.match(w) for w in _joined(argv[found:])):
        return None
    return found


def _joined(words: Sequence[str]) -> list[str]:
    """The arguments as `key=value`, however spaces were set around `=` and within brackets."""
    pairs: list[str] = []
    open_pair = False
    for word in words:
        if pairs and word.startswith("="):
            pairs[-1] += word
            open_pair = word == "="
        elif pairs and (open_pair or (pairs[-1].endswith("=") and "=" not in word)):
            pairs[-1] += word
            open_pair = False
        else:
            pairs.append(word)
    whole: list[str] = []
    depth = 0
    for pair in pairs:
        if depth > 0:
            whole[-1] += pair
        else:
            whole.append(pair)
        depth += pair.count("[") - pair.count("]")
    return [word.removeprefix("--").removesuffix(",") for word in whole]


def _key(word: str) -> str:
    """The argument's name; a name alone is a flag that is set."""
    return word.partition("=")[0].strip()


def _values(edits: Edits) -> dict[str, int | float]:
    values = {"batch": edits.batch, "nbs": edits.nbs, "weight_decay": edits.weight_decay}
    return {name: value for name, value in values.items() if value is not None}


# ---------------------------------------------------------------- args.yaml


def rewrite(name: str, document: bytes, edits: Edits) -> bytes:
    """The only configuration file there is."""
    return rewrite_args(document, edits)


def rewrite_args(document: bytes, edits: Edits) -> bytes:
    """`args.yaml` with the edits in it; every other byte stays as it was.

    Keys that are missing are added at the end. Raises ValueError, a sentence, for a document that
    is not one mapping with a key a line, or in which a changed key is not one plain value.
    """
    changes: dict[yaml_lines.Path, int | float] = {
        (name,): value for name, value in _values(edits).items()
    }
    return yaml_lines.rewrite("args.yaml", document, changes)


# ---------------------------------------------------------------- results.csv


def trim_results(table: bytes, epochs_kept: int) -> bytes:
    """`results.csv` without the epochs after the first `epochs_kept`; it counts epochs from 1."""
    return results.trim(table, epochs_kept)


def scaled_weight_decay(weight_decay: float, batch: int, accumulate: int, nbs: int) -> float:
    """The trainer's own arithmetic, from left to right, bit for bit."""
    return weight_decay * batch * accumulate / nbs
