"""One GPU: who holds what of it, and whether the board is well."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from grafana.source import panels as p
from grafana.source.boards import INSTANCE, Variable, board
from grafana.source.marks import marks
from grafana.source.panels import Query, Style
from grafana.source.tables import Column, rows
from grafana.source.words import OF_BOX, RATE, RUN_URL, YES_OR_NO, of

GPU = (OF_BOX, 'gpu=~"$gpu"')
_VARIABLES = (
    INSTANCE,
    Variable(
        "gpu",
        "GPU",
        f"label_values({of('gpu_up', OF_BOX)}, gpu)",
        "The driver's number of the GPU.",
        several=False,
    ),
)


def dashboard() -> Dashboard:
    """The dashboard of one GPU."""
    return board(
        "yolowatch-gpu",
        "yolowatch / GPU",
        "One GPU: who holds what of its memory, how busy it is, and whether the board is well.",
        _VARIABLES,
        (("Right now", _now()), ("Memory", _memory()), ("The board", _board())),
        marks(OF_BOX),
    )


def _gpu(name: str) -> str:
    return f"max by (instance) ({of(name, *GPU)})"


def _now() -> list[p.Panel]:
    return [
        p.figure("Answers", "Whether the driver answers for this GPU; a lost one does not.", "none",
                 Query(_gpu("gpu_up")), texts=YES_OR_NO, width=3),
        p.figure("Memory used", "Memory of all processes, of all there is.", "percentunit",
                 Query(f"{_gpu('gpu_used_bytes')} / {_gpu('gpu_capacity_bytes')}"),
                 steps=p.SHARE_USED, width=4, sparkline=True),
        p.figure("Free", "Memory that nobody uses.", "bytes",
                 Query(_gpu("gpu_free_bytes")), width=4),
        p.figure("Busy", "Part of the time in which the GPU computed.", "percentunit",
                 Query(_gpu("gpu_utilization_ratio")), width=4, sparkline=True),
        p.figure("Temperature", "Of the GPU.", "celsius", Query(_gpu("gpu_temperature_celsius")),
                 steps=p.HEAT, width=3),
        p.figure("Processes", "Processes that compute on it.", "none",
                 Query(_gpu("gpu_processes")), width=3),
        p.figure("Newest XID", "Number of the driver's newest critical error; none is good.",
                 "none", Query(_gpu("gpu_last_xid")), steps=((p.RED, None),), width=3, none="none"),
    ]  # fmt: skip


def _memory() -> list[p.Panel]:
    who = "pid, user, run"
    held = f"max by ({who}) ({of('gpu_process_bytes', *GPU)})"
    columns = (
        Column("Process", label="pid", width=100),
        Column("User", label="user", width=110),
        Column("Run", label="run", link=RUN_URL, width=110),
        Column("Memory", held, unit="bytes", steps=p.PLAIN, bar=True),
    )
    return [
        p.graph(
            "Who holds what",
            "Memory of each process, stacked, with what the driver keeps for itself, against all "
            "there is. A process without a run is a neighbour that yolowatch does not watch.",
            "bytes",
            Query(held, "{{user}} {{pid}} {{run}}"),
            Query(_gpu("gpu_reserved_bytes"), "the driver"),
            Query(_gpu("gpu_capacity_bytes"), "capacity"),
            Query(_gpu("gpu_used_bytes"), "used, by all"),
            width=15,
            height=11,
            stacked=True,
            styles=(
                Style("/^the driver$/", p.GREY),
                Style("/^capacity$/", p.RED, stacked=False),
                Style("/^used, by all$/", p.YELLOW, dashed=True, stacked=False),
            ),
        ),
        rows(
            "Processes",
            "Who computes on this GPU now; a click on a run opens its dashboard.",
            columns,
            sort_by="Memory",
            descending=True,
            width=9,
            height=11,
        ),
    ]


def _board() -> list[p.Panel]:
    limit = Style("/^limit$/", p.RED, dashed=True, stacked=False)
    return [
        rows(
            "Board",
            "Which board it is.",
            (
                Column("", f"max by (instance, gpu, name, uuid) ({of('gpu_info', *GPU)})"),
                Column("Box", label="instance"),
                Column("GPU", label="gpu"),
                Column("Board", label="name"),
                Column("UUID", label="uuid"),
            ),
            sort_by="Box",
            height=3,
        ),
        p.graph("Busy", "Part of the time in which the GPU computed. Low while a run trains: it "
                "waits for its data.", "percentunit",
                Query(_gpu("gpu_utilization_ratio"), "busy"), width=8, most=1),
        p.graph("Temperature", "Above 83 °C most boards lower their clocks.", "celsius",
                Query(_gpu("gpu_temperature_celsius"), "temperature"), width=8,
                steps=((p.TRANSPARENT, None), (p.ORANGE, 83), (p.RED, 90))),
        p.graph("Power", "What the board draws, against what it may draw.", "watt",
                Query(_gpu("gpu_power_watts"), "power"),
                Query(_gpu("gpu_power_limit_watts"), "limit"), width=8, styles=(limit,)),
        p.timeline("Clocks lowered", "Why the driver lowers the clocks: heat and a power brake are "
                   "for whoever looks after the box.",
                   Query(f"max by (reason) ({of('gpu_throttled', *GPU)})", "{{reason}}"),
                   {0: ("no", "semi-dark-green"), 1: ("lowered", "orange")}, width=12, height=8),
        p.graph("Errors of the board", "XID errors of the driver, and errors of the memory: "
                "corrected ones are noted, the others end processes.", "none",
                Query(f"sum(increase({of('gpu_xid_errors_total', *GPU)}{RATE}))", "XID"),
                Query(f"sum by (kind) (increase({of('gpu_ecc_errors_total', *GPU)}{RATE}))",
                      "memory, {{kind}}"),
                width=12, bars=True),
    ]  # fmt: skip
