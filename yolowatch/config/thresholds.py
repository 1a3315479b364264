"""The key `detection` of a policy: the thresholds of the detectors, each with its meaning.

Read as the rest of the policy is: nothing is guessed, an unknown key names the nearest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from yolowatch.config.reading import Reader, count, known, number, values
from yolowatch.errors import ConfigError
from yolowatch.model.thresholds import Thresholds

_PART = (number(0.0, 1.0), "a part from 0 to 1")
_SECONDS = (number(0.0, 604_800.0), "seconds from 0 to 604800")
_TIMES = (number(1.0, 1000.0), "a number from 1 to 1000")
_EPOCHS = (count(3, 50), "a whole number from 3 to 50")
_MIB = (count(1, 1_048_576), "a whole number from 1 to 1048576")

# key, which is the field of Thresholds: (what it must be, what it means)
KEYS: dict[str, tuple[tuple[Reader, str], str]] = {
    "near_oom_headroom": (_PART, "near-oom: less than this part of the memory is left"),
    "near_oom_seconds": (_SECONDS, "near-oom: for so long"),
    "near_oom_probability": (_PART, "near-oom: a failure is forecast with this probability"),
    "thrashing_seconds": (
        _SECONDS,
        "thrashing: allocations are retried in every window with batches, for so long",
    ),
    "fragmentation_part": (
        _PART,
        "fragmentation: this part of the memory is held in unusable pieces while little is left",
    ),
    "fragmentation_seconds": (_SECONDS, "fragmentation: for so long"),
    "leak_epochs": (_EPOCHS, "leak: what stays in use grows in so many epochs in a row"),
    "leak_part": (_PART, "leak: and by this part of what it was"),
    "dense_part": (_PART, "dense-batches: the peak grows by this part, and what stays does not"),
    "dense_boxes": (_TIMES, "dense-batches: while a batch has so many times as many boxes"),
    "neighbour_part": (_PART, "neighbour: other processes hold this part of the device"),
    "neighbour_seconds": (_SECONDS, "neighbour: and little is left to the run, for so long"),
    "neighbour_wait_seconds": (
        _SECONDS,
        "how long a run that failed for its neighbours waits for room; 0 is not at all",
    ),
    "stalled_rank_seconds": (_SECONDS, "wedged-rank: no rank has ended a batch for so long"),
    "shared_memory_free": (_PART, "shared-memory: less than this part of /dev/shm is free"),
    "shared_memory_seconds": (_SECONDS, "shared-memory: for so long"),
    "host_leak_part": (_PART, "host-leak: what the run holds of the host grows by this part"),
    "host_leak_seconds": (_SECONDS, "host-leak: steadily over this time"),
    "free_memory_mib": (_MIB, "free-memory: so much more was free than was asked for"),
    "cooldown_seconds": (_SECONDS, "the same is not said again of a run before"),
}


def thresholds(document: object, where: str, base: Thresholds) -> Thresholds:
    """`base` with what the mapping `document` says; raises ConfigError, which names `where`."""
    if not isinstance(document, Mapping):
        raise ConfigError(f"{where} must be a mapping of thresholds to values.")
    known(document, KEYS, where)
    return replace(base, **values(document, {key: each for key, (each, _) in KEYS.items()}, where))
