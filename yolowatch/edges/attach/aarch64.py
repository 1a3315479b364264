"""A call from the middle of an aarch64 thread: a signal frame that the kernel restores.

No instruction of this machine can both jump and leave every register as it is, so the trampoline
ends as a signal handler does: with the system call that takes all registers from a frame on the
stack. The frame is written here, as the kernel itself lays it out, with the registers of SVE where
the machine has them. A system call that was interrupted begins anew: the kernel has prepared that
in the registers before it stops for a tracer.

This was written from the kernel's headers, and has not yet run on a machine of this kind.
"""

from __future__ import annotations

import errno
import struct
from pathlib import Path

from yolowatch.edges.attach.ptrace import Seized
from yolowatch.edges.attach.x86_64 import Call, Unsuitable

MACHINE = "EM_AARCH64"
REGISTERS_BYTES = 34 * 8  # x0 to x30, sp, pc, pstate
TRAMPOLINE = Path(__file__).with_name("trampoline_aarch64.bin")
TRAMPOLINE_CODE = TRAMPOLINE.read_bytes()

_CALLEE, _MARK_ADDRESS, _MARK, _FRAME, _SP, _PC, _PSTATE = 19, 20, 21, 22, 31, 32, 33
_LEAVE = 0x18  # of the label `leave`
_SHORT_STATE, _BRANCH_TYPE = 0x10, 3 << 10
_NT_PRFPREG, _NT_ARM_SVE = 2, 0x405
_FPSIMD_MAGIC, _SVE_MAGIC = 0x46508001, 0x53564501
_FPSIMD_BYTES = 528
_SVE_HEADER_BYTES = 16
_SVE_MAX_BYTES = _SVE_HEADER_BYTES + 32 * 256 + 17 * 32 + 32
_SIGINFO_BYTES, _STACK_BYTES, _MASK_BYTES = 128, 40, 128
_CONTEXT = _SIGINFO_BYTES + _STACK_BYTES + _MASK_BYTES + 8  # aligned to 16
_RECORDS = _CONTEXT + 8 + REGISTERS_BYTES + 8  # behind the address of a fault, aligned to 16
_RECORDS_BYTES = 4096
_MARK_OFFSET = _SIGINFO_BYTES - 8  # in what the kernel does not read when it restores
_NO_SUCH_FLAGS = 0x7777  # the kernel leaves the signal stack as it is then
_FREE_BYTES = 2048  # between the frame and what was interrupted


def begin(
    seized: Seized, memory: int, code: int, callee: int, first: int, second: int, mark: int
) -> Call:
    """As `x86_64.begin`."""
    held = list(struct.unpack("<34Q", seized.registers(REGISTERS_BYTES)))
    if held[_PSTATE] & _SHORT_STATE:
        raise Unsuitable("it is no 64-bit program")
    vectors = seized.register_set(_NT_PRFPREG, _FPSIMD_BYTES)
    content = frame(held, vectors, _scalable(seized), seized.signal_mask(), mark)
    at = (held[_SP] - _FREE_BYTES - len(content)) // 16 * 16
    seized.write(memory, code, TRAMPOLINE_CODE)
    seized.write(memory, at, content)
    entry = list(held)
    entry[0], entry[1] = first, second
    entry[_CALLEE], entry[_MARK_ADDRESS], entry[_MARK] = callee, at + _MARK_OFFSET, mark
    entry[_SP], entry[_PC] = at, code
    entry[_PSTATE] &= ~_BRANCH_TYPE
    seized.set_registers(struct.pack("<34Q", *entry))
    return Call(code, at + _MARK_OFFSET)


def abandon(seized: Seized, memory: int, call: Call, mark: int) -> None:
    """As `x86_64.abandon`."""
    held = list(struct.unpack("<34Q", seized.registers(REGISTERS_BYTES)))
    held[_PC], held[_FRAME] = call.code + _LEAVE, call.mark_address - _MARK_OFFSET
    seized.write(memory, call.mark_address, struct.pack("<Q", mark + 3))
    seized.set_registers(struct.pack("<34Q", *held))


def frame(
    held: list[int], vectors: bytes, scalable: bytes | None, blocked: bytes, mark: int
) -> bytes:
    """A signal frame that restores these registers and this mask of blocked signals.

    `vectors` is the kernel's set NT_PRFPREG, `scalable` its NT_ARM_SVE or None.
    """
    content = bytes(_MARK_OFFSET) + struct.pack("<Q", mark)
    content += struct.pack("<2Q", 0, 0) + struct.pack("<Qi4xQ", 0, _NO_SUCH_FLAGS, 0)
    content += blocked.ljust(_MASK_BYTES, b"\0")
    content = content.ljust(_CONTEXT, b"\0") + struct.pack("<35Q", 0, *held)
    status, control = struct.unpack_from("<2I", vectors, 512)
    records = struct.pack("<4I", _FPSIMD_MAGIC, _FPSIMD_BYTES, status, control) + vectors[:512]
    if scalable is not None:
        records += _sve_record(scalable)
    if len(records) + 8 > _RECORDS_BYTES:  # the record that ends them is 8 bytes of nothing
        raise Unsuitable("its vector registers are longer than a plain signal frame holds")
    return content.ljust(_RECORDS, b"\0") + records.ljust(_RECORDS_BYTES, b"\0")


def _sve_record(scalable: bytes) -> bytes:
    """The kernel's set holds the registers as the record does, behind another header."""
    _, _, length, _, flags, _ = struct.unpack_from("<2I4H", scalable)
    if not flags & 1:  # only the short vectors are in use
        return struct.pack("<2I4H", _SVE_MAGIC, _SVE_HEADER_BYTES, length, 0, 0, 0)
    size = (32 * length + 17 * length // 8 + 15) // 16 * 16
    body = scalable[_SVE_HEADER_BYTES : _SVE_HEADER_BYTES + size].ljust(size, b"\0")
    return struct.pack("<2I4H", _SVE_MAGIC, _SVE_HEADER_BYTES + size, length, 0, 0, 0) + body


def _scalable(seized: Seized) -> bytes | None:
    try:
        return seized.register_set(_NT_ARM_SVE, _SVE_MAX_BYTES)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENODEV):
            return None  # a machine without them
        raise


def is_able() -> bool:
    """Whether this machine's processor has what the trampoline uses."""
    return True
