"""Sequences of windows of runs that live, each with what has to be said of it.

All constructed: no public source publishes what an allocator said from second to second. A real
leak, seen through the real hook, is in tests/trainers/test_growth.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tests.daemon.scenes import process
from tests.decide.build import GIB, SPEC
from tests.decide.windows import CAPACITY, denser, epochs, leaking, watched, window
from yolowatch.model.device import DeviceReading, DeviceUser
from yolowatch.model.run import RunSpec, Sample
from yolowatch.model.verdict import Kind

HEALTHY = "nothing"
FIXED = replace(SPEC, image_size_max=640)


@dataclass(frozen=True)
class Sequence:
    """One run; `kind` is None where nothing is wrong with it."""

    name: str
    kind: Kind | None
    windows: tuple[Sample, ...]
    spec: RunSpec = FIXED
    device: DeviceReading | None = None

    def said(self) -> list[Kind]:
        found = watched(self.windows, self.spec, self.device, frozenset({10}))
        return [kind for _, kind in found]

    def pairs(self) -> list[tuple[str, str]]:
        """(what it is, what was said), a pair for each thing that was said; for the matrix."""
        truth = self.kind.value if self.kind is not None else HEALTHY
        return [(truth, kind.value) for kind in self.said()] or [(truth, HEALTHY)]


def sequences() -> Iterator[Sequence]:
    near = tuple(window(float(at), high=round(0.97 * CAPACITY)) for at in range(60))
    users = (DeviceUser(10, 20 * GIB, 1000, "alice", process(10)), DeviceUser(77, 6 * GIB))
    shared = DeviceReading(0, total_bytes=CAPACITY + 6 * GIB, users=users)
    held = {"split": 6 * GIB, "reserved": round(0.98 * CAPACITY)}
    yield Sequence("little headroom", Kind.NEAR_OOM, near)
    yield Sequence("little headroom beside another", Kind.NEIGHBOUR, near, device=shared)
    retried = tuple(window(float(at), retries=at) for at in range(30))
    yield Sequence("retries", Kind.THRASHING, retried)
    pieces = tuple(window(float(at), **held) for at in range(120))
    yield Sequence("pieces", Kind.FRAGMENTATION, pieces)
    yield Sequence("a leak", Kind.LEAK, tuple(leaking()))
    yield Sequence("dense batches", Kind.DENSE_BATCHES, tuple(denser()))
    yield Sequence("healthy", None, tuple(window(float(at)) for at in range(300)))
    yield Sequence("settling", None, tuple(epochs([GIB, *[2 * GIB] * 9])))
    yield Sequence("idle", None, tuple(window(float(at), steps=0) for at in range(300)))
