"""Supervised threads: each has a name, and a failure in one is told instead of swallowed."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Executor


def start(
    name: str, run: Callable[[], None], failed: Callable[[str, str], None]
) -> threading.Thread:
    """Start a daemon thread; `failed(name, traceback)` is called in it when `run` raises."""

    def supervised() -> None:
        try:
            run()
        except Exception:  # the boundary of a thread: whatever it is, the loop must hear of it
            failed(name, traceback.format_exc())

    thread = threading.Thread(target=supervised, name=f"yolowatch-{name}", daemon=True)
    thread.start()
    return thread


def submit(pool: Executor, run: Callable[[], None], failed: Callable[[str], None]) -> None:
    """Have a thread of `pool` run it; `failed(traceback)` is called there when it raises."""

    def supervised() -> None:
        try:
            run()
        except Exception:  # the boundary of a thread: whatever it is, the loop must hear of it
            failed(traceback.format_exc())

    pool.submit(supervised)
