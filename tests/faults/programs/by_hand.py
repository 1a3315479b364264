"""The whole story without a launcher: a user trains by hand, and a daemon comes afterwards.

    by_hand.py TRAINER_PYTHON IMAGES

The daemon finds the training, brings it the hook, sees it run out of memory, resumes it as that
user, and it finishes. As root, alone in namespaces for mounts and processes, in which every user
can reach that Python and /run is the daemon's own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.hands.strangers import GID, UID, home, settle, stranger
from tests.trainers.scene import REPOSITORY, Scene
from yolowatch.edges.journal import Journal
from yolowatch.edges.proc import owner

CONFIGURATION = f"""
mode: recommend
metrics: none
attach: safe
others_grace_seconds: 0
users:
  - uid: {UID}
    mode: auto
"""
LIMITING = REPOSITORY / "tests" / "trainers" / "limiting.py"


def log_of(folder: Path) -> str:
    return (folder / "daemon.log").read_text()


with home() as place, home(0, 0) as mine:
    scene = Scene(place, Path(sys.argv[1]), Path(sys.argv[2]))
    site = place / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(LIMITING.read_text())
    scene.environment |= {
        "PYTHONPATH": str(site),
        "HOME": str(place),
        "YOLO_CONFIG_DIR": str(place),
        "LIMIT_FILE": str(place / "limit"),
        "OMP_NUM_THREADS": "1",
    }
    subprocess.run(["chown", "-R", f"{UID}:{GID}", str(place)], check=True)
    (mine / "yolowatch.yaml").write_text(CONFIGURATION)
    command = scene.yolo("imgsz=96", "batch=16", "epochs=2", "seed=1")
    log, state = place / "train.log", mine / "state"
    with stranger(command, place, log=log, environment=scene.environment, odd=False) as begun:
        settle(lambda: "Starting training" in log.read_text(errors="replace"), 120)
        helper = (
            *(sys.executable, "-m", "yolowatch.hands.helper", "--core-user", "0"),
            *("--socket", mine / "helper.sock", "--hook-socket", "/run/yolowatch/hook.sock"),
            *("--state-dir", mine / "private", "--stage-dir", "/run/yolowatch-stage"),
        )
        daemon = (
            *(sys.executable, "-m", "yolowatch", "daemon", "--helper", mine / "helper.sock"),
            *("--config", mine / "yolowatch.yaml", "--state-dir", state),
        )
        with (mine / "daemon.log").open("w") as output:
            hands = subprocess.Popen(helper, cwd=REPOSITORY, stdout=output, stderr=output)
            settle((mine / "helper.sock").exists)
            service = subprocess.Popen(daemon, cwd=REPOSITORY, stdout=output, stderr=output)
        try:
            settle(lambda: begun.popen.poll() is not None, 240)
            assert "adopted process" in log_of(mine), log_of(mine)

            def resumed() -> set[int]:
                """The users of what trains there now."""
                pids = map(int, filter(str.isdigit, os.listdir("/proc")))
                lines = {pid: Path(f"/proc/{pid}/cmdline") for pid in pids}
                found = set()
                for pid, line in lines.items():
                    try:
                        words = line.read_bytes()
                    except OSError:
                        continue
                    if os.fsencode(scene.root / "runs") in words:
                        found.add(owner(pid) or 0)
                return found

            settle(lambda: bool(resumed()), 60)
            assert resumed() <= {UID}

            def outcome() -> str | None:
                with Journal(state / "journal.sqlite") as journal:
                    return next((run.outcome for run in journal.runs() if run.ended), None)

            settle(lambda: outcome() is not None, 240)
            assert outcome() == "finished, healed", log_of(mine)
        finally:
            service.terminate()
            service.wait(30)
            hands.terminate()
            hands.wait(30)
            print(log_of(mine))
    assert scene.epochs() == [1, 2], log.read_text(errors="replace")
    assert all(path.stat().st_uid == UID for path in scene.run_dir.rglob("*"))
    print("started by hand, healed, finished as", UID)
