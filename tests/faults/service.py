"""A real `yolowatch daemon` and trainings that nobody started through yolowatch.

As root everything happens in a mount namespace with a /run of its own, because the service's socket
has one place there; otherwise the user's runtime directory is the test's.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults.scene import Miniature
from yolowatch.edges.journal import Journal
from yolowatch.edges.stage import stage
from yolowatch.edges.statedir import service_socket_directory

KILLED_AT = Path(__file__).with_name("programs") / "killed_at.py"
CONFIGURATION = f"""
mode: auto
metrics: none
attach: preloaded
others_grace_seconds: 0
users:
  - uid: {os.geteuid()}
    mode: auto
"""
PATIENCE_SECONDS = 90.0


def until(happened: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Return as soon as it has happened; it must, if nothing is wrong."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, f"it did not happen: {what}"
        time.sleep(0.05)


class Helper:
    """The root helper as its units have it: whenever it ends, another one listens."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._thread: threading.Thread | None = None
        self._popen: subprocess.Popen[bytes] | None = None
        self._closing = False
        self.socket = service.scene.root / "helper.sock"
        self.starts = 0

    def start(self, hook_socket: Path) -> None:
        """Once is enough; it listens when this returns."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, args=(hook_socket,), daemon=True)
            self._thread.start()
            until(self.socket.exists, "the helper listens")

    def _serve(self, hook_socket: Path) -> None:
        root = self._service.scene.root
        command = (
            *(*self._service.inside, sys.executable, "-m", "yolowatch.hands.helper"),
            *("--socket", self.socket, "--core-user", str(os.geteuid())),
            *("--state-dir", root / "private", "--stage-dir", root / "shared"),
            *("--hook-socket", hook_socket, "--also-uid", str(os.geteuid())),
        )
        while not self._closing:
            with (root / "helper.log").open("a") as log:
                self._popen = subprocess.Popen(
                    command, cwd=Path(__file__).parents[2], env={}, stdout=log, stderr=log
                )
            self.starts += 1
            self._popen.wait()
            time.sleep(0.2)

    def close(self) -> None:
        self._closing = True
        while self._thread is not None and self._thread.is_alive():
            if self._popen is not None:
                self._popen.kill()
            self._thread.join(0.1)


class Service:
    """The daemon of one test, started again and again, and the training that it finds."""

    def __init__(self, scene: Miniature, *, helped: bool = False) -> None:
        """`helped`: through the root helper, which is started anew whenever it ends."""
        self.scene = scene
        self.helper = Helper(self) if helped else None
        self.writes = scene.root / "writes.log"
        self.inside: tuple[str, ...] = ()
        self._holder: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:
            alone = "mount -t tmpfs tmpfs /run && echo ready && exec sleep infinity"
            command = ("unshare", "-m", "sh", "-c", alone)
            self._holder = subprocess.Popen(command, stdout=subprocess.PIPE)
            assert self._holder.stdout is not None
            assert self._holder.stdout.readline() == b"ready\n"
            self.inside = ("nsenter", "-t", str(self._holder.pid), "-m")
        self._environment = {**scene.environment, "XDG_RUNTIME_DIR": str(scene.root)}
        scene.state_made()
        self._stage = stage(scene.state).path
        self._socket = service_socket_directory(self._environment) / "hook.sock"
        self._configuration = scene.root / "yolowatch.yaml"
        self._configuration.write_text(CONFIGURATION)
        self.daemon: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        path = self.scene.root / "daemon.log"
        return path.read_text() if path.exists() else ""

    def start(self, write: str = "never", victim: str = "daemon") -> None:
        """Start the daemon; see programs/killed_at.py."""
        arguments: tuple[object, ...]
        arguments = ("daemon", "--config", self._configuration, "--state-dir", self.scene.state)
        if self.helper is not None:
            self.helper.start(self._socket)
            arguments += ("--helper", self.helper.socket)
        program = (KILLED_AT, self.writes, write, victim, "--", *arguments)
        already = self.log.count("hooks speak to")
        environment = {k: v for k, v in self._environment.items() if k != "PYTHONPATH"}
        with (self.scene.root / "daemon.log").open("a") as log:
            self.daemon = subprocess.Popen(
                (*self.inside, sys.executable, *program),
                cwd=Path(__file__).parents[2], env=environment, stdout=log, stderr=log,
            )  # fmt: skip
        until(
            lambda: self.log.count("hooks speak to") > already or self.ended,
            "the daemon listens",
        )

    def written(self) -> list[str]:
        """The names of the writes of the remediation so far."""
        return self.writes.read_text().splitlines() if self.writes.exists() else []

    @property
    def ended(self) -> bool:
        assert self.daemon is not None
        return self.daemon.poll() is not None

    def configure(self, text: str) -> None:
        self._configuration.write_text(text)

    def plain(self) -> dict[str, str]:
        """The environment of a command that has neither hook nor limit."""
        return {k: v for k, v in self._environment.items() if k != "PYTHONPATH"}

    def limited(self) -> dict[str, str]:
        """What limits a training that some other launcher brings the hook to."""
        return {"PYTHONPATH": self._environment["PYTHONPATH"]}

    def hooked(self) -> dict[str, str]:
        """The environment of a training that has the hook from its start, and the limit."""
        return self._environment | {
            "PYTHONPATH": os.pathsep.join([str(self._stage), self._environment["PYTHONPATH"]]),
            "YOLOWATCH_SOCKET": str(self._socket),
        }

    def train(self, *words: str, within: Path | None = None) -> None:
        """Start the training as from a prompt that is gone: nobody of its ancestors lives.

        `within` is a control group that it is put into.
        """
        environment = self.hooked()
        leave = 'cd "$0" && setsid "$@" > training.log 2>&1 < /dev/null &'
        enter = () if within is None else ("sh", "-c", 'echo $$ > "$0" && exec "$@"')
        group = () if within is None else (str(within / "cgroup.procs"),)
        root = str(self.scene.root)
        command = (*self.inside, "sh", "-c", leave, root, *enter, *group)
        command += self.scene.training(*words)
        subprocess.run(command, env=environment, check=True)

    def journal(self) -> Journal:
        return Journal(self.scene.state / "journal.sqlite")

    def outcome(self) -> str | None:
        """How the only run that is not forgotten ended; None while it goes on."""
        with self.journal() as journal:
            ended = [run for run in journal.runs() if run.ended is not None]
        return ended[0].outcome if ended else None

    def trainings(self) -> list[int]:
        """Living processes of this test's training."""
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                words = Path(f"/proc/{name}/cmdline").read_bytes()
            except OSError:
                continue
            if os.fsencode(self.scene.program) in words and os.fsencode(self.scene.root) in words:
                found.append(int(name))
        return found

    def close(self) -> None:
        if self.helper is not None:
            self.helper.close()
        if self.daemon is not None:
            self.daemon.kill()
            self.daemon.wait()
        for pid in self.trainings():
            os.kill(pid, signal.SIGKILL)
        if self._holder is not None:
            self._holder.kill()
            self._holder.wait()
