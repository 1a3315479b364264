"""The trainers with an `opt.yaml`, YOLOv5 and what grew out of it: command line and run directory.

Their `--resume PATH` replaces every other option by the run's `opt.yaml`, where the settings stand
under `hyp`: that file is what is changed. A run that begins again takes its options from the
command line and its settings from the run's own `hyp.yaml`. `nbs` is a constant of the program and
reaches it through the hook.

Read from yolov5 7.0.14 and yolov9py 1.1.0: `train.py` (parse_opt, main). No line of it is copied.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence

from yolowatch.model.plan import Edits
from yolowatch.model.run import RunSpec
from yolowatch.trainers import results, yaml_lines

CONFIGURATIONS = ("opt.yaml", "hyp.yaml")
ADDS_TO_RESULTS = True
LEVERS = {
    "validation batch": "hook: the batches of the validation loader",
    "allocator": "environment: `PYTORCH_CUDA_ALLOC_CONF`",
    "cache": "hook: `opt.cache`",
    "workers": "hook: `opt.workers`",
    "pin memory": "environment: `PIN_MEMORY`",
    "batch": "`opt.yaml` or `--batch-size`; `nbs` by the hook, in the code that runs",
    "checkpointing": "hook: `forward` of the big blocks",
    "multi-scale": "hook: the program's `random.randrange`",
    "amp": "hook: the program's `check_amp`, fp16",
    "image size": "hook: `opt.imgsz`",
    "freeze": "hook: `opt.freeze`",
}
REFUSED = {
    "one gpu": "its ranks are those of torchrun, which is told their number",
    "more gpus": "several devices are torchrun's, under which only its user can start it",
    "8-bit optimizer": "only Ultralytics' optimizer can be exchanged as yet",
    "pruning": "a resume builds the whole model anew and loads no pruned one",
}
RELEASES: tuple[str, ...] = ()

_SCRIPT = re.compile(r"(?:.*/)?\w*train\w*\.py\Z")
_MODULE = re.compile(r"(?:\w+\.)*\w*train\w*\Z")
_LAUNCHERS = ("torch.distributed.run", "torch.distributed.launch")
_WITH_VALUE = ("-W", "-X")  # of the interpreter's own options


# ---------------------------------------------------------------- the command line


def is_command(argv: Sequence[str]) -> bool:
    """Whether `argv` runs a training program of this family, behind any wrapper, for one training.

    What the program really is, only the hook can see; this finds where its own options stand.
    """
    start = _start(argv)
    # Evolution is many trainings in turn, of which none has a checkpoint of its own.
    return start is not None and not any(_is_option(w, "--evolve", 4) for w in argv[start:])


def resume_command(argv: Sequence[str], last: str, edits: Edits) -> tuple[str, ...]:
    """The command that resumes from the checkpoint `last`; the edits stand in `opt.yaml`.

    The user's own options stay, although a resume takes none of them: a program that grew out of
    this family may insist on some. Raises ValueError, a sentence, for any other command.
    """
    start = _parsed(argv)
    return (*argv[:start], *_without_resume(argv[start:]), "--resume", last)


def fresh_command(argv: Sequence[str], run_dir: str, edits: Edits) -> tuple[str, ...]:
    """The user's command once more, with the edits and in the run directory that it already has.

    An option that is given twice counts as it is given last, in whatever shortened form the first
    one was. Raises ValueError, a sentence, for a command that cannot be changed.
    """
    start = _parsed(argv)
    if len(_without_resume(argv[start:])) < len(argv[start:]):
        raise ValueError("The command itself resumes a run, so it cannot begin it again.")
    project, name = os.path.split(run_dir)
    changed = ["--project", project, "--name", name, "--exist-ok"]
    if edits.batch is not None:
        changed += ["--batch-size", str(edits.batch)]
    if edits.weight_decay is not None:
        changed += ["--hyp", os.path.join(run_dir, "hyp.yaml")]
    return (*argv, *changed)


def validation_command(spec: RunSpec, batch: int) -> str:
    """The program beside that of the training, which alone knows this network's outputs."""
    told = {"--data": spec.data, "--imgsz": spec.image_size, "--device": spec.device}
    words = [word for name, v in told.items() if v is not None for word in (name, str(v))]
    where = ("--weights", f"{spec.run_dir}/weights/best.pt", *words, "--batch-size", str(batch))
    return f"python val.py {shlex.join(where)} (val_dual.py after train_dual.py, and so on)"


def _parsed(argv: Sequence[str]) -> int:
    start = _start(argv)
    if start is None or not is_command(argv):
        raise ValueError("The command is not that of a training program, so it is not changed.")
    return start


def _start(argv: Sequence[str]) -> int | None:
    """Where the training program's own options begin, or None when it is another program.

    A launcher of ranks counts as a wrapper: what is changed is the program in each of them.
    """
    skip = False
    for index, word in enumerate(argv):
        if skip:
            skip = False
        elif word.endswith(".py"):
            return index + 1 if _SCRIPT.match(word) else None
        elif word == "-c":
            return None
        elif word in _WITH_VALUE:
            skip = True
        elif word in ("-m", "--module"):
            following = argv[index + 1] if index + 1 < len(argv) else ""
            if following in _LAUNCHERS:
                skip = True  # its own options stand before the program that it starts
                continue
            return index + 2 if _MODULE.match(following) else None
        elif word.rpartition("/")[2] == "yolov5" and argv[index + 1 : index + 2] == ["train"]:
            return index + 2
    return None


def _without_resume(words: Sequence[str]) -> list[str]:
    """The options without `--resume`, and without the path that may follow it."""
    kept: list[str] = []
    after_resume = False
    for word in words:
        if _is_option(word, "--resume", 5):
            after_resume = "=" not in word
        elif after_resume and not word.startswith("-"):
            after_resume = False
        else:
            after_resume = False
            kept.append(word)
    return kept


def _is_option(word: str, option: str, shortest: int) -> bool:
    """Whether the word is the option, which may be shortened to so many characters."""
    name = word.partition("=")[0]
    return len(name) >= shortest and option.startswith(name)


# ---------------------------------------------------------------- opt.yaml and hyp.yaml


def rewrite(name: str, document: bytes, edits: Edits) -> bytes:
    """`opt.yaml` or `hyp.yaml` with the edits in it; every other byte stays as it was.

    Raises ValueError, a sentence, for a document that does not hold them one a line.
    """
    changes: dict[yaml_lines.Path, int | float] = {}
    of_options = name == "opt.yaml"
    if of_options and edits.batch is not None:
        changes[("batch_size",)] = edits.batch
    if edits.weight_decay is not None:
        changes[("hyp", "weight_decay") if of_options else ("weight_decay",)] = edits.weight_decay
    known = yaml_lines.mapping(name, document)
    if any(path[0] not in known for path in changes):
        raise ValueError(f"{name} is not what the trainer writes, so it is not changed.")
    return yaml_lines.rewrite(name, document, changes)


# ---------------------------------------------------------------- results.csv


def trim_results(table: bytes, epochs_kept: int) -> bytes:
    """`results.csv` without the epochs after the first `epochs_kept`; it counts epochs from 0."""
    return results.trim(table, epochs_kept - 1)


def scaled_weight_decay(weight_decay: float, batch: int, accumulate: int, nbs: int) -> float:
    """The trainers' own arithmetic, bit for bit: the factor first."""
    return weight_decay * (batch * accumulate / nbs)
