"""What can be foreseen does not happen: a range of sizes that does not fit is narrowed in time.

`bench/prevention.py` does it for many seeds; here one stands for them. Its sizes come from its seed
alone: the ninth batch is the first that would not fit.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.support.preventing import ROOT, Ground, Training, first_above

pytestmark = [pytest.mark.trainers, pytest.mark.slow]

NETWORK = str(ROOT / "bench" / "programs" / "networks" / "ultralytics-small.yaml")
# A batch so large that a step in size is several times what two processes differ by (50 MiB).
SIZE, BATCH, EPOCHS, SEED = 160, 16, 4, 19
BYTES_A_PIXEL = 780  # of this network, as it was measured
# The part of the step to the next size that is room: the first run, which makes the trainer's
# caches, takes a little more than the second, for which it is measured.
ROOM = 0.4


@pytest.mark.timeout(600)
def test_a_guarded_start_needs_no_restart(tmp_path: Path) -> None:
    assert first_above(SEED, SIZE, 1.2) == 8
    ground = Ground(tmp_path)
    plain = Training("ultralytics", BATCH, SIZE, EPOCHS, seed=SEED, model=NETWORK)
    fits = Training("ultralytics", BATCH, SIZE, EPOCHS, seed=SEED, model=NETWORK, largest=192)
    free = ground.train(fits, "free", mode="observe")
    assert free.status == 0, free.output[-3000:]
    assert max(free.sizes()) == 192
    step = BATCH * BYTES_A_PIXEL * (224**2 - 192**2)
    limited = Training(
        **{**vars(plain), "capacity": free.peak + int(step * ROOM)}  # 192 px fit, and 224 px do not
    )
    seen = ground.train(limited, "limited", "margin: 0.01\nguarded_start: true\n")
    assert seen.status == 0, seen.output[-3000:]
    assert seen.restarts == 0
    assert "the hook failed" not in seen.output
    levers = [each["levers"][0]["name"] for each in seen.shown["receipts"]]
    assert levers[0] == "guarded start"
    assert "multi-scale" in levers
    narrowed = next(i for i in seen.shown["incidents"] if i["kind"] == "foreseen-oom")
    assert narrowed["outcome"] == "prevented"
    assert len(seen.sizes()) == len(free.sizes()), "every batch was trained"
