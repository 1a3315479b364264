"""Ultralytics: its command line, `args.yaml` and `results.csv`.

A resumed Ultralytics run takes its configuration from the checkpoint and only a few arguments from
the command line; nbs and weight_decay are not among them and reach it through the hook. A program
of the user's own has no command line that could say any of this: there the hook does all of it.

Read from release 8.4.190: `cfg/__init__.py` (entrypoint, get_save_dir) and `engine/trainer.py`
(check_resume). No line of it is copied.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

from yolowatch.model.plan import Edits

NAME = "ultralytics"

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
_TOP_LEVEL = re.compile(rb"([A-Za-z_]\w*):(?=[ \t\r\n]|\Z)")
_MAX_BYTES = 1 << 20
_NOT_A_LINE = "args.yaml is not written with one key a line, so it is not changed."


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


def rewrite_args(document: bytes, edits: Edits) -> bytes:
    """`args.yaml` with the edits in it; every other byte stays as it was.

    Keys that are missing are added at the end. Raises ValueError, a sentence, for a document that
    is not one mapping with a key a line, or in which a changed key is not one plain value.
    """
    before = _mapping(document)
    changes = _values(edits)
    lines = document.splitlines(keepends=True)
    if lines and not lines[-1].endswith((b"\n", b"\r")):
        lines[-1] += b"\n"
    for name, value in changes.items():
        at = [i for i, line in enumerate(lines) if _top_level(line) == name.encode()]
        new = f"{name}: {_scalar(value)}".encode()
        if not at and name not in before:
            lines.append(new + b"\n")
        elif not at:
            raise ValueError(_NOT_A_LINE)
        elif len(at) > 1:
            raise ValueError(f"args.yaml names {name} twice, so it is not changed.")
        else:
            line = lines[at[0]]
            comment = re.search(rb"[ \t]+#[^\r\n]*", line)
            ending = line[len(line.rstrip(b"\r\n")) :]
            lines[at[0]] = new + (comment.group() if comment else b"") + ending
    changed = b"".join(lines)
    try:
        understood = _mapping(changed) == before | changes
    except ValueError:
        understood = False  # a value went on over the next lines
    if not understood:
        raise ValueError(_NOT_A_LINE)
    return changed


def _mapping(document: bytes) -> dict[Any, Any]:
    if len(document) > _MAX_BYTES:
        raise ValueError("args.yaml is larger than 1 MiB, so it is not read.")
    try:
        parsed = yaml.safe_load(document.decode("utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"args.yaml is no YAML document ({type(error).__name__}).") from None
    if not isinstance(parsed, dict):
        raise ValueError("args.yaml holds no mapping, so it is not changed.")
    return parsed


def _top_level(line: bytes) -> bytes | None:
    match = _TOP_LEVEL.match(line)
    return match.group(1) if match else None


def _scalar(value: int | float) -> str:
    # YAML 1.1 reads 5e-05 as text: its floats have a point.
    text = repr(value)
    return text.replace("e", ".0e", 1) if "e" in text and "." not in text else text


# ---------------------------------------------------------------- results.csv


def trim_results(table: bytes, epochs_kept: int) -> bytes:
    """`results.csv` without the epochs after the first `epochs_kept`; it counts epochs from 1.

    A row that was cut off while it was written is dropped as well. Raises ValueError, a sentence,
    for a table whose first column is not the epoch.
    """
    lines = table.splitlines(keepends=True)
    if not lines:
        return table
    columns = lines[0].split(b",")
    if columns[0].strip() != b"epoch":
        raise ValueError(
            "results.csv does not begin with a column of epochs, so it is not changed."
        )
    kept = [lines[0]]
    for line in lines[1:]:
        cells = line.split(b",")
        epoch = _whole_number(cells[0])
        if len(cells) == len(columns) and epoch is not None and epoch <= epochs_kept:
            kept.append(line)
    return b"".join(kept)


def _whole_number(cell: bytes) -> int | None:
    try:
        return int(float(cell))
    except (ValueError, OverflowError):
        return None
