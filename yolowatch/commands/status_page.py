"""The status of the service and of one run as text for a terminal.

All that a training has said of itself is made harmless here: names, paths and sentences.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from yolowatch.model.forecast import Outlook
from yolowatch.model.printable import printable
from yolowatch.model.quantity import bytes_text
from yolowatch.model.view import DeviceView, FleetView, MemoryView, RunView

_WIDTH = 96
_LABEL = 14
HEADER = ("run", "user", "state", "mode", "epoch", "batch", "headroom", "directory")


def head(view: FleetView) -> list[str]:
    """What is said of the service itself, and the GPUs."""
    mode = "paused: nothing is acted on" if view.paused else f"mode {view.mode}"
    lines = [f"yolowatch {printable(view.version, 40)}, {mode}"]
    if view.config_trouble:
        where = printable(view.config_path or "the configuration", 200)
        lines.append(
            f"The last change of {where} was not taken: {printable(view.config_trouble, 500)}"
        )
    lines += [printable(note, 500) for note in view.notes]
    return lines + [device(each) for each in view.devices]


def device(reading: DeviceView) -> str:
    """One GPU in a line; what is unknown is left out."""
    parts = [f"{bytes_text(reading.used_bytes)} of {bytes_text(reading.total_bytes)} used"]
    if reading.utilization_ratio is not None:
        parts.append(f"{reading.utilization_ratio:.0%} busy")
    if reading.temperature_celsius is not None:
        parts.append(f"{reading.temperature_celsius:.0f} °C")
    return f"GPU {reading.index} {printable(reading.name or '', 60)}: {', '.join(parts)}"


def row(run: RunView) -> tuple[str, ...]:
    """One run as a row under `HEADER`."""
    return (
        printable(run.run, 16),
        printable(run.user or str(run.uid), 16),
        state(run),
        printable(run.mode, 12),
        epochs(run),
        batch(run),
        headroom(run.memory),
        printable(run.run_dir or "-", 80),
    )


def state(run: RunView) -> str:
    """The state, with the pause."""
    return printable(run.state, 24) + (", paused" if run.paused else "")


def epochs(run: RunView) -> str:
    """`3/100`; a dash where it is not known."""
    if run.epoch is None:
        return "-"
    return f"{run.epoch}/{run.epochs}" if run.epochs is not None else str(run.epoch)


def batch(run: RunView) -> str:
    """`8 × 2`, the batch and how often it is accumulated."""
    if run.batch is None:
        return "-"
    return f"{run.batch} × {run.accumulate}" if run.accumulate is not None else str(run.batch)


def headroom(memory: MemoryView) -> str:
    """What could still be allocated, and which part of all that is."""
    free, capacity = memory.headroom_bytes, memory.capacity_bytes
    if free is None:
        return "-"
    return bytes_text(free) + (f" ({free / capacity:.0%})" if capacity else "")


def one(run: RunView) -> str:
    """All there is to say of one run but its receipts."""
    process = f"process {run.pid}" if run.pid is not None else "no process"
    hook = "a hook reports" if run.hook else "no hook reports"
    trained = " ".join(filter(None, (run.trainer, run.model, _size(run), run.precision)))
    lines = [f"run {printable(run.run, 64)}: {state(run)}"]
    lines += _entry("owner", f"{run.user or 'uid'} ({run.uid}), {process}, {hook}")
    lines += _entry("training", trained or "unknown")
    lines += _entry("directory", run.run_dir or "unknown")
    lines += _entry("mode", f"{run.mode}: {run.mode_reason}" if run.mode_reason else run.mode)
    phase = "" if run.phase is None else f", {run.phase}"
    step = "" if run.step is None else f", step {run.step}"
    lines += _entry("progress", f"attempt {run.attempt}, epoch {epochs(run)}{phase}{step}")
    if run.batch is not None:
        effective = run.effective_batch
        known = "" if effective is None else f" = effective batch {effective}"
        lines += _entry("batch", batch(run) + known)
    lines += _entry("memory", memory(run.memory))
    if run.outlook is not None:
        lines += _entry("forecast", outlook(run.outlook))
    if run.sentence:
        lines += _entry("last said", run.sentence)
    for incident in run.incidents:
        lines += _entry("incident", f"{incident.id} {incident.kind}: {incident.sentence}")
        lines += _entry("", incident.outcome or "open")
    if run.plan is not None:
        lines += _entry("plan", f"{run.plan.id} waits for approval: {run.plan.reason}")
        for change in run.plan.changes:
            lines += _entry("", change)
        if run.plan.predicted_peak_bytes is not None:
            peak, most = run.plan.predicted_peak_bytes, run.plan.capacity_bytes
            lines += _entry("", f"predicted peak {bytes_text(peak)} of {bytes_text(most)}")
        lines += _entry("", f"to carry it out: yolowatch approve {run.run}")
    if run.replaced_files:
        files = "file was" if run.replaced_files == 1 else "files were"
        undo = f"{run.replaced_files} {files} changed; to undo: yolowatch rollback {run.run}"
        lines += _entry("files", undo)
    return "\n".join(lines)


def memory(found: MemoryView) -> str:
    """The allocator's figures; those that are unknown are left out."""
    named = (
        ("allocated", found.allocated_bytes),
        ("reserved", found.reserved_bytes),
        ("peak", found.peak_bytes),
        ("capacity", found.capacity_bytes),
        ("headroom", found.headroom_bytes),
    )
    known = [f"{name} {bytes_text(value)}" for name, value in named if value is not None]
    return ", ".join(known) or "unknown"


def outlook(found: Outlook) -> str:
    """The worst that is still to come, with the probability of a failure where it is known."""
    text = f"{bytes_text(found.point_bytes)} in {printable(found.phase, 40)}"
    text += f", in 99 of 100 cases at most {bytes_text(found.bound_bytes)}"
    if found.probability is not None:
        text += f"; probability of too little memory {found.probability:.0%}"
    return text


def _size(run: RunView) -> str | None:
    return None if run.image_size is None else f"{run.image_size} px"


def _entry(label: str, text: str) -> Iterable[str]:
    wrapped = textwrap.wrap(printable(text, 2000), _WIDTH - _LABEL, break_on_hyphens=False)
    for number, line in enumerate(wrapped or [""]):
        yield f"  {label if number == 0 else '':<{_LABEL}}{line}"
