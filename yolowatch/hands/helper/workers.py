"""The helper's end of a worker: starts it, hands it requests, starts trainings for it.

Nothing that a worker says is trusted further than its user: what it asks to be started is started
as that user and with what was captured, and what it answers is passed on and never acted upon.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolowatch.edges import plain
from yolowatch.edges.captures import Kept
from yolowatch.errors import LaunchError
from yolowatch.hands.detached import start_detached
from yolowatch.hands.helper.channel import Channel
from yolowatch.hands.helper.protocol import Request, encode

_MAX_PENDING = 64
Reply = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Staged:
    """The hook of the helper's own, which everybody may read, and the daemon's socket."""

    stage: Path
    socket: Path
    door: Path | None = None  # of the starter; None: a child of the helper, confined as it is


class Worker:
    """One worker process; `ask` may be called from any thread."""

    def __init__(
        self, run: str, kept: Kept, began: float, staged: Staged, tell: Callable[[Any], None]
    ) -> None:
        self._run, self._kept, self._tell, self._door = run, kept, tell, staged.door
        self._lock = threading.Lock()
        self._pending: dict[int, Reply] = {}
        self._last = 0
        self.ended = False
        mine, its = socket.socketpair()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-m", "yolowatch.hands.helper.worker", str(its.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(its.fileno(),),
            env={},
            cwd="/",
        )
        its.close()
        self._socket = mine
        self._channel = Channel(mine)
        self._channel.send(
            {
                "run": run,
                "kept": plain.to_json(kept),
                "began": began,
                "stage": str(staged.stage),
                "socket": str(staged.socket),
            }
        )
        threading.Thread(target=self._listen, name=f"worker-{run}", daemon=True).start()

    def ask(self, request: Request, reply: Reply) -> None:
        """Hand it a request; `reply` is called once, in another thread or in this one."""
        with self._lock:
            refused = self._obstacle()
            self._last += 1
            number = self._last
            if refused is None:
                self._pending[number] = reply
        if refused is not None:
            reply({"refused": refused})
            return
        try:
            text = encode(Request(number, request.verb, request.run, request.fields)).decode()
            self._channel.send({"request": text})
        except OSError:
            pass  # it has ended: whoever listens to it answers for it

    def _obstacle(self) -> str | None:
        if self.ended:
            return f"the worker of run {self._run} has ended"
        if len(self._pending) >= _MAX_PENDING:
            return f"the worker of run {self._run} has more requests than it may"
        return None

    def close(self) -> None:
        """End it; no training is touched."""
        self._channel.close()

    def _listen(self) -> None:
        try:
            while (message := self._channel.receive()) is not None:
                self._take(message)
        finally:
            with self._lock:
                self.ended = True
                left, self._pending = self._pending, {}
            self._channel.close()
            self._socket.close()
            self._process.wait()
            for reply in left.values():
                reply({"refused": f"the worker of run {self._run} ended: see the helper's journal"})

    def _take(self, message: dict[str, Any]) -> None:
        if "event" in message:
            self._tell(message["event"])
        elif "start" in message:
            self._channel.send({"started": self._start(message["start"])})
        else:
            with self._lock:
                reply = self._pending.pop(message.get("reply", 0), None)
            if reply is not None:
                reply({name: message[name] for name in ("result", "refused") if name in message})

    def _start(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Start a training as its own user; a unit's name is the helper's own choice of prefix."""
        try:
            process = start_detached(
                self._kept.captured,
                [str(each) for each in asked["argv"]],
                {str(name): str(value) for name, value in asked["environment"].items()},
                unit=f"yolowatch-{self._run}-{int(asked['attempt'])}.scope",
                fallback_log=Path(str(asked["fallback_log"])),
                marker=Path(str(asked["marker"])),
                door=self._door,
            )
        except LaunchError as error:
            return {"trouble": str(error)}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            return {"trouble": f"the worker's order is malformed ({error})"}
        return {"process": vars(process)}
