"""Copies checkpoints into the vaults of their run directories, in a thread of its own.

A copy is taken when the trainer says that a checkpoint is complete, so that nothing has to be
copied while a failed run waits to go on.
"""

from __future__ import annotations

import queue
import threading
from pathlib import Path

from yolowatch.edges.clock import Clock
from yolowatch.edges.vault import Vault, VaultedCheckpoint, VaultRefused
from yolowatch.model import events
from yolowatch.model.actions import VaultCheckpoint

_MOST_WAITING = 64  # files that are to be copied; a trainer saves to one or two


class Vaults:
    """One vault a run directory; `order` never blocks, `settle` waits for what was ordered."""

    def __init__(
        self, clock: Clock, keep: int, post: events.Post, budget_bytes: int | None = None
    ) -> None:
        self._clock = clock
        self._keep = keep
        self._budget_bytes = budget_bytes
        self._post = post
        self._vaults: dict[str, Vault] = {}
        self._newest: dict[str, VaultedCheckpoint] = {}
        self._taken: dict[str, set[Path]] = {}
        self._lock = threading.Lock()
        self._orders: queue.Queue[str | None] = queue.Queue()  # paths
        self._waiting: dict[str, VaultCheckpoint] = {}  # the latest order of each path

    def of(self, run_dir: str) -> Vault:
        """The vault of a run directory; may be used from any thread."""
        with self._lock:
            if run_dir not in self._vaults:
                self._vaults[run_dir] = Vault(
                    Path(run_dir),
                    keep=self._keep,
                    budget_bytes=self._budget_bytes,
                    clock=self._clock,
                )
            return self._vaults[run_dir]

    def newest(self, run_dir: str) -> VaultedCheckpoint | None:
        """The copy that was taken last, by this process."""
        with self._lock:
            return self._newest.get(run_dir)

    def taken(self, run_dir: str) -> frozenset[Path]:
        """All copies that this process took: others in the vault may be another training's."""
        with self._lock:
            return frozenset(self._taken.get(run_dir, ()))

    def order(self, request: VaultCheckpoint) -> None:
        """Have a copy taken; of two orders for one path that wait, the later one counts."""
        with self._lock:
            waits = request.path in self._waiting
            refused = not waits and len(self._waiting) >= _MOST_WAITING
            if not refused:
                self._waiting[request.path] = request
        if refused:
            reason = f"{_MOST_WAITING} other files wait to be copied"
            self._post(events.CheckpointRefused(request.path, reason, self._clock.monotonic()))
        elif not waits:
            self._orders.put(request.path)

    def settle(self) -> None:
        """Return when every copy that was ordered so far is done."""
        self._orders.join()

    def stop(self) -> None:
        self._orders.put(None)

    def work(self) -> None:
        """Take copies until `stop`; the body of the thread."""
        while True:
            path = self._orders.get()
            try:
                if path is None:
                    return
                with self._lock:
                    request = self._waiting.pop(path)
                self._post(self._copy(request))
            finally:
                self._orders.task_done()

    def _copy(self, request: VaultCheckpoint) -> events.Event:
        path = Path(request.path)
        began = self._clock.monotonic()
        try:
            vault = self.of(request.run_dir)
            copy = vault.store_checkpoint(path, request.attempt, request.epoch)
            with self._lock:
                self._newest[request.run_dir] = copy
                self._taken.setdefault(request.run_dir, set()).add(copy.copy)
        except (VaultRefused, OSError) as error:
            return events.CheckpointRefused(request.path, str(error), self._clock.monotonic())
        now = self._clock.monotonic()
        return events.CheckpointVaulted(
            request.path,
            request.epoch,
            copy.sha256,
            str(copy.copy),
            copy.size_bytes,
            now - began,
            now,
        )
