"""The memory of one run: what the allocator holds, what is left, and what is forecast."""

from __future__ import annotations

from grafana.source import panels as p
from grafana.source.panels import Query, Style
from grafana.source.words import RATE, RUN, headroom_at_peak, of, of_rank, of_run


def memory() -> list[p.Panel]:
    """The panels of the row, in their order."""
    allocated, reserved = of_rank("allocated_bytes"), of_rank("reserved_bytes")
    split = of_rank("inactive_split_bytes")
    held = f"{of_rank('active_bytes')} or {allocated}"  # only CUDA tells the former
    lines = (
        Style("/^capacity$/", p.RED, stacked=False),
        Style("/^99 % bound$/", p.YELLOW, dashed=True, stacked=False),
        Style("/^forecast$/", p.ORANGE, dashed=True, stacked=False),
        Style("/^peak/", p.PURPLE, dashed=True, stacked=False),
    )
    return [
        p.graph(
            "Allocator",
            "What the caching allocator holds, stacked, against the most that it can have. Split "
            "blocks that are not used are fragmentation. The dashed lines are the highest peak "
            "that is still expected and what it exceeds in one case of a hundred.",
            "bytes",
            Query(allocated, "allocated"),
            Query(
                f"clamp_min(({of_rank('active_bytes')}) - ({allocated}), 0)", "waits for a stream"
            ),
            Query(split, "unusable: split blocks"),
            Query(f"clamp_min(({reserved}) - ({held}) - ({split}), 0)", "cached"),
            Query(of_rank("capacity_bytes"), "capacity"),
            Query(of_rank("window_peak_bytes"), "peak of 15 s"),
            Query(of_run("forecast_peak_bytes"), "forecast"),
            Query(of_run("forecast_bound_bytes"), "99 % bound"),
            width=16,
            height=12,
            stacked=True,
            styles=(
                Style("/^allocated$/", p.BLUE),
                Style("/^waits for a stream$/", "light-blue"),
                Style("/^unusable/", p.ORANGE),
                Style("/^cached$/", "super-light-blue"),
                *lines,
            ),
        ),
        p.graph(
            "Headroom of each rank",
            "What could still be allocated, of what the process can have. Below 10 % the hook "
            "reports ten times a second.",
            "percentunit",
            Query(headroom_at_peak("rank", *RUN), "rank {{rank}}, at the peak of 15 s"),
            Query(
                f"max by (rank) ({of('headroom_bytes', *RUN)} / {of('capacity_bytes', *RUN)})",
                "rank {{rank}}, now",
            ),
            width=8,
            height=12,
            steps=((p.RED, None), (p.ORANGE, 0.05), (p.TRANSPARENT, 0.1)),
            most=1,
        ),
        p.graph(
            "Forecast by phase",
            "The highest peak that is still expected, in the phase in which it is expected, "
            "against the capacity it was held against and the peak so far.",
            "bytes",
            Query(f"max by (phase) ({of('forecast_peak_bytes', *RUN)})", "{{phase}}"),
            Query(f"max by (phase) ({of('forecast_bound_bytes', *RUN)})", "{{phase}}, 99 % bound"),
            Query(of_run("forecast_capacity_bytes"), "capacity"),
            Query(of_run("predicted_peak_bytes"), "predicted by the remedy"),
            Query(of_run("peak_bytes"), "peak so far"),
            styles=lines,
        ),
        p.graph(
            "Probability of running out of memory",
            "Before the run's end, as it is configured now.",
            "percentunit",
            Query(f"max by (phase) ({of('forecast_oom_probability_ratio', *RUN)})", "{{phase}}"),
            width=6,
            steps=((p.TRANSPARENT, None), (p.ORANGE, 0.25), (p.RED, 0.5)),
            most=1,
        ),
        p.graph(
            "Allocations in trouble",
            "Retried ones succeeded after cached memory was given back, which takes time; failed "
            "ones did not, though the trainer may have survived.",
            "none",
            Query(f"sum(increase({of('allocation_retries_total', *RUN)}{RATE}))", "retried"),
            Query(f"sum(increase({of('allocation_failures_total', *RUN)}{RATE}))", "failed"),
            width=6,
            bars=True,
            styles=(Style("retried", p.YELLOW), Style("failed", p.RED)),
        ),
    ]
