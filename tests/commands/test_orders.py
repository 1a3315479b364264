"""A live order on its whole way: decided, journaled, sent over the real socket, and on record.

The training is played, everything else is real; tests/trainers does it with real trainers.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.commands.door import PROGRAMS, Door

WIDENED = (sys.executable, str(PROGRAMS / "widened.py"))


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text("levers: [multi-scale]\nwiden_after_batches: 10\n")
    return path


def steps(door: Door) -> list[tuple[str, str]]:
    run = door.last_run()
    with door.open_journal() as journal:
        (plan,) = journal.plans(run.id)
    return [(each.name, each.state) for each in plan.steps if each.name.startswith("order")]


def test_a_narrowed_range_is_ordered_back(door: Door, policy: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    done = door("run", "--policy", policy, "--", *WIDENED, run_dir)
    assert done.returncode == 0, done.stderr
    ((kind, order, narrowed),) = map(
        json.loads, (run_dir / "orders.jsonl").read_text().splitlines()
    )
    assert (kind, order["id"], order["name"]) == ("order", 1, "multi_scale")
    assert round(640 * (1 + order["value"])) == narrowed + 32 < 960
    assert steps(door) == [("order 1", "intent"), ("order 1", "done")]
    receipt = door.receipts()[-1].body
    assert receipt["outcome"] == "finished"
    assert any("image sizes are again 0." in note for note in receipt["science"])
    assert f"ordered: sizes up to {narrowed + 32} px again" in done.stderr


@pytest.mark.slow
@pytest.mark.slice
def test_an_order_that_is_not_acknowledged_is_recorded(
    door: Door, policy: Path, tmp_path: Path
) -> None:
    done = door("run", "--policy", policy, "--", *WIDENED, tmp_path / "run", "--deaf")
    assert done.returncode == 0, done.stderr
    assert steps(door) == [("order 1", "intent"), ("order 1", "failed")]
    assert "was not acknowledged in 10 s" in done.stderr
