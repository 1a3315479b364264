"""States of a run as tests need them: one known-good training that ran out of memory."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from yolowatch.model.run import (
    Footprint,
    LastWords,
    Memory,
    Place,
    RunSpec,
    RunState,
    Sample,
)

GIB = 1 << 30
MIB = 1 << 20

SPEC = RunSpec(
    trainer="ultralytics",
    trainer_version="8.4.190",
    entry="command",
    train_calls=1,
    run_dir="/runs/train",
    batch=16,
    accumulate=4,
    nbs=64,
    weight_decay=0.0005,
    effective_weight_decay=0.0005,
    epochs=100,
    start_epoch=0,
    image_size=640,
    image_size_max=640,
    image_size_min=640,
    stride=32,
    precision="fp16",
    optimizer="SGD",
    optimizer_state_bytes=200 * MIB,
    optimizer_state_exists=True,
    parameter_bytes=200 * MIB,
    device="cuda:0",
    train_images=10_000,
    validation_batch=32,
    resumed=False,
    checkpointable=0,
)


def cuda_text(
    requested: int, allocated: int, unallocated: int, free: int, total: int = 24 * GIB
) -> str:
    """A failure as torch words it; sizes to the byte, so that tests can compare exactly."""
    return (
        f"CUDA out of memory. Tried to allocate {requested} bytes. GPU 0 has a total capacity of "
        f"{total} bytes of which {free} bytes is free. Of the allocated memory {allocated} bytes "
        f"is allocated by PyTorch, and {unallocated} bytes is reserved by PyTorch but unallocated."
    )


def failed(
    *,
    phase: str | None = "backward",
    batch: int | None = 16,
    side: int | None = 640,
    epoch: int | None = 12,
    allocated: int = 22 * GIB,
    requested: int = 2 * GIB,
    unallocated: int = GIB,
    free: int = GIB // 2,
    handled: bool = False,
) -> LastWords:
    return LastWords(
        at=100.0,
        exception="torch.OutOfMemoryError",
        text=cuda_text(requested, allocated, unallocated, free),
        place=Place(phase, epoch, 500, batch, side, side, 4, 90),
        memory=Memory(
            allocated_bytes=allocated,
            reserved_bytes=allocated + unallocated,
            peak_bytes=allocated,
            capacity_bytes=allocated + unallocated + free,
            ooms=1,
        ),
        requested_bytes=requested,
        device_free_bytes=free,
        train_calls=1,
        handled=handled,
    )


def footprint(
    phase: str, batch: int, side: int, base: int | None, peak: int, *, exact: bool = True
) -> Footprint:
    return Footprint(phase, batch, side, side, 90, base, peak, exact)


def linear_footprints(
    fixed: int, per_pixel: float, shapes: list[tuple[int, int]], *, forward_part: float = 0.8
) -> tuple[Footprint, ...]:
    """What a device with a clean floor shows: (batch, side) pairs of an exactly linear training."""
    found = []
    for batch, side in shapes:
        rise = per_pixel * batch * side * side
        found.append(
            footprint(
                "forward", batch, side, fixed, round(fixed + forward_part * rise), exact=False
            )
        )
        found.append(footprint("backward", batch, side, fixed, round(fixed + rise)))
    found.append(Footprint("optimizer", 0, 0, 0, None, fixed, fixed, False))
    return tuple(found)


def state(
    words: LastWords | None = None,
    footprints: tuple[Footprint, ...] = (),
    *,
    attempt: int = 0,
    **spec: Any,
) -> RunState:
    return RunState(
        attempt=attempt,
        spec=replace(SPEC, **spec),
        torch="2.15.0",
        connected=1,
        messages=10,
        last_words=words,
        footprints=footprints,
    )


def recorded(name: str) -> tuple[RunState, int]:
    """A real training's state and the most memory that it ever took; see `recorded.json`."""
    run = json.loads(Path(__file__).with_name("recorded.json").read_text())["runs"][name]
    prints = tuple(Footprint(*each) for each in run["footprints"])
    peak = run["process_peak"]
    sample = Sample(0.0, Place(), Memory(peak_bytes=peak))
    spec = RunSpec(**run["spec"])
    return RunState(attempt=0, spec=spec, footprints=prints, samples=(sample,), messages=1), peak
