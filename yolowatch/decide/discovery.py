"""Whether a command line may be a YOLO training that a hook should be brought to.

A hook in a process that trains nothing stays asleep, so a program that has loaded torch is worth
one even if nothing else tells what it does. What serves another process is left alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from enum import Enum

from yolowatch.decide import origin

_PYTHON = re.compile(r"python(\d+(\.\d+)*)?\Z")
_PROGRAMS = re.compile(r"train\w*\.py\Z")
_MODULES = re.compile(r"(yolov\d+|yolov9py|ultralytics)\.(\w+\.)*train\w*\Z")
_LAUNCHERS = ("torch.distributed.run", "torch.distributed.launch", "accelerate.commands.launch")
_WORKERS = ("multiprocessing.spawn", "multiprocessing.forkserver", "multiprocessing.resource")


class Sight(Enum):
    """What a process looks like from outside; the value is for people."""

    TRAINING = "a YOLO training by its command line"
    POSSIBLE = "a Python program that may train"
    LAUNCHER = "a launcher of ranks"
    NOTEBOOK = "a notebook or a prompt"
    OTHER = "no training"


def worth_a_hook(argv: Sequence[str]) -> str | None:
    """What it looks like, in words, where a hook may be of use; else None."""
    sight = look(argv)
    return sight.value if sight in (Sight.TRAINING, Sight.POSSIBLE) else None


def look(argv: Sequence[str]) -> Sight:
    """What the words that a process was started with say of it."""
    if not argv or not _PYTHON.match(os.path.basename(argv[0])):
        return Sight.OTHER
    if origin.is_notebook(argv):
        return Sight.NOTEBOOK
    module, program, rest = _program(argv[1:])
    if module in _LAUNCHERS or os.path.basename(program) == "torchrun":
        return Sight.LAUNCHER
    if any(each.startswith(_WORKERS) for each in (module, *rest[:1])) or _serves(argv):
        return Sight.OTHER
    name = os.path.basename(program)
    if name == "yolo":
        return Sight.TRAINING if "train" in rest else Sight.OTHER
    if _MODULES.match(module) or _PROGRAMS.match(name):
        return Sight.TRAINING
    return Sight.POSSIBLE


def _program(words: Sequence[str]) -> tuple[str, str, Sequence[str]]:
    """The module after -m or the program's file, and what follows it."""
    for number, word in enumerate(words):
        if word == "-m":
            return (words[number + 1] if number + 1 < len(words) else ""), "", words[number + 2 :]
        if word == "-c":
            return "", "", words[number + 1 :]
        if not word.startswith("-"):
            return "", word, words[number + 1 :]
    return "", "", ()


def _serves(argv: Sequence[str]) -> bool:
    """Whether multiprocessing started it to serve another process."""
    return any(
        each.startswith(("--multiprocessing-fork", "from multiprocessing.")) for each in argv
    )
