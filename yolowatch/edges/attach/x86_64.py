"""A call from the middle of an x86-64 thread: its registers, and the trampoline's slots.

Everything that the thread was doing is kept by the trampoline itself, on the thread's own stack,
so that one write of its registers begins the call and nothing more is needed to end it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from yolowatch.edges.attach.ptrace import Seized

MACHINE = "EM_X86_64"
REGISTERS_BYTES = 27 * 8
TRAMPOLINE = Path(__file__).with_name("trampoline_x86_64.bin")

_RBX, _RAX, _ORIG_RAX, _RIP, _CS, _RSP = 5, 10, 15, 16, 17, 19
_USER_CODE = 0x33  # the segment of 64-bit programs
_RED_ZONE = 128
_PUSHED = 17 * 8  # flags, 15 registers, the mark
_LEAVE = 0x7A  # of the label `leave`
_SYSCALL_BYTES = 2
_RESTART = 219  # of the system call that goes on with one that was interrupted
# What the kernel keeps in rax of a thread that was stopped inside a system call.
_ERESTARTSYS, _ERESTARTNOINTR, _ERESTARTNOHAND, _ERESTART_BLOCK = -512, -513, -514, -516
_NONE = 2**64 - 1


class Unsuitable(RuntimeError):
    """This thread cannot be called into; the text says why."""


@dataclass(frozen=True)
class Call:
    """A call that is set up: where its mark stands while it lasts, and the code at `code`."""

    code: int
    mark_address: int


def begin(
    seized: Seized, memory: int, code: int, callee: int, first: int, second: int, mark: int
) -> Call:
    """Let the stopped thread call `callee(first, second)`, then go on where it is.

    `code` is the address of room for the trampoline and its slots; raises Unsuitable or OSError,
    and then the thread is as it was.
    """
    held = list(struct.unpack("<27Q", seized.registers(REGISTERS_BYTES)))
    if held[_CS] != _USER_CODE:
        raise Unsuitable("it is no 64-bit program")
    _restart_system_call(held)
    slots = struct.pack("<5Q", callee, first, second, mark, held[_RIP])
    seized.write(memory, code, TRAMPOLINE_CODE + slots)
    held[_RIP] = code
    seized.set_registers(struct.pack("<27Q", *held))
    return Call(code, held[_RSP] - _RED_ZONE - _PUSHED)


def abandon(seized: Seized, memory: int, call: Call, mark: int) -> None:
    """Let a thread that hangs in the callee go on with what it did before the call."""
    held = list(struct.unpack("<27Q", seized.registers(REGISTERS_BYTES)))
    held[_RIP], held[_RBX], held[_ORIG_RAX] = call.code + _LEAVE, call.mark_address, _NONE
    seized.write(memory, call.mark_address, struct.pack("<Q", mark + 3))
    seized.set_registers(struct.pack("<27Q", *held))


def _restart_system_call(held: list[int]) -> None:
    """As the kernel would when the thread goes on; it does so only for the registers it left."""
    if held[_ORIG_RAX] == _NONE:
        return
    result = held[_RAX] - 2**64 if held[_RAX] >= 2**63 else held[_RAX]
    if result in (_ERESTARTSYS, _ERESTARTNOINTR, _ERESTARTNOHAND, _ERESTART_BLOCK):
        held[_RAX] = _RESTART if result == _ERESTART_BLOCK else held[_ORIG_RAX]
        held[_RIP] -= _SYSCALL_BYTES
    held[_ORIG_RAX] = _NONE


def is_able() -> bool:
    """Whether this machine's processor has what the trampoline uses."""
    with open("/proc/cpuinfo") as file:
        return any(line.startswith("flags") and " xsave " in line for line in file)


TRAMPOLINE_CODE = TRAMPOLINE.read_bytes()
