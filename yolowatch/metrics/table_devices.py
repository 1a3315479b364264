"""The metrics of the GPUs, of all their processes, as NVIDIA's driver tells them.

`gpu` is the driver's index, which need not be the number that a training gives its device.
"""

from __future__ import annotations

from yolowatch.metrics.metric import Metric, Type, counter, gauge
from yolowatch.model.device import THROTTLE_REASONS

GPU_INFO = ("uuid", "name")
ECC_KINDS = ("corrected", "uncorrected")

_GPU = ("gpu",)

DEVICES = (
    gauge("nvml_up", "1 while the driver answers, 0 while it does not; absent without a driver."),
    Metric("yolowatch_gpu_info", Type.INFO, "Which board a GPU is.", _GPU),
    gauge("gpu_up", "1 while the driver answers for this GPU, 0 where it is lost.", _GPU),
    gauge("gpu_capacity_bytes", "All memory of the GPU.", _GPU, "bytes"),
    gauge("gpu_used_bytes", "Memory that is used by all processes.", _GPU, "bytes"),
    gauge("gpu_reserved_bytes", "Memory that the driver keeps for itself.", _GPU, "bytes"),
    gauge("gpu_free_bytes", "Memory that nobody uses.", _GPU, "bytes"),
    gauge(
        "gpu_process_bytes",
        "Memory of one process; `run` is the run that it belongs to, empty for a neighbour.",
        ("gpu", "pid", "user", "run"),
        "bytes",
    ),
    gauge("gpu_processes", "Processes that compute on the GPU.", _GPU),
    gauge("gpu_utilization_ratio", "Part of the time in which the GPU computed.", _GPU, "ratio"),
    gauge("gpu_temperature_celsius", "Temperature of the GPU.", _GPU, "celsius"),
    gauge("gpu_power_watts", "Power that the board draws.", _GPU, "watts"),
    gauge("gpu_power_limit_watts", "Power that the board may draw.", _GPU, "watts"),
    gauge(
        "gpu_throttled",
        "1 while the clocks are lowered for this reason, else 0.",
        ("gpu", "reason"),
        values=THROTTLE_REASONS,
    ),
    counter(
        "gpu_ecc_errors",
        "Errors of the GPU's memory since its driver was loaded.",
        ("gpu", "kind"),
        ECC_KINDS,
    ),
    counter(
        "gpu_xid_errors",
        "Critical errors (XID) of the driver since the daemon began to listen for them.",
        _GPU,
    ),
    gauge("gpu_last_xid", "Number of the newest XID error.", _GPU),
)
