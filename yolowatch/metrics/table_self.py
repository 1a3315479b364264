"""The metrics of yolowatch itself."""

from __future__ import annotations

from yolowatch.metrics.metric import Metric, Type, counter, gauge

BUILD_INFO = ("version", "python")
EDGES = ("core", "listener", "devices", "host", "discovery", "otlp")

SELF = (
    Metric("yolowatch_build_info", Type.INFO, "Version of yolowatch and of its Python."),
    gauge("start_timestamp_seconds", "When this process began to watch.", (), "seconds"),
    gauge("own_resident_bytes", "Resident memory of yolowatch itself.", (), "bytes"),
    gauge("hook_connections", "Hooks that are connected now."),
    gauge("queue_events", "Events that wait to be worked on."),
    counter("queue_dropped", "Events that were dropped because the queue was full."),
    counter(
        "hook_messages_rejected",
        "Messages on the hook's socket that were malformed or of another version.",
    ),
    gauge(
        "edge_heartbeat_timestamp_seconds",
        "When a part that works by itself last ended a round. Values: "
        + ", ".join(f"`{edge}`" for edge in EDGES)
        + "; absent for one that does not run.",
        ("edge",),
        "seconds",
    ),
    Metric(
        "yolowatch_cycle_duration_seconds",
        Type.SUMMARY,
        "Time that one cycle of the supervisor took.",
        unit="seconds",
    ),
    Metric(
        "yolowatch_scrape_duration_seconds",
        Type.SUMMARY,
        "Time that answering one scrape took.",
        unit="seconds",
    ),
    counter("scrape_errors", "Scrapes that could not be answered."),
    counter(
        "series_dropped",
        "Series that were left out of an answer to keep it bounded.",
    ),
    counter("otlp_pushes", "Times that the metrics were sent by OTLP; absent where none are."),
    counter("otlp_push_failures", "Of these, those that were not taken, or only in part."),
    gauge(
        "otlp_push_timestamp_seconds",
        "When the metrics that were sent by OTLP were last taken whole.",
        (),
        "seconds",
    ),
)
