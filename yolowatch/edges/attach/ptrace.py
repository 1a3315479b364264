"""The few requests of ptrace that are made here, all of one thread of the target.

The kernel lets only the thread that has seized a target ask for more, and lets the target go when
that thread ends: so one `Seized` is used by one thread, from its beginning to its end. Calls go
through PyDLL, which keeps the interpreter's lock: while a target stands still, no other thread of
ours is to come between.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import threading
from types import TracebackType

from yolowatch.edges.clock import Clock

_SEIZE, _INTERRUPT, _CONT, _DETACH = 0x4206, 0x4207, 7, 17
_GETREGSET, _SETREGSET = 0x4204, 0x4205
_GETSIGMASK = 0x420A
_EVENT_STOP = 128
_WALL = 0x40000000
_SHORT_NAPS = 50
_SHORT_NAP_MICROSECONDS = 20  # not a spin: the target may need this very processor to stop
_NAP_SECONDS = 0.0002
_PRSTATUS = 1
_SET_TIMER_SLACK = 29
_PREFERRED = -15

_libc = ctypes.PyDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.waitpid.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
_libc.usleep.argtypes = [ctypes.c_uint]
_libc.prctl.argtypes = [ctypes.c_int, ctypes.c_ulong]
_libc.pwrite.restype = ctypes.c_ssize_t
_libc.pwrite.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_long]


class _Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class NotStopped(TimeoutError):
    """The thread did not stop in time: it waits where nothing interrupts it."""


class Died(ProcessLookupError):
    """The target ended meanwhile."""


class Seized:
    """One thread of a target, stopped inside `with`; raises OSError, NotStopped or Died.

    Whatever happens inside, it goes on afterwards with what its registers hold then.
    """

    def __init__(self, pid: int, clock: Clock, seconds: float) -> None:
        self._pid, self._clock, self._seconds = pid, clock, seconds
        self.stopped_by = 0  # the signal that had stopped the whole process before, or 0
        self.pause_seconds = 0.0

    def __enter__(self) -> Seized:
        _ptrace(_SEIZE, self._pid, 0, 0)
        self._began = self._clock.monotonic()
        _ptrace(_INTERRUPT, self._pid, 0, 0)
        self._wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _libc.ptrace(_DETACH, self._pid, None, None)
        self.pause_seconds = self._clock.monotonic() - self._began

    def registers(self, size: int) -> bytes:
        """The general registers, as the kernel lays them out for this machine."""
        return self.register_set(_PRSTATUS, size)

    def register_set(self, number: int, size: int) -> bytes:
        """One of ELF's sets of registers, of at most `size` bytes."""
        buffer = ctypes.create_string_buffer(size)
        vector = _Vector(ctypes.addressof(buffer), size)
        _ptrace(_GETREGSET, self._pid, number, ctypes.addressof(vector))
        return buffer.raw[: vector.length]

    def set_registers(self, data: bytes) -> None:
        """All general registers at once."""
        buffer = ctypes.create_string_buffer(data, len(data))
        vector = _Vector(ctypes.addressof(buffer), len(data))
        _ptrace(_SETREGSET, self._pid, _PRSTATUS, ctypes.addressof(vector))

    def signal_mask(self) -> bytes:
        """The signals that the thread blocks: 8 bytes."""
        buffer = ctypes.create_string_buffer(8)
        _ptrace(_GETSIGMASK, self._pid, 8, ctypes.addressof(buffer))
        return buffer.raw

    def write(self, descriptor: int, address: int, data: bytes) -> None:
        """Write to its open memory without letting another thread of ours run."""
        if _libc.pwrite(descriptor, data, len(data), address) != len(data):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def _wait(self) -> None:
        status = ctypes.c_int(0)
        deadline = self._clock.monotonic() + self._seconds
        turn = 0
        while True:
            done = _libc.waitpid(self._pid, ctypes.byref(status), _WALL | os.WNOHANG)
            if done == self._pid:
                if not os.WIFSTOPPED(status.value):
                    raise Died(errno.ESRCH, "it ended meanwhile")
                number = os.WSTOPSIG(status.value)
                if status.value >> 16 == _EVENT_STOP:
                    self.stopped_by = 0 if number == signal.SIGTRAP else number
                    return
                # A signal on its way to the process: it is delivered, and the stop comes after it.
                _ptrace(_CONT, self._pid, 0, number)
            elif done < 0 and ctypes.get_errno() != errno.EINTR:
                raise Died(errno.ESRCH, "it ended meanwhile")
            turn += 1
            if turn <= _SHORT_NAPS:
                _libc.usleep(_SHORT_NAP_MICROSECONDS)
            else:
                if self._clock.monotonic() >= deadline:
                    raise NotStopped(errno.ETIMEDOUT, "its main thread cannot be interrupted now")
                self._clock.sleep(_NAP_SECONDS)


def be_quick() -> None:
    """Let this thread, which is to end soon, be woken at once and preferred, where it may be."""
    _libc.prctl(_SET_TIMER_SLACK, 1)
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _PREFERRED)
    except OSError:
        pass  # only root may


def _ptrace(request: int, pid: int, address: int, data: int) -> None:
    if _libc.ptrace(request, pid, address, data) < 0:
        number = ctypes.get_errno()
        if number == errno.ESRCH and request != _SEIZE:
            raise Died(number, "it ended meanwhile")
        raise OSError(number, os.strerror(number))
