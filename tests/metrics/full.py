"""A snapshot in which every metric of the table has a value.

`python -m tests.metrics.full` prints it as Prometheus reads it.
"""

from __future__ import annotations

import sys

from tests.model.test_fold import folded
from yolowatch.metrics.render import render
from yolowatch.metrics.snapshot import MetricsSnapshot, RunMetrics, SelfMetrics, Spent
from yolowatch.model.device import DeviceReading, DeviceUser, EccErrors
from yolowatch.model.forecast import Outlook
from yolowatch.model.host import HostMemory, RunHost
from yolowatch.model.push import Pushes

GIB = 1 << 30
OWN = SelfMetrics(
    version="0.1.0",
    python="3.11.7",
    started_at=1_770_000_000.0,
    resident_bytes=48 << 20,
    connections=1,
    queue_events=2,
    queue_dropped=0,
    messages_rejected=1,
    heartbeats={"core": 1_770_000_600.5, "devices": 1_770_000_599.0},
    cycles=120,
    cycle_seconds=0.25,
    scrapes=4,
    scrape_seconds=0.125,
    scrape_errors=0,
    pushes=Pushes(10, 2, 1_770_000_590.0),
)
FULL = MetricsSnapshot(
    OWN,
    (
        RunMetrics(
            run="20261121-2307-train",
            phase="training",
            state=folded(
                ("hello", {"pid": 7, "torch": "2.15.0"}),
                (
                    "run",
                    {
                        "trainer": "ultralytics",
                        "trainer_version": "8.4.190",
                        "model": "yolo11n.pt",
                        "task": "detect",
                        "precision": "fp16",
                        "run_dir": "/runs/train",
                        "device": "cuda:0",
                        "batch": 8,
                        "accumulate": 8,
                        "validation_batch": 16,
                        "epochs": 100,
                    },
                ),
                (
                    "sample",
                    {
                        "phase": "backward",
                        "epoch": 11,
                        "step": 5400,
                        "batch": 8,
                        "height": 640,
                        "width": 512,
                        "allocated_bytes": 9 * GIB,
                        "active_bytes": 10 * GIB,
                        "reserved_bytes": 11 * GIB,
                        "inactive_split_bytes": 1 << 28,
                        "peak_bytes": 12 * GIB,
                        "allocated_max_bytes": 12 * GIB - 1,
                        "capacity_bytes": 23 * GIB,
                        "retries": 1,
                        "ooms": 2,
                        "seconds": 1.0,
                        "steps": 4,
                        "dropped": 3,
                        "faults": 0,
                    },
                ),
            ),
            hook_connected=True,
            attempts=2,
            incidents={"cuda-oom": 1},
            outcomes={"healed": 1},
            remediations={"batch": 1},
            exemplars={"cuda-oom": "8f3a1c00", "healed": "8f3a1c00", "batch": "8f3a1c00"},
            vaulted=11,
            predicted_peak_bytes=13 * GIB,
            outlooks=(
                Outlook("validation", 14 * GIB, 15 * GIB, 0.25, 23 * GIB),
                Outlook("forward", 13 * GIB),
            ),
            live_changes={"multi-scale": 1},
            host=RunHost(9, 6 * GIB, 7 * GIB, 32 * GIB, 1 << 20, 16 * GIB),
            spent=Spent(40, 5000, 61.5, 1250.0),
            pids=frozenset({7}),
            user="ann",
            mode="auto",
            paused=False,
            journal_writable=True,
            progress_at=1_770_000_600.0,
            remedied_at=1_769_990_000.0,
        ),
    ),
    (
        DeviceReading(
            0,
            uuid="GPU-0",
            name="A board",
            total_bytes=24 * GIB,
            used_bytes=13 * GIB,
            reserved_bytes=1 << 28,
            free_bytes=11 * GIB - (1 << 28),
            utilization_ratio=0.97,
            temperature_celsius=71.0,
            power_watts=310.5,
            power_limit_watts=350.0,
            throttled=("power-cap",),
            ecc=EccErrors(3, 0),
            xids=1,
            last_xid=79,
            users=(DeviceUser(7, 12 * GIB, 1000, "ann"), DeviceUser(99, GIB, 1001)),
        ),
    ),
    nvml_up=True,
    host=HostMemory(128 * GIB, 90 * GIB),
)

if __name__ == "__main__":
    sys.stdout.buffer.write(render(FULL))
