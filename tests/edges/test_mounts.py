"""Filesystem types, from real and from written mount tables."""

from __future__ import annotations

from pathlib import Path

from yolowatch.edges.mounts import filesystem_type, is_network_filesystem

TABLE = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:30 / /home rw shared:9 master:1 - nfs4 server:/home rw
31 22 0:31 / /home/my\040data rw - xfs /dev/sdb rw
32 22 0:32 / /over rw - tmpfs tmpfs rw
33 22 0:33 / /over rw - fuse.sshfs host: rw
short line
"""


def test_the_deepest_and_latest_mount_counts() -> None:
    assert filesystem_type(Path("/var/lib"), TABLE) == "ext4"
    assert filesystem_type(Path("/home/ann/.local/state"), TABLE) == "nfs4"
    assert filesystem_type(Path("/homestead"), TABLE) == "ext4"
    assert filesystem_type(Path("/home/my data/x"), TABLE) == "xfs"
    assert filesystem_type(Path("/over/x"), TABLE) == "fuse.sshfs"
    assert filesystem_type(Path("/x"), "") is None


def test_this_machine() -> None:
    assert filesystem_type(Path("/proc/self")) == "proc"
    assert not is_network_filesystem(Path("/proc"))
