"""Failures of the host's memory beside a batch: what they are, and which lever answers each.

Images that are cached, workers that load them, the shared memory through which they hand them over
and pages that are pinned: none of it grows with the batch on the device, so that a smaller one is
no answer. Each cause has its own texts and its own levers, which leave every result as it is.

It stands beside `texts` and `free`: there is what the device and the training step ran out of.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from enum import Enum

from yolowatch.decide.free import FreeLever
from yolowatch.decide.texts import Source, recognise
from yolowatch.model.plan import COSTS, Edits, LeverUse
from yolowatch.model.run import LastWords, RunSpec, RunState


class Cause(Enum):
    """What of the host's memory was short; the value is what a person reads."""

    CACHE = "while images were cached in memory"
    WORKERS = "in a process that loads images"
    SHARED = "for the shared memory of the processes that load images"
    PINNED = "for pinned memory"
    KILLED = "and the kernel killed the training"


_SIGNALLED = re.compile(r"DataLoader worker \(pid \d+\) is killed by signal: (Killed|Bus error)\b")
_SHARED = re.compile(
    r"^(?:RuntimeError: )?unable to (?:write to|resize|mmap \d+ bytes from"
    r"|allocate shared memory\(shm\) for) file </torch_\w+>"
    r"(?:\s*\Z|.*(?:No space left on device|Cannot allocate memory) \(\d+\))",
    re.MULTILINE,
)
_FROM_WORKER = re.compile(r"Caught (\w+) in DataLoader worker process \d+\.\n")
_FROM_PINNING = re.compile(r"Caught \w+ in pin memory thread for device \d+\.\n")
_NO_PAGES = re.compile(r"^\S*(?:Error|Exception): .*(?:out of memory|Cannot allocate memory)", re.M)
_OPENCV = re.compile(r"OpenCV\([^)\n]*\) [^\n]*: error: \(-4:Insufficient memory\) ")
_SYSTEM = re.compile(r"\[Errno 12\] Cannot allocate memory\Z")
_CACHING = ("setup", "data")
_SIGKILL = 9


def was_killed(state: RunState, signal: int | None, oom_kills: int | None) -> bool:
    """Whether the kernel ended it for want of memory: it counted a kill in the training's group,
    and the training itself has said nothing. `signal` is None where it is not known.
    """
    silent = state.last_words is None and not state.finished and state.hooked
    return silent and signal in (None, _SIGKILL) and bool(oom_kills)


def host_cause(state: RunState, words: LastWords) -> Cause | None:
    """Which memory of the host failed, or None where that is not certain."""
    kind, text = words.exception.rpartition(".")[2], words.text
    signalled = _SIGNALLED.match(text) if kind == "RuntimeError" else None
    if signalled is not None:
        return Cause.SHARED if signalled.group(1) == "Bus error" else Cause.WORKERS
    if kind == "RuntimeError" and _FROM_PINNING.match(text):
        return Cause.PINNED if _NO_PAGES.search(text) else None
    from_worker = _FROM_WORKER.match(text)
    if kind == "RuntimeError" and (from_worker or text.startswith("unable to ")):
        return Cause.SHARED if _SHARED.search(text) else None
    if from_worker is not None:
        return Cause.WORKERS if from_worker.group(1) == "MemoryError" == kind else None
    cached = state.spec is not None and state.spec.cache == "ram"
    if cached and words.place.phase in _CACHING and _is_allocation(words):
        return Cause.CACHE
    return None


def _is_allocation(words: LastWords) -> bool:
    """Whether memory of the host could not be had, whoever asked for it."""
    form = recognise(words.exception, words.text)
    if form is not None:
        return form.source is not Source.DEVICE and not form.disguised
    if words.exception == "cv2.error":
        return _OPENCV.match(words.text) is not None
    return words.exception == "OSError" and _SYSTEM.match(words.text) is not None


def host_lever(
    spec: RunSpec | None, cause: Cause, earlier: Edits, allowed: Collection[str]
) -> FreeLever | None:
    """The first lever for this cause that is left; None where there is none.

    `spec` is the failed attempt's and `earlier` what it had been given.
    """
    if spec is None:
        return None
    found: tuple[FreeLever | None, ...]
    if cause is Cause.CACHE:
        found = (_cache(spec, allowed),)
    elif cause in (Cause.WORKERS, Cause.KILLED):
        found = (_cache(spec, allowed), _workers(spec, allowed))
    elif cause is Cause.SHARED:
        found = (_workers(spec, allowed),)
    else:
        found = (_unpinned(spec, earlier, allowed), _workers(spec, allowed))
    return next((each for each in found if each is not None), None)


def _cache(spec: RunSpec, allowed: Collection[str]) -> FreeLever | None:
    after = {"ram": "disk", "disk": "none"}.get(spec.cache or "")
    if after is None or "cache" not in allowed:
        return None
    where = {"ram": "in memory", "disk": "on the disk", "none": "not at all"}
    return _lever(
        "cache",
        f"images cached {where[spec.cache or '']}",
        f"images cached {where[after]}",
        "the images are the same, and reading them takes longer",
        Edits(cache=after),
    )


def _workers(spec: RunSpec, allowed: Collection[str]) -> FreeLever | None:
    if not spec.workers or "workers" not in allowed:
        return None
    after = spec.workers // 2
    return _lever(
        "workers",
        f"{spec.workers} workers",
        f"{after} workers" if after else "no workers: the training loads its images itself",
        "each holds batches of its own beside the training",
        Edits(workers=after),
    )


def _unpinned(spec: RunSpec, earlier: Edits, allowed: Collection[str]) -> FreeLever | None:
    if "pin memory" not in allowed or not spec.pin_memory or earlier.pin_memory is False:
        return None
    return _lever(
        "pin memory",
        "batches in pinned memory",
        "batches in ordinary memory",
        "pinned pages cannot be swapped out; copying to the device takes longer without them",
        Edits(pin_memory=False),
    )


def _lever(name: str, before: str, after: str, why: str, edits: Edits) -> FreeLever:
    return FreeLever(LeverUse(name, COSTS[name], before, after, why), edits)
