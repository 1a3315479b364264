"""What the hook does to CUDA and what asking it costs; run with and without the hook.

Prints one JSON object. It uses the hook's own modules, as they were staged, where they are there.
"""

import json
import sys
import time

import torch
from ultralytics import YOLO

YOLO("yolo11n.yaml")
facts = {"initialized": torch.cuda.is_initialized()}

if "yolowatch_hook" in sys.modules:
    from yolowatch_hook import allocator, guard

    def microseconds(function, count=200, repeats=20):
        best = float("inf")
        for _ in range(repeats):
            began = time.perf_counter()
            for _ in range(count):
                function()
            best = min(best, (time.perf_counter() - began) / count)
        return round(best * 1e6, 2)

    held = torch.empty(64 << 20, dtype=torch.uint8, device="cuda:0")
    peak = torch.empty(96 << 20, dtype=torch.uint8, device="cuda:0")
    del peak
    watched = allocator.current("cuda:0")
    total = torch.cuda.get_device_properties(0).total_memory
    facts.update(
        name=watched.name,
        read=watched.read(),
        allocated=torch.cuda.memory_allocated(),
        reserved=torch.cuda.memory_reserved(),
        peak=torch.cuda.max_memory_allocated(),
        reachable=torch.cuda.memory_reserved() + torch.cuda.mem_get_info()[0],
        total=total,
    )
    facts["used_us"] = microseconds(watched.used)
    facts["peak_us"] = microseconds(watched.peak)
    facts["read_us"] = microseconds(watched.read, 20)
    torch.cuda.set_per_process_memory_fraction(0.01)
    facts["capacity_at_one_percent"] = watched.read()["capacity_bytes"]
    facts["faults"] = guard.faults.count

print(json.dumps(facts))
