"""`yolowatch attach PID` and `yolowatch detach PID`: the hook into a running training, and out."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolowatch.commands.base import print_json
from yolowatch.model.attach import HELLO_SECONDS, AttachPolicy
from yolowatch.model.printable import printable

if TYPE_CHECKING:
    from yolowatch.edges.attach.entering import Means, Met

_WIDTH = 120


class Attach:
    """Brings the hook into a process that runs already."""

    name = "attach"
    summary = "bring the hook into a training that runs already"
    description = """\
Bring yolowatch's hook into a running training, without a restart and without a change of what it
learns. It says what it found there and goes; the hook stays, and finds the daemon by itself.

  yolowatch attach 4711
  yolowatch detach 4711        take the hook out again

The training pauses for less than a millisecond. Python 3.8 or newer; your own processes, or any
as root. Where the main thread is busy outside of Python the hook comes when it returns, and the
exit status says so (117)."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        _configure(parser)
        parser.add_argument(
            "--attach",
            choices=[p.value for p in AttachPolicy if p is not AttachPolicy.NONE],
            default=AttachPolicy.SAFE.value,
            help="how far to go; debugger also tries gdb, which pauses the training for up to a "
            "second (default: safe)",
        )

    def run(self, arguments: argparse.Namespace) -> int:
        from yolowatch.edges.attach.entering import (
            attach,  # dear to import, and needed by this command alone
        )

        met = attach(arguments.pid, _means(arguments, AttachPolicy(arguments.attach)))
        if arguments.json:
            print_json(_document(met))
        else:
            print(_sentence(arguments.pid, met))
        return 0


class Detach:
    """Takes the hook out of a process."""

    name = "detach"
    summary = "take the hook out of a running training"
    description = """\
Take yolowatch's hook out of a running training: every function is the trainer's own again, and no
thread and no module stays. The training goes on. `yolowatch attach` brings the hook back."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        _configure(parser)

    def run(self, arguments: argparse.Namespace) -> int:
        from yolowatch.edges.attach.entering import detach

        met = detach(arguments.pid, _means(arguments, AttachPolicy.SAFE))
        if arguments.json:
            print_json(_document(met))
        else:
            left = met.run.get("reason")
            more = f" ({printable(left, _WIDTH)})" if left else ""
            print(f"The hook has left process {arguments.pid}{more}.")
        return 0


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pid", type=_pid, metavar="PID", help="the training's process")
    parser.add_argument(
        "--wait",
        type=_seconds,
        default=HELLO_SECONDS,
        metavar="SECONDS",
        help=f"how long the hook's answer is waited for (default: {HELLO_SECONDS:g})",
    )
    parser.add_argument(
        "--state-dir", type=Path, metavar="DIR", help="where the hook is staged (as for `run`)"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object")


def _means(arguments: argparse.Namespace, policy: AttachPolicy) -> Means:
    from yolowatch.edges.attach.entering import Means

    return Means(os.environ, arguments.state_dir, policy=policy, seconds=arguments.wait)


def _sentence(pid: int, met: Met) -> str:
    pause = met.reached.pause_seconds
    paused = f", which paused it for {pause * 1000:.2g} ms" if pause is not None else ""
    lines = [
        f"The hook is in process {pid} (Python {_word(met.hello, 'python')}), by "
        f"{met.reached.rung.value}{paused}."
    ]
    if met.stays_with is not None:
        lines = [
            f"The hook was in process {pid} already, and serves the yolowatch that listens at "
            f"{printable(met.stays_with, _WIDTH)}."
        ]
    elif met.run:
        lines.append(
            f"It trains {_word(met.run, 'model')} with {_word(met.run, 'trainer')} "
            f"{_word(met.run, 'trainer_version')}: batch {_word(met.run, 'batch')} x "
            f"{_word(met.run, 'accumulate')}, {_word(met.run, 'epochs')} epochs, "
            f"in {_word(met.run, 'run_dir')}."
        )
    else:
        lines.append("It has told of no training yet: that comes with the next batch of one.")
    return "\n".join(lines)


def _document(met: Met) -> dict[str, Any]:
    return {
        "rung": met.reached.rung.name.lower(),
        "latency_seconds": met.reached.latency_seconds,
        "pause_seconds": met.reached.pause_seconds,
        "stays_with": met.stays_with,
        "hello": dict(met.hello),
        "said": dict(met.run),
    }


def _word(fields: Any, name: str) -> str:
    value = fields.get(name)
    return "?" if value is None else printable(str(value), _WIDTH)


def _pid(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:19]) <= 2**22:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of a process")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 < value <= 3600.0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds up to 3600")
    return value
