"""Which kind of filesystem a path lies on, as /proc/self/mountinfo says."""

from __future__ import annotations

import os
from pathlib import Path

_NETWORK = (
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "9p", "ceph", "lustre", "gpfs", "beegfs",
    "orangefs", "pvfs2", "glusterfs", "ocfs2", "gfs2", "virtiofs", "vboxsf", "fuse",
)  # fmt: skip


def filesystem_type(path: Path, mountinfo: str | None = None) -> str | None:
    """The type of the filesystem of `path`, which need not exist; None where it is unknown."""
    if mountinfo is None:
        try:
            mountinfo = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape")
        except OSError:
            return None
    parts = Path(os.path.realpath(path)).parts
    best, found = -1, None
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        columns, kind = before.split(" "), after.split(" ")[0]
        if len(columns) < 5 or not kind:
            continue
        mount = Path(_unescape(columns[4])).parts
        # A later line of the same mount point lies over an earlier one.
        if parts[: len(mount)] == mount and len(mount) >= best:
            best, found = len(mount), kind
    return found


def is_network_filesystem(path: Path) -> bool:
    """Whether other machines may see the same files; unknown counts as local."""
    kind = filesystem_type(path)
    return kind is not None and (kind in _NETWORK or kind.startswith("fuse."))


def _unescape(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text
