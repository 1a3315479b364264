"""Binds a process to one directory of its user, by the kernel and not by looking at names.

Names can be changed between a look and a use. So a directory is opened once, by openat2(2) without
following any link, and Landlock then refuses this process every file that is not beneath what was
opened, whatever name or link leads to it. Only for a process that does nothing else.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import stat
from collections.abc import Sequence

_NUMBERS = {"x86_64", "aarch64", "riscv64", "ppc64le"}  # where the numbers below are the same
_OPENAT2, _CREATE, _ADD, _RESTRICT = 437, 444, 445, 446
_NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 0x02, 0x04, 0x08
_HERE = -100  # AT_FDCWD
_NO_NEW_PRIVS = 38
_VERSION = 1  # LANDLOCK_CREATE_RULESET_VERSION
_BENEATH_RULE = 1  # LANDLOCK_RULE_PATH_BENEATH

# linux/landlock.h. The later ones are known to later kernels only, by the version of the interface.
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_WRITE = (1 << 1) | (1 << 4) | (1 << 5) | (1 << 7) | (1 << 8)  # write, remove, make file and dir
_ALL = (1 << 13) - 1
_LATER = {2: 1 << 13, 3: 1 << 14, 5: 1 << 15}  # refer, truncate, ioctl of devices


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class _Rules(ctypes.Structure):
    _fields_ = (("handled", ctypes.c_uint64),)


class _Rule(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def open_directory(path: str) -> int:
    """A descriptor of the directory at `path`, none of whose parts is a link.

    The path is resolved first; what is changed meanwhile is refused with OSError.
    """
    resolved = os.path.realpath(path, strict=True)
    how = _How(os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, 0, _NO_SYMLINKS | _NO_MAGICLINKS)
    return _open(_HERE, resolved, how)


def status_beneath(directory: int, name: str) -> os.stat_result | None:
    """The status of the regular file `name` beneath an open directory; None where there is none.

    Nothing outside is ever looked at: a link on the way makes it none.
    """
    how = _How(os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK, 0, _BENEATH | _NO_SYMLINKS)
    try:
        descriptor = _open(directory, name, how)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    return status if stat.S_ISREG(status.st_mode) else None


def confine(directory: int, readable: Sequence[str] = ()) -> bool:
    """Refuse this thread and what it starts every file but those beneath an open directory.

    Files in /proc and beneath `readable` (where Python's library lies) can be read, not written.
    False where the kernel has no Landlock: then the rights of the user are the only bounds.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE, None, 0, _VERSION) if _known() else -1
    if version < 1:
        return False
    later = sum(right for since, right in _LATER.items() if version >= since)
    rules = _Rules(_ALL | later)
    ruleset = _checked(libc.syscall(_CREATE, ctypes.byref(rules), ctypes.sizeof(rules), 0))
    try:
        own = _READ_FILE | _READ_DIR | _WRITE | (later & ~_LATER[5])
        _allow(libc, ruleset, directory, own)
        for each in ("/proc", *readable):
            _allow_reading(libc, ruleset, each)
        _checked(libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0))
        _checked(libc.syscall(_RESTRICT, ruleset, 0))
    finally:
        os.close(ruleset)
    return True


def _allow(libc: ctypes.CDLL, ruleset: int, directory: int, rights: int) -> None:
    rule = _Rule(rights, directory)
    _checked(libc.syscall(_ADD, ruleset, _BENEATH_RULE, ctypes.byref(rule), 0))


def _allow_reading(libc: ctypes.CDLL, ruleset: int, path: str) -> None:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _allow(libc, ruleset, descriptor, _READ_FILE | _READ_DIR)
        finally:
            os.close(descriptor)


def _open(directory: int, path: str, how: _How) -> int:
    if not _known():
        raise OSError(errno.ENOSYS, "openat2 is not known on this machine")
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = (directory, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
    return _checked(libc.syscall(_OPENAT2, *arguments), path)


def _known() -> bool:
    return platform.machine() in _NUMBERS


def _checked(result: int, path: str | None = None) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return result
