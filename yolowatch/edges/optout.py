"""Whether a run is opted out by a file, which its user or an administrator has put there.

The file counts in the run's directory and in those above, up to the user's home or the mount's
root. It counts only where the run's user, root or the owner of that directory made it: in a shared
directory nobody switches off the watch over another's runs.
"""

from __future__ import annotations

import os
from pathlib import Path


def process_opted_out(pid: int, name: str, *, uid: int, home: Path | None) -> bool | None:
    """The same of a process by its working directory, before it has told of its run's."""
    try:
        directory = os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return None
    return opted_out(Path(directory), name, uid=uid, home=home)


def opted_out(run_dir: Path, name: str, *, uid: int, home: Path | None) -> bool | None:
    """Whether a file `name` opts the run out; None where a directory could not be looked into."""
    path = Path(os.path.realpath(run_dir))
    top = Path(os.path.realpath(home)) if home is not None else None
    answer: bool | None = False
    device = None
    while True:
        try:
            here = os.stat(path)
            if device is not None and here.st_dev != device:
                return answer
            device = here.st_dev
            if os.lstat(path / name).st_uid in (uid, 0, here.st_uid):
                return True
        except FileNotFoundError:
            pass
        except OSError:
            answer = None  # one above may still opt it out for certain
        if path in (top, path.parent):
            return answer
        path = path.parent
