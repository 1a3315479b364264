"""yolowatch itself: does it keep up, does it lose anything, does it cost anything."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from grafana.source import panels as p
from grafana.source.boards import INSTANCE, board
from grafana.source.panels import Query
from grafana.source.tables import Column, rows
from grafana.source.words import OF_BOX, RATE, YES_OR_NO, mean, of


def dashboard() -> Dashboard:
    """The dashboard of the daemons."""
    return board(
        "yolowatch-daemon",
        "yolowatch / Daemon",
        "yolowatch itself: whether it keeps up, whether it loses anything, and what it costs.",
        (INSTANCE,),
        (("Right now", _now()), ("Work", _work()), ("Lost", _lost())),
    )


def _each(name: str) -> Query:
    return Query(f"max by (instance) ({of(name, OF_BOX)})", "{{instance}}")


def _rate(name: str, legend: str) -> Query:
    return Query(f"sum by (instance) (rate({of(name, OF_BOX)}{RATE}))", legend)


def _now() -> list[p.Panel]:
    def each(name: str) -> str:
        return f"max by (instance) ({of(name, OF_BOX)})"

    columns = (
        Column("", f"max by (instance, version, python) ({of('build_info', OF_BOX)})"),
        Column("Box", label="instance"),
        Column("Version", label="version"),
        Column("Python", label="python"),
        Column("Runs for", f"time() - {each('start_timestamp_seconds')}", unit="s"),
        Column("Memory", each("own_resident_bytes"), unit="bytes",
               steps=((p.GREEN, None), (p.YELLOW, 80e6), (p.RED, 200e6))),
        Column("Hooks", each("hook_connections")),
        Column("Waiting", each("queue_events"), steps=((p.GREEN, None), (p.YELLOW, 1000))),
        Column("Driver answers", each("nvml_up"), texts=YES_OR_NO),
        Column("Memory of the box",
               f"{each('host_available_bytes')} / {each('host_capacity_bytes')}",
               unit="percentunit", steps=p.SHARE_LEFT, most=1, bar=True),
    )  # fmt: skip
    return [
        rows(
            "Daemons",
            "Every daemon that is scraped. Memory of the box: what can be had without swapping. A "
            "box without an NVIDIA driver shows nothing where it would answer.",
            columns,
            sort_by="Box",
            height=6,
        )
    ]


def _work() -> list[p.Panel]:
    beat = of("edge_heartbeat_timestamp_seconds", OF_BOX)
    return [
        p.graph("Memory of the daemon", "Resident memory: 50 to 60 MB is usual.", "bytes",
                _each("own_resident_bytes"), width=8),
        p.graph("Events", "Events that the loop works on in a second: a run in danger makes ten.",
                "none", _rate("cycle_duration_seconds_count", "{{instance}}"), width=8),
        p.graph("Busy", "Part of the time in which the loop worked. Near 100 % it falls behind.",
                "percentunit", _rate("cycle_duration_seconds_sum", "{{instance}}"), width=8,
                steps=((p.TRANSPARENT, None), (p.ORANGE, 0.5), (p.RED, 0.8))),
        p.graph("Time of a cycle", "Mean time that the loop took for an event.", "s",
                Query(mean("cycle_duration_seconds", OF_BOX), "{{instance}}"), width=8),
        p.graph("Time of a scrape", "Mean time that answering a scrape took.", "s",
                Query(mean("scrape_duration_seconds", OF_BOX), "{{instance}}"), width=8),
        p.graph("Waiting events", "Events that wait for the loop: a full queue drops.", "none",
                _each("queue_events"), width=8),
        p.graph("Heartbeats", "Time since each part that works by itself ended a round. One that "
                "grows without end hangs: the devices' part does so in a driver that hangs.", "s",
                Query(f"time() - max by (instance, edge) ({beat})", "{{instance}} {{edge}}"),
                steps=((p.TRANSPARENT, None), (p.ORANGE, 30), (p.RED, 120))),
        p.graph("Messages from hooks", "Messages a second, of all runs of a box, and the hooks "
                "that are connected.", "none",
                _rate("hook_messages_total", "{{instance}}"),
                Query(f"max by (instance) ({of('hook_connections', OF_BOX)})",
                      "{{instance}}, hooks")),
    ]  # fmt: skip


def _lost() -> list[p.Panel]:
    return [
        p.graph("Dropped", "What was dropped rather than let a training or the loop wait: by hooks "
                "whose socket was full, and by the daemon whose queue was full.", "none",
                _rate("hook_messages_dropped_total", "{{instance}}, hooks"),
                _rate("queue_dropped_total", "{{instance}}, queue"), width=8),
        p.graph("Refused", "Messages that were malformed or of a version that is not understood: "
                "after an upgrade, a hook older than the one before.", "none",
                _rate("hook_messages_rejected_total", "{{instance}}"), width=8),
        p.graph("Faults", "Failures inside hooks, which leave the training alone, scrapes without "
                "an answer, and series that were left out to keep an answer bounded.", "none",
                _rate("hook_faults_total", "{{instance}}, hooks"),
                _rate("scrape_errors_total", "{{instance}}, scrapes"),
                _rate("series_dropped_total", "{{instance}}, series"), width=8),
    ]  # fmt: skip
