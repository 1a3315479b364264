"""Each published failure with what was measured beside it, and the kind that it has to get.

Every text is as it was published (`reports`). The telemetry beside it is constructed, because a
report does not hold it: it is the least that a hook and a driver would have said of such a failure.
What real trainings said, recorded through the hook, is in `living`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from tests.daemon.scenes import process
from tests.decide.build import GIB, state
from tests.decide.corpus import (
    CPU,
    CUDA,
    DEVICE_FAULTS,
    DISGUISED,
    DISGUISED_DEVICE,
    ECHOES,
    FREE_MEMORY,
    HOST,
    LOADING,
    NEIGHBOURS,
    NOT_OOM,
    RESUMED,
    Report,
)
from yolowatch.decide.detect import classify
from yolowatch.decide.ranks import merged
from yolowatch.model.device import DeviceReading, DeviceUser
from yolowatch.model.run import LastWords, Memory, Place, Rank, RunState
from yolowatch.model.surroundings import Around
from yolowatch.model.verdict import Kind, Verdict

OWN = process(10)


@dataclass(frozen=True)
class Case:
    """A run that ended, and the kind of its end."""

    name: str
    source: str
    kind: Kind
    state: RunState
    status: int | None = 1
    signal: int | None = None
    asked: bool = False
    around: Around = field(default_factory=Around)

    def verdict(self) -> Verdict:
        return classify(
            self.state,
            exit_status=self.status,
            exit_signal=self.signal,
            asked_to_stop=self.asked,
            around=self.around,
        )


def words(
    report: Report,
    *,
    phase: str | None = "forward",
    step: int | None = 40,
    used: int = 12 * GIB,
    capacity: int | None = 24 * GIB,
    handled: bool = False,
) -> LastWords:
    """The report as the last words of a training with so much in use."""
    return LastWords(
        at=1.0,
        exception=report.exception,
        text=report.text,
        place=Place(phase, 3, step, 16, 640, 640, 4, 10),
        memory=Memory(used, used, 0, used, capacity, 3, 1),
        train_calls=1,
        handled=handled,
    )


def told(
    report: Report, *, attempt: int = 0, spec: dict[str, Any] | None = None, **more: Any
) -> RunState:
    return state(words(report, **more), attempt=attempt, **(spec or {}))


def device(*users: DeviceUser, xids: int | None = 0, last_xid: int | None = None) -> DeviceReading:
    return DeviceReading(0, total_bytes=24 * GIB, users=users, xids=xids, last_xid=last_xid)


def own(used: int = 12 * GIB) -> DeviceUser:
    return DeviceUser(OWN.pid, used, 1000, "alice", OWN)


STRANGER = DeviceUser(77, 11 * GIB, 1001, "bob", process(77))
TIGHT = {"used": round(23.8 * GIB)}
_FRAGMENTED = ("torch 2.1, 'capacty', nothing free", "torch 2.0, older form",
               "torch 2.9 on ROCm, with a fraction and private pools")  # fmt: skip
_FREE = ("torch 2.2, plain",)


def cases() -> Iterator[Case]:
    """Every kind of end, each with at least one published text where it has a text."""
    yield from _devices()
    yield from _hosts()
    yield from _not_memory()
    yield from _ranks()
    yield from _ends()


def _devices() -> Iterator[Case]:
    for each in CUDA:
        kind = Kind.FRAGMENTATION if each.name in _FRAGMENTED else Kind.CUDA_OOM
        kind = Kind.FREE_MEMORY if each.name in _FREE else kind
        yield Case(each.name, each.source, kind, told(each))
    for each in FREE_MEMORY:
        yield Case(each.name, each.source, Kind.FREE_MEMORY, told(each))
    for each in NEIGHBOURS:
        yield Case(each.name, each.source, Kind.NEIGHBOUR, told(each))
    plain = CUDA[5]
    held = replace(plain, text=plain.text.replace("9.22 GiB already", "9.70 GiB already"))
    seen = Around(device(own(), STRANGER), (OWN,))
    name = "somebody else, by the driver's list"
    yield Case(name, f"{plain.source} (a figure changed)", Kind.NEIGHBOUR, told(held), around=seen)
    for each in RESUMED:
        again = told(each, attempt=1, step=0)
        leftover = process(9)
        still = device(own(), DeviceUser(9, 6 * GIB, 1000, "alice", leftover))
        around = Around(still, (OWN,), (leftover,))
        yield Case(each.name, each.source, Kind.NOT_BACK, again, around=around)
        less = Around(device(own()), (OWN,), (leftover,), 15 * GIB)
        name = f"{each.name}, by what could be had"
        yield Case(name, each.source, Kind.NOT_BACK, again, around=less)
        name = f"{each.name}, a second time"
        waited = replace(around, waited=True)
        yield Case(name, each.source, Kind.CUDA_OOM, again, around=replace(waited, device=None))
        yield Case(f"{each.name}, later", each.source, Kind.CUDA_OOM, told(each, attempt=1))
    for each in DISGUISED_DEVICE:
        yield Case(f"{each.name}, tight", each.source, Kind.CUDA_OOM, told(each, **TIGHT))
        yield Case(f"{each.name}, with room", each.source, Kind.LIBRARY, told(each))
        unknown = told(each, capacity=None, **TIGHT)
        yield Case(f"{each.name}, unmeasured", each.source, Kind.LIBRARY, unknown)


def _hosts() -> Iterator[Case]:
    kinds = {"SHARED": Kind.SHARED_MEMORY, "PINNED": Kind.PINNED_MEMORY, "WORKERS": Kind.HOST_OOM}
    for name, each in LOADING:
        yield Case(each.name, each.source, kinds[name], told(each))
        ranks = replace(told(each, spec={"cache": "ram"}), rank=Rank(0, 4, 4, 0))
        kind = Kind.RAM_CACHE if name == "WORKERS" else kinds[name]
        yield Case(f"{each.name}, four ranks with a cache", each.source, kind, ranks)
    cpu = {"device": "cpu"}
    for each in (*CPU, *HOST):
        yield Case(f"{each.name}, on the CPU", each.source, Kind.CPU_OOM, told(each, spec=cpu))
        yield Case(f"{each.name}, beside a GPU", each.source, Kind.ERROR, told(each))
    for each in DISGUISED:
        tight = told(each, spec=cpu, **TIGHT)
        yield Case(f"{each.name}, tight", each.source, Kind.CPU_OOM, tight)
        yield Case(f"{each.name}, with room", each.source, Kind.ERROR, told(each, spec=cpu))


def _not_memory() -> Iterator[Case]:
    for each in NOT_OOM:
        yield Case(each.name, each.source, Kind.ERROR, told(each))
        yield Case(f"{each.name}, tight", each.source, Kind.ERROR, told(each, **TIGHT))
    for each in DEVICE_FAULTS:
        yield Case(each.name, each.source, Kind.DEVICE_FAULT, told(each))
        yield Case(f"{each.name}, tight", each.source, Kind.DEVICE_FAULT, told(each, **TIGHT))
    # The kernel's line: NVRM: Xid (PCI:0000:db:00): 31, pid=13641, Ch 00000008, … MMU Fault
    source = "https://github.com/pytorch/pytorch/issues/51382"
    fault = Around(device(own(), xids=1, last_xid=31), (OWN,), xids=1)
    yield Case("an XID, then an abort", source, Kind.DEVICE_FAULT, state(), None, 6, around=fault)
    cudnn = told(DISGUISED_DEVICE[6], **TIGHT)
    yield Case("cuDNN after an XID", source, Kind.DEVICE_FAULT, cudnn, around=fault)


def _ranks() -> Iterator[Case]:
    for each in ECHOES:
        alone = replace(told(each), rank=Rank(1, 2, 2, 0))
        yield Case(f"{each.name}, alone", each.source, Kind.RANK_LOST, alone)
        first = replace(told(CUDA[14], phase="backward"), rank=Rank(0, 2, 2, 0))
        assert alone.last_words is not None
        echo = replace(alone, last_words=replace(alone.last_words, at=0.5))  # heard of before
        both = merged((echo, first))
        yield Case(f"{each.name}, after a failure", each.source, Kind.CUDA_OOM, both)


def _ends() -> Iterator[Case]:
    """Ends without a text: constructed."""
    caught = told(CUDA[5], handled=True)
    yield Case("finished", "-", Kind.FINISHED, replace(state(), finished=True), 0)
    yield Case("handled by the program", CUDA[5].source, Kind.HANDLED_OOM, caught)
    yield Case("Ctrl-C", "-", Kind.INTERRUPTED, state(), None, 2)
    yield Case("asked to stop", "-", Kind.INTERRUPTED, told(CUDA[5]), asked=True)
    killed = "https://github.com/ultralytics/ultralytics/issues/22944"
    yield Case("exit status 137 and nothing else", killed, Kind.KILLED, state(), 137)
    kernel = Around(oom_kills=1)
    yield Case("killed by the kernel", killed, Kind.HOST_OOM, state(), None, 9, around=kernel)
    yield Case("a crash", "-", Kind.KILLED, state(), None, 11)
    yield Case("no hook", "-", Kind.OBSERVED, RunState(attempt=0))
