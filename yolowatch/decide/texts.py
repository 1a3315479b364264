"""The texts of memory failures, by version of torch: which they are and which figures they hold.

Only whole, anchored forms are recognised, each with the exception types that really carry it: a
message that merely contains the words "out of memory" was written by somebody else. Nothing here
knows what a run is; `detect` weighs the text against what the hook saw.

Sources: c10/cuda/CUDACachingAllocator.cpp and c10/core/impl/alloc_cpu.cpp of pytorch/pytorch in
their releases since 0.3; tests/decide/corpus.py quotes one real report of each form.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

_SIZE = r"(\d+(?:\.\d+)?) ?(bytes|KiB|MiB|GiB|TiB)"
_UNITS = {"bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
# torch prints an underflow of its own counters as about 2^64 bytes: no figure of a real device.
_NONSENSE_BYTES = 1 << 50


class Source(Enum):
    """Whose allocator failed."""

    DEVICE = "device"
    CPU = "cpu"
    PYTHON = "python"  # MemoryError of the interpreter or of numpy: host memory


@dataclass(frozen=True)
class Form:
    """One spelling of a memory failure; `types` are the last parts of the exceptions' names.

    A `disguised` one does not say that memory was lacking: what was measured has to.
    """

    name: str
    source: Source
    types: frozenset[str]
    pattern: re.Pattern[str]
    disguised: bool = False


_TORCH = frozenset({"OutOfMemoryError", "RuntimeError"})
_TORCH_ERROR = _TORCH | {"AcceleratorError"}
_NCCL = frozenset({"DistBackendError", "RuntimeError"})
_DEVICE = r"(?P<device>CUDA|HIP|XPU) out of memory\. "

FORMS = (
    # torch >= 2.1 ("capacty" until 2.1.2)
    Form(
        "cuda-allocator",
        Source.DEVICE,
        frozenset({"OutOfMemoryError"}),
        re.compile(_DEVICE + rf"Tried to allocate {_SIZE}\. GPU \d+ has a total capaci?ty of "),
    ),
    # torch 0.4.1 to 2.0; OutOfMemoryError since 1.13, RuntimeError before
    Form(
        "cuda-allocator-older",
        Source.DEVICE,
        _TORCH,
        re.compile(_DEVICE + rf"Tried to allocate {_SIZE} \(GPU \d+; {_SIZE} total capacity; "),
    ),
    # torch >= 2.12 with throw_on_cudamalloc_oom
    Form(
        "cuda-preemptive",
        Source.DEVICE,
        frozenset({"OutOfMemoryError"}),
        re.compile(_DEVICE + "Allocation was preemptively rejected because it would exceed "),
    ),
    # outside the caching allocator: context, library handles, graphs
    Form(
        "cuda-driver",
        Source.DEVICE,
        _TORCH_ERROR,
        re.compile(r"(?P<device>CUDA|HIP) error: out of memory\s*(?:\Z|\n)"),
    ),
    Form(
        "cuda-runtime-2",  # torch up to 1.4
        Source.DEVICE,
        frozenset({"RuntimeError"}),
        re.compile(r"(?P<device>cuda) runtime error \(2\) : out of memory at \S+:\d+\s*\Z"),
    ),
    # Libraries that allocate beside torch, or fail where they get no workspace, and do not say so.
    Form(
        "cudnn",
        Source.DEVICE,
        _TORCH_ERROR,
        re.compile(
            r"Unable to find a valid cuDNN algorithm to run convolution\b"
            r"|(?:GET|FIND) was unable to find an engine to execute this computation\b"
            r"|cuDNN error: CUDNN_STATUS_(?:ALLOC_FAILED|INTERNAL_ERROR|NOT_SUPPORTED)\b"
        ),
        disguised=True,
    ),
    Form(
        "cublas",
        Source.DEVICE,
        _TORCH_ERROR,
        re.compile(
            r"CUDA error: CUBLAS_STATUS_(?:ALLOC_FAILED|NOT_INITIALIZED|EXECUTION_FAILED) "
            r"when calling `"
        ),
        disguised=True,
    ),
    Form(
        "nccl",
        Source.DEVICE,
        _NCCL,
        re.compile(
            r"NCCL [Ee]rror in: ?[^\n]*unhandled cuda error(?s:.{0,1500})"
            r"Cuda failure (?:\d+ )?'out of memory'"
        ),
        disguised=True,
    ),
    Form(
        "cpu-allocator",
        Source.CPU,
        frozenset({"RuntimeError"}),
        re.compile(
            r"(?:\[enforce fail at [^\]\n]*(?:alloc_cpu|CPUAllocator)\.cpp:\d+\][^\n]*?)?"
            r"(?:Default)?CPUAllocator: (?:can't allocate memory|not enough memory): "
            r"you tried to allocate (?P<cpu>\d+) ?bytes"
        ),
    ),
    Form(
        "cpu-allocator-oldest",  # torch 1.0
        Source.CPU,
        frozenset({"RuntimeError"}),
        re.compile(r"\[enforce fail at CPUAllocator\.cpp:\d+\] posix_memalign\(.*\) == 0\. 12 vs"),
    ),
    Form(
        "cpu-allocator-th",  # torch up to 1.1
        Source.CPU,
        frozenset({"RuntimeError"}),
        re.compile(r"\$ Torch: not enough memory: you tried to allocate \d+[GM]B\."),
    ),
    Form("bad-alloc", Source.CPU, frozenset({"RuntimeError"}), re.compile(r"std::bad_alloc\s*\Z")),
    # oneDNN, which allocates outside torch's allocator and does not say why it failed
    Form(
        "onednn",
        Source.CPU,
        frozenset({"RuntimeError"}),
        re.compile(r"could not (?:create|execute) a (?:primitive|memory object)\b"),
        disguised=True,
    ),
    # torch.save into a buffer that could not grow: it says only that the buffer was closed
    Form(
        "save-cut-short",
        Source.PYTHON,
        frozenset({"ValueError"}),
        re.compile(r"I/O operation on closed file\.\Z"),
        disguised=True,
    ),
    Form(
        "memory-error",
        Source.PYTHON,
        frozenset({"MemoryError", "_ArrayMemoryError"}),
        re.compile(r"", re.DOTALL),
    ),
)

# DataParallel raises a replica's failure again, with its type, behind a heading and its traceback.
_REPLICA = re.compile(r"Caught (OutOfMemoryError|RuntimeError) in replica \d+ on device \d+\.\n")


def recognise(exception: str, text: str) -> Form | None:
    """The form of this failure, or None when it is no memory failure that is known.

    `exception` is the type's name, qualified or not; `text` is `str()` of it, perhaps cut short.
    """
    kind = exception.rpartition(".")[2]
    text = _own_text(kind, text)
    for form in FORMS:
        if kind in form.types and form.pattern.match(text):
            return form
    return None


def _own_text(kind: str, text: str) -> str:
    heading = _REPLICA.match(text)
    if heading and kind == heading.group(1):
        start = text.rfind("\ntorch." if kind == "OutOfMemoryError" else f"\n{kind}: ")
        own = text[start + 1 :].partition(": ")[2] if start >= 0 else ""
        return own or text
    return text


@dataclass(frozen=True)
class Figures:
    """What a text says, in bytes; None is what it does not say."""

    requested: int | None = None
    total: int | None = None
    free: int | None = None
    allowed: int | None = None
    allocated: int | None = None
    reserved_unallocated: int | None = None

    @property
    def capacity(self) -> int | None:
        """What this process could have had: its own plus what is free, if that is allowed."""
        reachable = None
        if self.allocated is not None and self.free is not None:
            reachable = self.allocated + self.free + (self.reserved_unallocated or 0)
        known = [each for each in (self.allowed, reachable) if each is not None]
        return min(known) if known else None


_FIGURES = {
    "requested": (rf"Tried to allocate {_SIZE}", rf"Requested size: {_SIZE}"),
    "total": (rf"has a total capaci?ty of {_SIZE}", rf"; {_SIZE} total capacity;"),
    "free": (rf"of which {_SIZE} is free", rf"; {_SIZE} free;"),
    "allowed": (rf"[.;] {_SIZE} allowed;",),
    "allocated": (rf"memory {_SIZE} is allocated by PyTorch", rf"; {_SIZE} already allocated;"),
    "reserved_unallocated": (
        rf"{_SIZE} is reserved by PyTorch but unallocated",
        rf"; {_SIZE} cached\)",
    ),
    "reserved": (rf"; {_SIZE} reserved in total by PyTorch",),
}


def parse_capacity(text: str) -> Figures:
    """The figures in `text`, of any of the forms; a text that holds none gives none."""
    found: dict[str, int | None] = {name: _first(text, each) for name, each in _FIGURES.items()}
    cpu = re.search(r"you tried to allocate (\d{1,15}) ?bytes", text)
    if cpu:
        found["requested"] = int(cpu.group(1))
    reserved, allocated = found.pop("reserved"), found["allocated"]
    if reserved is not None and allocated is not None:
        found["reserved_unallocated"] = max(reserved - allocated, 0)
    return Figures(**found)


def _first(text: str, patterns: tuple[str, ...]) -> int | None:
    for pattern in patterns:
        match = re.search(pattern, text)
        if match:
            return figure_bytes(match.group(1), match.group(2))
    return None


def figure_bytes(number: str, unit: str) -> int | None:
    """Bytes of a figure as torch prints it; None for what is none of a real device."""
    # Sixteen digits are more than any device: a hostile text must not make a huge number.
    if len(number) > 16:
        return None
    value = round(float(number) * _UNITS[unit])
    return value if value < _NONSENSE_BYTES else None
