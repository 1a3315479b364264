"""Copies a file's bytes as cheaply as its filesystem can: shared, or copied inside the kernel."""

from __future__ import annotations

import errno
import fcntl
import os

_FICLONE = 0x40049409  # linux/fs.h: share the extents, copy on write
_CHUNK_BYTES = 16 * 1024**2
_NOT_SUPPORTED = (
    errno.EXDEV,
    errno.EINVAL,
    errno.ENOSYS,
    errno.EOPNOTSUPP,
    errno.EBADF,
    errno.EPERM,
    errno.ETXTBSY,
)


def reflink(source: int, target: int) -> bool:
    """Make the open file `target` share the bytes of `source`; False where that is impossible."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:  # another filesystem, or one without shared extents: each has its own number
        return False
    return True


def copy_bytes(source: int, target: int) -> int:
    """Copy an open regular file into an empty one until its end; how many bytes that were.

    Raises OSError, for a full disk among others.
    """
    copied = 0
    while True:
        try:
            count = os.copy_file_range(source, target, _CHUNK_BYTES, copied, copied)
        except OSError as error:
            if copied or error.errno not in _NOT_SUPPORTED:
                raise
            return _send_bytes(source, target)
        if count == 0:
            # Some filesystems report an end at once instead of an error.
            return copied or _send_bytes(source, target)
        copied += count


def _send_bytes(source: int, target: int) -> int:
    copied = 0
    os.lseek(target, 0, os.SEEK_SET)
    while count := os.sendfile(target, source, copied, _CHUNK_BYTES):
        copied += count
    return copied
