"""The machine code is made from its source; the signal frame is as the kernel reads it."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from yolowatch.edges.attach import aarch64, x86_64

MACHINES = {
    x86_64.TRAMPOLINE: (("as", "--64"), "objcopy", "nm"),
    aarch64.TRAMPOLINE: (
        ("aarch64-linux-gnu-as",),
        "aarch64-linux-gnu-objcopy",
        "aarch64-linux-gnu-nm",
    ),
}


@pytest.mark.parametrize("binary", list(MACHINES), ids=lambda path: path.stem)
def test_the_code_is_made_from_its_source(binary: Path, tmp_path: Path) -> None:
    assembler, copier, lister = MACHINES[binary]
    if shutil.which(assembler[0]) is None:
        pytest.skip(f"no {assembler[0]} here")
    made, code = tmp_path / "made.o", tmp_path / "made.bin"
    subprocess.run((*assembler, "-o", made, binary.with_suffix(".s")), check=True)
    subprocess.run((copier, "-O", "binary", "-j", ".text", made, code), check=True)
    assert code.read_bytes() == binary.read_bytes()
    labels = subprocess.check_output((lister, made), text=True)
    machine = x86_64 if binary == x86_64.TRAMPOLINE else aarch64
    assert f"{machine._LEAVE:016x} t leave" in labels
    if machine is x86_64:
        assert f"{len(code.read_bytes()):016x} t callee" in labels


def test_an_interrupted_system_call_begins_anew() -> None:
    """As the kernel does with registers that nobody has changed."""

    def after(number: int, result: int) -> tuple[int, int, int]:
        held = [0] * 27
        held[x86_64._ORIG_RAX], held[x86_64._RAX] = number % 2**64, result % 2**64
        held[x86_64._RIP] = 1000
        x86_64._restart_system_call(held)
        return held[x86_64._RAX], held[x86_64._RIP], held[x86_64._ORIG_RAX]

    none = 2**64 - 1
    assert after(-1, -512) == (2**64 - 512, 1000, none), "it is in no system call"
    for result in (-512, -513, -514):
        assert after(7, result) == (7, 998, none)
    assert after(35, -516) == (219, 998, none)
    assert after(0, 12) == (12, 1000, none), "it had ended"
    assert after(0, -4) == (2**64 - 4, 1000, none), "it had ended with an error"


def test_the_signal_frame_is_as_the_kernel_reads_it() -> None:
    held = [1000 + index for index in range(34)]
    vectors = bytes(range(256)) * 2 + struct.pack("<4I", 5, 6, 0, 0)
    blocked = struct.pack("<Q", 0xABCD)
    length = 32  # of a vector, in bytes
    body = bytes([7]) * (32 * length) + bytes([8]) * (17 * length // 8)
    scalable = struct.pack("<2I4H", 16 + len(body), 9000, length, 256, 1, 0) + body
    frame = aarch64.frame(held, vectors, scalable, blocked, mark=99)
    assert len(frame) % 16 == 0
    assert struct.unpack_from("<Q", frame, 120) == (99,)
    context = 128
    assert struct.unpack_from("<Q", frame, context + 40) == (0xABCD,)  # uc_sigmask
    registers = context + 176  # uc_mcontext, aligned to 16
    assert struct.unpack_from("<35Q", frame, registers) == (0, *held)
    records = registers + 288  # __reserved, aligned to 16
    assert struct.unpack_from("<4I", frame, records) == (0x46508001, 528, 5, 6)
    assert frame[records + 16 : records + 528] == vectors[:512]
    record = records + 528
    magic, size, told, flags = struct.unpack_from("<2I2H", frame, record)
    assert (magic, size % 16, told, flags) == (0x53564501, 0, 32, 0)
    assert frame[record + 16 : record + 16 + len(body)] == body
    assert struct.unpack_from("<2I", frame, record + size) == (0, 0)
    assert len(frame) == records + 4096


def test_vectors_longer_than_a_frame_are_refused() -> None:
    length = 256
    scalable = struct.pack("<2I4H", 9000, 9000, length, 256, 1, 0)
    with pytest.raises(x86_64.Unsuitable, match="longer than"):
        aarch64.frame([0] * 34, bytes(528), scalable, bytes(8), mark=1)
