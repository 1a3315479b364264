"""From the command line to the receipt: a played training on the real socket runs out of memory.

Only the training is played; supervisor, socket, journal, vault, files and processes are real.
tests/trainers does the same with a real trainer.
"""

from __future__ import annotations

import hashlib
import json
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.commands.door import PUPPET, Door, no_reader, until

ORIGINAL = "task: detect\nbatch: 16\nnbs: 64\nweight_decay: 0.0005\n"


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "my  'train"


def edits(run_dir: Path, attempt: int) -> dict[str, object]:
    return dict(json.loads((run_dir / f"attempt-{attempt}.json").read_text())["edits"])


def epochs(run_dir: Path) -> list[str]:
    return [line.split(",")[0] for line in (run_dir / "results.csv").read_text().splitlines()[1:]]


def test_a_run_that_ran_out_of_memory_finishes(door: Door, run_dir: Path) -> None:
    done = door("run", "--", *PUPPET, run_dir)
    assert (done.returncode, done.stdout) == (0, "")
    assert edits(run_dir, 1)["batch"] == 8
    assert edits(run_dir, 1)["checkpoint"] == str(run_dir / "weights" / "last.pt")
    assert epochs(run_dir) == ["1", "2"]
    assert "batch: 8" in (run_dir / "args.yaml").read_text()
    said = [line for line in done.stderr.splitlines() if line.startswith("yolowatch: ")]
    for part, line in zip(
        ["watching run", "CPU out of memory in backward", "plan: batch 16", "attempt 1 resumed",
         "finished: the run ran out of memory once and was healed"],
        said,
        strict=True,
    ):  # fmt: skip
        assert part in line
    assert "\nReceipt " in done.stderr
    run = door.last_run()
    assert (run.status, run.outcome, run.run_dir) == (0, "finished, healed", str(run_dir))
    shown = door("show", run.id[:5]).stdout
    assert "attempt 0: cpu-oom, epochs up to 1\n" in shown
    assert "attempt 1: finished, epochs up to 2\n" in shown
    assert done.stderr[done.stderr.index("\nReceipt ") :].strip() in shown, "the same page"
    document = door.json("show", run.id)
    (receipt,) = document["receipts"]
    assert (receipt["outcome"], receipt["plan"]["edits"]["batch"]) == ("finished", 8)
    assert [incident["outcome"] for incident in document["incidents"]] == ["healed"]


def test_the_undo_line_of_the_page_undoes_it(door: Door, run_dir: Path) -> None:
    page = door("run", "--", *PUPPET, run_dir).stderr
    (line,) = re.findall(r"^undo +(cp -p .+)$", page, re.M)
    subprocess.run(["sh", "-c", line], check=True)
    assert (run_dir / "args.yaml").read_text() == ORIGINAL


def test_no_secret_of_the_environment_is_kept(door: Door, run_dir: Path) -> None:
    secret = "planted-7f3a9c"
    door.environment |= {"TOKEN": secret, "AWS_SECRET_ACCESS_KEY": secret}
    done = door("run", "--", *PUPPET, run_dir)
    assert done.returncode == 0
    for attempt in (0, 1):  # but the training has it, also when it is started again
        told = json.loads((run_dir / f"attempt-{attempt}.json").read_text())
        assert told["secret"] == hashlib.sha256(secret.encode()).hexdigest()
    places = [path for root in (door.home, run_dir) for path in root.rglob("*") if path.is_file()]
    assert door.journal in places
    assert len(places) > 20, "the staged hook and the vault are among them"
    assert [path for path in places if secret.encode() in path.read_bytes()] == []
    assert secret not in done.stderr + door("show", door.last_run().id, "--json").stdout


@pytest.mark.parametrize("mode", ["observe", "recommend"])
def test_the_other_modes_change_nothing(door: Door, run_dir: Path, mode: str) -> None:
    done = door("run", "--mode", mode, "--", *PUPPET, run_dir)
    assert done.returncode == 1
    assert f"mode {mode}: nothing is changed" in done.stderr
    assert (run_dir / "args.yaml").read_text() == ORIGINAL
    assert not (run_dir / "attempt-1.json").exists()
    assert ("plan: batch 16" in done.stderr) == (mode == "recommend")


def test_a_run_that_never_fits_ends_with_its_files_as_they_were(door: Door, run_dir: Path) -> None:
    done = door("run", "--", *PUPPET, run_dir, "--always")
    assert done.returncode == 1
    batches = [edits(run_dir, attempt)["batch"] for attempt in (1, 2, 3)]
    assert batches == [8, 4, 2]
    assert not (run_dir / "attempt-4.json").exists()
    assert "The run makes no progress: the last 3 attempts" in done.stderr
    assert (run_dir / "args.yaml").read_text() == ORIGINAL
    assert done.stderr.count("\nReceipt ") == 3


def test_a_failure_that_the_program_handled_is_not_touched(door: Door, run_dir: Path) -> None:
    done = door("run", "--", *PUPPET, run_dir, "--handled")
    assert done.returncode == 1
    assert "not restarted: Nothing is changed: The program itself handled" in done.stderr
    assert not (run_dir / "attempt-1.json").exists()


def test_a_training_in_a_script_is_not_started_again(door: Door, run_dir: Path) -> None:
    script = f'"$@"; echo "status $?" >> {run_dir.parent}/log; exit 3'
    done = door("run", "--", "sh", "-c", script, "sh", *PUPPET, run_dir)
    assert done.returncode == 3
    assert "was started by another program" in done.stderr
    assert (run_dir.parent / "log").read_text() == "status 1\n", "the script ran once"


def test_a_run_is_healed_though_nobody_reads_what_is_said(door: Door, run_dir: Path) -> None:
    with no_reader() as nowhere:
        done = door("run", "--", *PUPPET, run_dir, stderr=nowhere)
    assert done.returncode == 0
    assert door.last_run().outcome == "finished, healed"


def test_a_signal_reaches_the_restarted_training(door: Door, run_dir: Path) -> None:
    process = door.start(
        "run", "--", *PUPPET, run_dir, "--wait", run_dir / "never", stderr=subprocess.DEVNULL
    )
    until((run_dir / "attempt-1.json").exists)
    until(door.receipts)
    process.terminate()
    assert process.wait(20) == 128 + signal.SIGTERM
    assert door.last_run().outcome == "interrupted"
    assert epochs(run_dir) == ["1"]


def test_a_chatty_grandchild_that_holds_the_socket_only_delays_it(
    door: Door, run_dir: Path
) -> None:
    done = door("run", "--", *PUPPET, run_dir, "--grandchild")
    assert done.returncode == 0
    assert door.last_run().outcome == "finished, healed"


def test_an_internal_error_in_the_middle_of_a_plan_ends_the_run_with_its_files_as_they_were(
    door: Door, run_dir: Path
) -> None:
    program = """
import sys
from yolowatch.commands.main import main
from yolowatch.hands.launching import Launcher
Launcher.wait_for_memory = lambda *_: 1 / 0
sys.exit(main(sys.argv[1:]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, "run", "--", *PUPPET, run_dir],
        env=door.variables(), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1, "the training's own"
    assert "ZeroDivisionError" in done.stderr
    assert "abandoned: wait: an internal error ended the thread executor" in done.stderr
    assert (run_dir / "args.yaml").read_text() == ORIGINAL


def test_metrics_are_served_while_it_runs(door: Door, run_dir: Path) -> None:
    go = run_dir / "go"
    process = door.start(
        "run", "--metrics", "127.0.0.1:0", "--", *PUPPET, run_dir, "--wait", go,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    told = process.stderr.readline() + process.stderr.readline()
    (url,) = re.findall(r"yolowatch: metrics on (http://127\.0\.0\.1:\d+/metrics)", told)
    until((run_dir / "attempt-1.json").exists)
    run = door.last_run().id

    def scrape() -> dict[str, float]:
        with urllib.request.urlopen(url, timeout=10) as answer:
            families = text_string_to_metric_families(answer.read().decode())
            return {
                sample.name: sample.value
                for family in families
                for sample in family.samples
                if sample.labels.get("run", run) == run
            }

    until(lambda: scrape().get("yolowatch_attempts_total") == 2)
    until(lambda: scrape().get("yolowatch_run_batch_size") == 8)
    until(lambda: "yolowatch_capacity_bytes" in scrape())
    found = scrape()
    assert found["yolowatch_capacity_bytes"] == 1 << 30
    assert found["yolowatch_run_batch_size"] == 8
    assert found["yolowatch_checkpoints_vaulted_total"] == 1
    go.touch()
    process.communicate(timeout=20)
    assert process.returncode == 0


def test_what_lies_there_from_an_earlier_training_is_not_resumed(door: Door, run_dir: Path) -> None:
    """The same directory again, as with `exist_ok=True`: this run fails before it has saved."""
    assert door("run", "--", *PUPPET, run_dir).returncode == 0
    done = door("run", "--", *PUPPET, run_dir, "--early")
    assert done.returncode == 0
    assert edits(run_dir, 1) | {"start": "afresh", "checkpoint": None} == edits(run_dir, 1)
    assert "attempt 1 started afresh (this run has saved no checkpoint yet)" in done.stderr
