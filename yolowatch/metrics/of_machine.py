"""GPUs, the host and yolowatch itself as readings: what is not known is left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from yolowatch.metrics.reading import Known, Reading, by_value, known
from yolowatch.metrics.snapshot import MetricsSnapshot, SelfMetrics
from yolowatch.model.device import DeviceReading, DeviceUser

MOST_PROCESSES = 64
"""Of one GPU; those that hold the most, so that a GPU shared by hundreds stays readable."""


def of_self(own: SelfMetrics, dropped: int = 0) -> Iterator[Reading]:
    """The supervisor; `dropped` series were left out of this very answer."""
    info = {"version": own.version, "python": own.python}
    yield Reading("yolowatch_build_info", (), info)
    yield from known("yolowatch_", _of_self(own))
    for edge, at in sorted(own.heartbeats.items()):
        yield Reading("yolowatch_edge_heartbeat_timestamp_seconds", (edge,), at)
    yield Reading("yolowatch_cycle_duration_seconds", (), (own.cycles, own.cycle_seconds))
    yield Reading("yolowatch_scrape_duration_seconds", (), (own.scrapes, own.scrape_seconds))
    yield Reading("yolowatch_series_dropped_total", (), own.series_dropped + dropped)


def of_host(snapshot: MetricsSnapshot) -> Iterator[Reading]:
    """The machine's own memory, and whether the driver answers."""
    yield from known("yolowatch_", _of_host(snapshot))


def of_device(device: DeviceReading, runs: Mapping[int, str]) -> tuple[list[Reading], int]:
    """One GPU, and how many of its processes were left out; `runs` are by pid."""
    gpu = str(device.index)
    names = {"uuid": device.uuid, "name": device.name}
    info = {name: text for name, text in names.items() if text is not None}
    found = [Reading("yolowatch_gpu_info", (gpu,), info)] if info else []
    found += known("yolowatch_gpu_", _of_device(device, (gpu,)))
    if device.throttled is not None:
        reasons = dict.fromkeys(device.throttled, 1)
        found += by_value("yolowatch_gpu_throttled", (gpu,), reasons)
    users = sorted(_merged(device.users or ()), key=lambda user: -(user.used_bytes or 0))
    found += known("yolowatch_gpu_", _of_users(users[:MOST_PROCESSES], gpu, runs))
    return found, max(len(users) - MOST_PROCESSES, 0)


def _of_self(own: SelfMetrics) -> Known:
    yield "start_timestamp_seconds", (), own.started_at
    yield "own_resident_bytes", (), own.resident_bytes
    yield "hook_connections", (), own.connections
    yield "queue_events", (), own.queue_events
    yield "queue_dropped_total", (), own.queue_dropped
    yield "hook_messages_rejected_total", (), own.messages_rejected
    yield "scrape_errors_total", (), own.scrape_errors
    yield "otlp_pushes_total", (), own.pushes.tried
    yield "otlp_push_failures_total", (), own.pushes.failed
    yield "otlp_push_timestamp_seconds", (), own.pushes.taken_at


def _of_host(snapshot: MetricsSnapshot) -> Known:
    yield "nvml_up", (), snapshot.nvml_up
    yield "host_available_bytes", (), snapshot.host.available_bytes
    yield "host_capacity_bytes", (), snapshot.host.capacity_bytes


def _of_device(device: DeviceReading, gpu: tuple[str, ...]) -> Known:
    yield "up", gpu, device.answers
    yield "capacity_bytes", gpu, device.total_bytes
    yield "used_bytes", gpu, device.used_bytes
    yield "reserved_bytes", gpu, device.reserved_bytes
    yield "free_bytes", gpu, device.free_bytes
    yield "processes", gpu, None if device.users is None else len(device.users)
    yield "utilization_ratio", gpu, device.utilization_ratio
    yield "temperature_celsius", gpu, device.temperature_celsius
    yield "power_watts", gpu, device.power_watts
    yield "power_limit_watts", gpu, device.power_limit_watts
    yield "ecc_errors_total", (*gpu, "corrected"), device.ecc.corrected
    yield "ecc_errors_total", (*gpu, "uncorrected"), device.ecc.uncorrected
    yield "xid_errors_total", gpu, device.xids
    yield "last_xid", gpu, device.last_xid


def _merged(users: Iterable[DeviceUser]) -> Iterable[DeviceUser]:
    """One for each pid: a process in several parts of one GPU is told several times."""
    found: dict[int, DeviceUser] = {}
    for user in users:
        before = found.get(user.pid)
        parts = [each.used_bytes for each in (before, user) if each is not None]
        known = [each for each in parts if each is not None]
        found[user.pid] = replace(user, used_bytes=sum(known) if known else None)
    return found.values()


def _of_users(users: list[DeviceUser], gpu: str, runs: Mapping[int, str]) -> Known:
    for user in users:
        owner = user.user or (str(user.uid) if user.uid is not None else "")
        labels = (gpu, str(user.pid), owner, runs.get(user.pid, ""))
        yield "process_bytes", labels, user.used_bytes
