"""How figures are written for people: one spelling everywhere, in sentences and receipts alike."""

from __future__ import annotations

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


def bytes_text(count: int | float | None) -> str:
    """`1.5 GiB`; whole numbers below one KiB; "unknown" for None, which is never written as 0."""
    if count is None:
        return "unknown"
    if abs(count) < 1024:
        return f"{round(count)} B"
    value = count / 1024
    for unit in _UNITS:
        # 1023.96 would be written "1024.0": the next unit says it better.
        if abs(value) < 1023.95 or unit == _UNITS[-1]:
            return f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("unreachable")


def seconds_text(seconds: float | None) -> str:
    """`0.4 s`, `12 s`, `3 min 05 s`, `2 h 07 min`; "unknown" for None."""
    if seconds is None:
        return "unknown"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
