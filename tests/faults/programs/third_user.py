"""A real training of one user, healed by a core of another through the helper, which is root.

third_user.py TRAINER_PYTHON; alone in a mount namespace in which every user can reach that Python.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.faults.scene import Miniature, check_each_epoch_once
from tests.hands.helping import Hands, helper
from tests.hands.strangers import GID, UID, end, home, settle, stranger
from yolowatch.edges.proc import is_alive
from yolowatch.model.actions import Remediation, RunStep
from yolowatch.model.events import StepDone
from yolowatch.model.plan import Edits, Plan
from yolowatch.model.run import RunSpec

STEPS = ("stop", "vault", "rewrite", "wait", "relaunch")

with helper() as running, home() as place:
    scene = Miniature(place, Path(sys.argv[1]), place / "data.yaml")
    scene.environment["HOME"] = str(place)
    subprocess.run(["chown", "-R", f"{UID}:{GID}", str(place)], check=True)
    log, core = place / "train.log", Hands(running)
    with stranger(
        scene.training(), place, log=log, environment=scene.environment, odd=False
    ) as begun:
        settle(lambda: scene.last.exists() or begun.popen.poll() is not None, 120)
        assert begun.popen.poll() is None, log.read_text()
        print(core.hands.capture("r1", begun.key).argv[1:])
        assert begun.popen.wait(120) == 1, log.read_text()
    assert "can't allocate memory" in log.read_text()
    (first,) = scene.trained("start")
    batch = first["batch"] // 4
    plan = Plan("incident", 1, Edits(batch=batch, nbs=64), (), None, None, 0.05, "too large")
    run_dir = str(scene.run_dir)
    user = RunSpec(
        "yolov5", entry="command", batch=first["batch"], nbs=64, epochs=3, run_dir=run_dir
    )
    order = Remediation("p1", plan, user, 0, run_dir, str(scene.last), True, (begun.key,))
    resume = process = None
    for step in STEPS:
        done = core.hands.step("r1", RunStep(order, step, resume))
        assert isinstance(done, StepDone), done
        print(step, done.detail)
        resume = done.result.get("resume", resume)
        process = done.result.get("process", process)
    assert process is not None
    try:
        settle(lambda: is_alive(process) is False, 120)
    finally:
        end(process)
    if not scene.trained("end"):
        print(log.read_text())
    check_each_epoch_once(scene)
    assert all(path.stat().st_uid == UID for path in scene.run_dir.rglob("*"))
    print("finished with a batch of", scene.trained("start")[-1]["batch"], "as", UID)
    core.hands.close()
