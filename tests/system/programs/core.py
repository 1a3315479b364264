"""An unprivileged core: asks the helper to heal one fake training, step by step.

core.py PID RUN_DIRECTORY; prints the pid of what was started.
"""

import sys
from pathlib import Path

from yolowatch.edges.nvml import NoNvml
from yolowatch.edges.proc import process_key
from yolowatch.hands.helper.client import HelperHands
from yolowatch.model.actions import Remediation, RunStep
from yolowatch.model.events import StepDone
from yolowatch.model.plan import Edits, Plan, Policy
from yolowatch.model.run import RunSpec

pid, run_dir = int(sys.argv[1]), sys.argv[2]
hands = HelperHands(
    Path("/run/yolowatch-helper.sock"),
    lambda run: Policy(kill_grace_seconds=5.0),
    NoNvml("no driver"),
    lambda run, event: True,
    grace_seconds=lambda: 0.0,
)
key = process_key(pid)
assert key is not None
print(hands.capture("r1", key), file=sys.stderr)
plan = Plan("incident", 1, Edits(batch=8, nbs=64), (), None, None, 0.05, "it did not fit")
user = RunSpec("ultralytics", entry="script", batch=16, nbs=64, run_dir=run_dir)
last = f"{run_dir}/weights/last.pt"
order = Remediation("p1", plan, user, 0, run_dir, last, True, (key,))
resume = process = None
for step in ("stop", "vault", "rewrite", "wait", "relaunch"):
    done = hands.step("r1", RunStep(order, step, resume))
    assert isinstance(done, StepDone), done
    resume = done.result.get("resume", resume)
    process = done.result.get("process", process)
assert process is not None
print(process.pid)
