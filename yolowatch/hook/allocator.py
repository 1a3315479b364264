"""What the allocator of this process says, for CUDA and for the CPU.

Read-only: nothing here initialises CUDA, synchronises, frees memory or resets a peak. On the CPU
the figure is the one that the cap counts: data pages under a resource limit, the cgroup's own
figure in a limited cgroup, resident memory otherwise.
"""

import os
import resource
import sys

_PAGE = os.sysconf("SC_PAGE_SIZE")
_UNLIMITED = 1 << 60
_MOVED_BYTES = 1 << 20


class CpuAllocator:
    """The CPU as a device with a capacity. Units: bytes."""

    name = "cpu"

    def __init__(self, proc="/proc/self"):
        self._statm = os.open(proc + "/statm", os.O_RDONLY | os.O_CLOEXEC)
        self._status = os.open(proc + "/status", os.O_RDONLY | os.O_CLOEXEC)
        self._cgroup = _limited_cgroup(proc)
        self._beside = self._stale_mark = self._peak = 0
        self._choose()

    def _choose(self):
        """Which limit is the tightest now, and so which figure counts."""
        limits = [
            (_soft_limit(resource.RLIMIT_DATA), "data"),
            (_soft_limit(resource.RLIMIT_AS), "size"),
            (os.sysconf("SC_PHYS_PAGES") * _PAGE, "resident"),
        ]
        if self._cgroup is not None:
            limits.append((self._cgroup.limit(), "cgroup"))
        self._capacity, self._counts = min(limits)

    def used(self):
        """Bytes in use now by what the cap counts; about 3 microseconds."""
        if self._counts == "cgroup":
            return self._cgroup.used()
        field = {"size": 0, "resident": 1, "data": 5}[self._counts]
        return int(os.pread(self._statm, 256, 0).split()[field]) * _PAGE

    def peak(self):
        """The most that was ever in use, as far as the kernel knows; about 10 microseconds.

        The kernel keeps a high-water mark of the whole address space, not of its data pages. What
        is mapped beside them (programs, libraries, files) stays the same while batches are
        trained, and is subtracted; when it has changed, a mark from before says nothing, and only
        what rises above it counts.
        """
        if self._counts == "cgroup":
            return self._cgroup.peak()
        status = os.pread(self._status, 1 << 14, 0)
        if self._counts == "resident":
            return _kilobytes(status, b"\nVmHWM:")
        mark = _kilobytes(status, b"\nVmPeak:")
        if self._counts == "data":
            beside = _kilobytes(status, b"\nVmSize:") - _kilobytes(status, b"\nVmData:")
            if abs(beside - self._beside) > _MOVED_BYTES:
                self._beside, self._stale_mark = beside, mark
            if mark > self._stale_mark:
                self._peak = max(self._peak, mark - beside)
            return self._peak
        return mark

    def read(self):
        """All fields of `wire`'s memory that are known here; may be called from another thread."""
        self._choose()
        used = self.used()
        return {
            "allocated_bytes": used,
            "reserved_bytes": used,
            "peak_bytes": max(self.peak(), used),
            "capacity_bytes": self._capacity if self._capacity < _UNLIMITED else None,
        }


class CudaAllocator:
    """One CUDA device through torch's caching allocator. Units: bytes."""

    def __init__(self, torch, index):
        self._torch, self._index = torch, index
        self.name = "cuda:%d" % index
        self._stats = getattr(torch._C, "_cuda_memoryStats", None)
        self._total = torch.cuda.get_device_properties(index).total_memory

    def _raw(self):
        if self._stats is not None:
            return self._stats(self._index)
        return self._torch.cuda.memory_stats_as_nested_dict(self._index)

    def used(self):
        return self._raw()["allocated_bytes"]["all"]["current"]

    def peak(self):
        return self._raw()["allocated_bytes"]["all"]["peak"]

    def _capacity(self, reserved):
        fraction = getattr(self._torch._C, "_cuda_getMemoryFraction", None)
        allowed = self._total * (fraction(self._index) if fraction is not None else 1.0)
        try:
            free, _total = self._torch.cuda.mem_get_info(self._index)
        except RuntimeError:
            return None  # after a device-side assert the driver answers nothing any more
        return int(min(allowed, reserved + free))

    def read(self):
        raw = self._raw()
        reserved = raw["reserved_bytes"]["all"]["current"]
        return {
            "allocated_bytes": raw["allocated_bytes"]["all"]["current"],
            "reserved_bytes": reserved,
            "inactive_split_bytes": raw["inactive_split_bytes"]["all"]["current"],
            "peak_bytes": raw["allocated_bytes"]["all"]["peak"],
            "capacity_bytes": self._capacity(reserved),
            "retries": raw["num_alloc_retries"],
            "ooms": raw["num_ooms"],
            "active_bytes": raw.get("active_bytes", {}).get("all", {}).get("current"),
        }


def current(device=None):
    """The allocator of the device that is trained on: CUDA once it is initialised, else the CPU.

    `device` is the trainer's own ("cuda:1", "cpu") where it is known.
    """
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    if device != "cpu" and cuda is not None and cuda.is_initialized():
        if device is not None and device.startswith("cuda:"):
            return CudaAllocator(torch, int(device[5:]))
        return CudaAllocator(torch, cuda.current_device())
    return CpuAllocator()


class _Cgroup:
    """A memory cgroup with a limit, version 1 or 2. Its figures include every process in it."""

    def __init__(self, folder, version):
        if version == 2:
            names = ("memory.max", "memory.current", "memory.peak")
        else:
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.max_usage_in_bytes")
        self._limit, self._used, self._peak = (os.path.join(folder, name) for name in names)

    def limit(self):
        value = _text(self._limit)
        return int(value) if value.isdigit() else _UNLIMITED

    def used(self):
        return int(_text(self._used))

    def peak(self):
        return int(_text(self._peak))


def _limited_cgroup(proc):
    """The innermost memory cgroup of this process that has a limit and can be read, or None."""
    try:
        lines = _text(proc + "/cgroup").splitlines()
    except OSError:
        return None
    for line in lines:
        _number, controllers, path = line.split(":", 2)
        if controllers == "":
            root, version = "/sys/fs/cgroup", 2
        elif "memory" in controllers.split(","):
            root, version = "/sys/fs/cgroup/memory", 1
        else:
            continue
        while True:
            cgroup = _Cgroup(root + path, version)
            try:
                if cgroup.limit() < _UNLIMITED and cgroup.used() >= 0 and cgroup.peak() >= 0:
                    return cgroup
            except (OSError, ValueError):
                pass  # not this level: the root has no such file
            if path in ("/", ""):
                break
            path = os.path.dirname(path)
    return None


def _soft_limit(which):
    value = resource.getrlimit(which)[0]
    return _UNLIMITED if value == resource.RLIM_INFINITY else value


def _kilobytes(status, name):
    begin = status.index(name) + len(name)
    return int(status[begin : status.index(b" kB", begin)]) * 1024


def _text(path):
    with open(path) as file:
        return file.read().strip()
