"""Who may act on a run directory: leases that end with their holders."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from yolowatch.edges.lease import RUN, SERVICE, Lease, LeaseHeld, require_free

HOLD = """
import sys
from pathlib import Path
from yolowatch.edges.lease import Lease
lease = Lease(Path(sys.argv[1]), sys.argv[2])
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_holder_is_told_of_the_first(tmp_path: Path) -> None:
    first = Lease(tmp_path, SERVICE)
    with pytest.raises(LeaseHeld, match=r"another yolowatch daemon \(process \d+\) looks after"):
        Lease(tmp_path, SERVICE)
    first.release()
    Lease(tmp_path, SERVICE).release()


def test_yolowatch_run_outranks_a_service(tmp_path: Path) -> None:
    service = Lease(tmp_path, SERVICE)
    run = Lease(tmp_path, RUN)
    with pytest.raises(LeaseHeld, match="another `yolowatch run`"):
        require_free(tmp_path, RUN)
    run.release()
    require_free(tmp_path, RUN)
    service.release()


def test_nobody_is_asked_where_nobody_ever_was(tmp_path: Path) -> None:
    require_free(tmp_path, RUN)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        (sys.executable, "-c", HOLD, tmp_path, RUN), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(LeaseHeld, match=str(holder.pid)):
        require_free(tmp_path, RUN)
    holder.kill()
    holder.wait()
    require_free(tmp_path, RUN)


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / ".yolowatch").mkdir()
    victim = tmp_path / "victim"
    victim.write_text("kept")
    (tmp_path / ".yolowatch" / "run.lease").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        Lease(tmp_path, RUN)
    assert victim.read_text() == "kept"
