"""`yolowatch top`: the daemon's view, live, until `q`; the terminal is given back as it was."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

from yolowatch.commands import asking
from yolowatch.commands.top_state import Top as State
from yolowatch.edges import keyboard
from yolowatch.edges.clock import Clock, SystemClock
from yolowatch.edges.control_client import ask
from yolowatch.errors import RefusedError, ServiceError, UsageError

_ANSWER_SECONDS = 5.0
_KEY_SECONDS = 0.25


class Top:
    """Shows GPUs, runs and incidents, and keeps on."""

    name = "top"
    summary = "watch GPUs, runs and incidents live"
    description = """\
Watch GPUs, runs, their headroom and their incidents. Nothing is changed from here.

  ↑ ↓ j k   select a run          /   show only runs with a text in them
  Enter i   inspect it            s   sort by attention, headroom, user, epoch or run
  Esc       back                  q   quit"""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        asking.add_socket(parser)
        parser.add_argument(
            "--interval",
            type=_seconds,
            default=1.0,
            metavar="SECONDS",
            help="how often the daemon is asked (default: 1)",
        )

    def run(self, arguments: argparse.Namespace) -> int:
        path = asking.socket_of(arguments)
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise UsageError("top needs a terminal; `yolowatch status` prints the same once.")
        if os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
            raise UsageError(
                "top needs a terminal that can move its cursor, which TERM says this one cannot; "
                "`yolowatch status` prints the same once."
            )
        first = _asked(State(), path)
        if first.view is None:
            raise ServiceError(first.trouble or "The daemon does not answer.")
        try:
            _watch(first, path, arguments.interval, SystemClock())
        except keyboard.Ended as ended:
            return 128 + ended.number
        except (EOFError, KeyboardInterrupt):
            return 0
        return 0


def _watch(state: State, path: Path, interval_seconds: float, clock: Clock) -> None:
    # Imported here: it takes longer than all the rest, and the daemon is a command too.
    from rich.console import Console
    from rich.live import Live

    from yolowatch.commands.top_screen import draw

    console = Console(highlight=False, markup=False, emoji=False)
    unicode = (console.encoding or "").lower().startswith("utf")
    keys = sys.stdin.fileno()
    asked_at = clock.monotonic()
    with (
        keyboard.single_keys(keys),
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        while not state.over:
            live.update(draw(state, console.width, console.height, unicode), refresh=True)
            key = keyboard.next_key(keys, _KEY_SECONDS)
            if key:
                state = state.pressed(key)
            looked_at = state.inspecting and state.inspected is None
            if looked_at or clock.monotonic() - asked_at >= interval_seconds:
                state = _asked(state, path)
                asked_at = clock.monotonic()


def _asked(state: State, path: Path) -> State:
    """With the daemon's newest answer, or the sentence why there is none."""
    try:
        answer = ask("status", {}, path, timeout_seconds=_ANSWER_SECONDS)
        state = replace(state, view=asking.fleet(answer), trouble=None)
        current = state.current()
        if state.inspecting and current is not None:
            answer = ask("status", {"run": current.run}, path, timeout_seconds=_ANSWER_SECONDS)
            state = replace(state, inspected=asking.run(answer))
    except (RefusedError, ServiceError) as error:  # a run may end between the two
        return replace(state, trouble=str(error))
    return state


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.1 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0.1 to 3600")
    return value
