"""The CPU as the first of two GPUs which are alike, on which a training runs out of memory once.

What the trainer asks of its device the CPU answers, as in `spawning`; whoever asks whether it is a
GPU hears yes. What the driver says of both stands in the file NVML_STAND_IN, which a stand-in for
NVIDIA's library reads: the process that trains alone is on device 0 there for as long as it lives.
"""

import os
import time

import spawning

NAME = "Stand-in GPU"  # as the library says
MIB = 1 << 20
_SEEN_SECONDS = 5.0  # the driver is asked every two


class Type(spawning.Type):
    """The type of a device that is the CPU, and a GPU for who asks for one."""

    __hash__ = spawning.Type.__hash__

    def __eq__(self, other):
        return str(other) in ("cpu", "cuda")

    def __ne__(self, other):
        return not self == other


class Device(spawning.Device):
    type = Type("cpu")
    index = 0

    def __str__(self):
        return "cuda:0"


def stand_in(torch):
    """For what the hook asks of a GPU; it counts none."""
    torch.cuda.get_device_name = lambda _device: NAME
    torch.cuda.is_bf16_supported = lambda: False


def tell_driver(computes):
    """Whether this process computes on device 0 from now on."""
    path = os.environ["NVML_STAND_IN"]
    with open(path) as file:
        lines = [line for line in file if not line.startswith("0.procs=")]
    if computes:
        lines.append(f"0.procs={os.getpid()}:{64 * MIB}\n")
    with open(path + ".new", "w") as file:
        file.writelines(lines)
    os.replace(path + ".new", path)


def run_out(torch, used_bytes, growth_bytes):
    """As the allocator of a GPU words it that has nearly enough for a batch."""
    time.sleep(_SEEN_SECONDS)
    held, wanted = (used_bytes + 0.8 * growth_bytes) / MIB, 0.3 * growth_bytes / MIB
    raise torch.OutOfMemoryError(
        f"CUDA out of memory. Tried to allocate {wanted:.2f} MiB. GPU 0 has a total capacity of "
        f"{held + 9:.2f} MiB of which 1.00 MiB is free. Of the allocated memory {held:.2f} MiB is "
        "allocated by PyTorch, and 8.00 MiB is reserved by PyTorch but unallocated."
    )
