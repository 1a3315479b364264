"""A real training on a GPU runs out of CUDA memory for real, and finishes by itself."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.gpu.machine import PROGRAMS, Gpu, epochs_of, said
from yolowatch.edges.clock import SystemClock
from yolowatch.edges.listener import Listener
from yolowatch.edges.stage import stage
from yolowatch.model.events import Event, HookGone, HookMessage

pytestmark = pytest.mark.gpu

# All of it ends within nine minutes, whatever hangs.
DEMO_SECONDS = 220.0
RUN_SECONDS = 140.0
PROGRAM_SECONDS = 50.0


def command(gpu: Gpu, images: Path, folder: Path) -> list[str | Path]:
    return [
        *(gpu.python, PROGRAMS / "capped_cuda.py"),
        *(images, folder / "runs", folder / "facts.jsonl"),
    ]


def told(folder: Path) -> list[dict[str, Any]]:
    """What the training program wrote down."""
    return [json.loads(line) for line in (folder / "facts.jsonl").read_text().splitlines()]


def in_evidence(receipt: Mapping[str, Any], name: str) -> bool:
    return any(fact.startswith(f"{name} ") for fact in receipt["verdict"]["evidence"])


def check_receipt(receipt: Mapping[str, Any], total_bytes: int) -> None:
    """It tells of a CUDA failure, with figures that are the allocator's."""
    verdict, plan = receipt["verdict"], receipt["plan"]
    assert verdict["kind"] == "cuda-oom"
    assert "CUDA out of memory" in verdict["sentence"]
    for name in ("requested", "allocated", "reserved", "capacity"):
        assert in_evidence(receipt, name), (name, verdict["evidence"])
    assert 0 < verdict["capacity_bytes"] < total_bytes / 2  # the process's part, not the device
    assert plan["capacity_bytes"] == verdict["capacity_bytes"]
    assert 0 < plan["predicted_peak_bytes"] <= plan["capacity_bytes"]
    user = receipt["user"]
    assert plan["edits"]["batch"] < user["batch"]
    assert plan["effective_batch"] == user["batch"] * user["accumulate"] == plan["edits"]["nbs"]
    assert receipt["resume"]["start"] == "resume"
    assert receipt["costs"]["epochs_kept"] >= 1


def test_the_demonstration(gpu: Gpu, record: dict[str, Any], tmp_path: Path) -> None:
    state, folder = tmp_path / "state", tmp_path / "demo"
    line = gpu.yolowatch(
        "demo", "--python", gpu.python, "--directory", folder, "--state-dir", state
    )
    began = time.monotonic()
    done = gpu.run(line, DEMO_SECONDS)
    assert done.returncode == 0, done.stdout[-6000:]
    runs = gpu.journal(state, "runs")
    shown = gpu.journal(state, "show", runs[0]["id"])  # the newest: the others calibrated
    assert 1 <= len(shown["receipts"]) <= 2, done.stdout[-6000:]
    for receipt in shown["receipts"]:
        check_receipt(receipt, gpu.facts["total_bytes"])
    assert shown["receipts"][-1]["outcome"] == "finished"
    assert epochs_of(Path(shown["run"]["run_dir"])) == [1, 2, 3, 4]
    record["demo"] = {
        "seconds": round(time.monotonic() - began, 1),
        "costs": [receipt["costs"] for receipt in shown["receipts"]],
        "sentences": [receipt["verdict"]["sentence"] for receipt in shown["receipts"]],
    }


def test_a_program_of_the_users(
    gpu: Gpu, images: Path, record: dict[str, Any], tmp_path: Path
) -> None:
    state = tmp_path / "state"
    line = gpu.yolowatch("run", "--state-dir", state, "--", *command(gpu, images, tmp_path))
    done = gpu.run(line, RUN_SECONDS)
    assert done.returncode == 0, done.stdout[-6000:]
    (run,) = gpu.journal(state, "runs")
    shown = gpu.journal(state, "show", run["id"])
    (receipt,) = shown["receipts"]
    check_receipt(receipt, gpu.facts["total_bytes"])
    assert receipt["resume"]["epoch"] == 0
    assert epochs_of(tmp_path / "runs" / "run") == [1, 2, 3]

    first, failure, second = told(tmp_path)
    limit = int((tmp_path / "facts.limit").read_text())
    assert receipt["verdict"]["capacity_bytes"] == pytest.approx(limit, rel=0.02)
    assert failure["reserved"] <= limit * 1.001
    assert second["batch"] < first["batch"]
    assert second["batch"] * second["accumulate"] == first["batch"] * first["accumulate"]
    assert second["decay"] == first["decay"]
    assert second["save_dir"] == first["save_dir"]
    assert second["start_epoch"] == 1
    record["run"] = {"costs": receipt["costs"], "sentence": receipt["verdict"]["sentence"]}


class Heard:
    """A listener that keeps what it hears, and the environment of a training that speaks to it."""

    def __init__(self, folder: Path) -> None:
        self.events: list[Event] = []
        state = folder / "state"
        state.mkdir(mode=0o700)
        self.stage = stage(state).path
        uids = frozenset({os.getuid()})
        self.listener = Listener(folder / "socket", self._keep, uids=uids, clock=SystemClock())
        self.listener.start()

    def _keep(self, event: Event) -> bool:
        self.events.append(event)
        return True

    def environment(self, gpu: Gpu) -> dict[str, str]:
        return {
            "PYTHONPATH": f"{self.stage}{os.pathsep}{gpu.environment['PYTHONPATH']}",
            "YOLOWATCH_SOCKET": str(self.listener.path),
        }

    def messages(self, kind: str) -> list[Mapping[str, Any]]:
        """All messages of a kind, once the training's connection has come to its end."""
        deadline = time.monotonic() + 10
        while not any(isinstance(event, HookGone) for event in list(self.events)):
            assert time.monotonic() < deadline, "the hook never connected, or is still there"
            time.sleep(0.05)
        heard = [event for event in list(self.events) if isinstance(event, HookMessage)]
        return [told for message in heard if message.kind == kind for told in message.told]


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[Heard]:
    heard = Heard(tmp_path)
    yield heard
    heard.listener.close()


def test_the_last_words_carry_what_the_allocator_says(
    gpu: Gpu, images: Path, heard: Heard, tmp_path: Path
) -> None:
    done = gpu.run(command(gpu, images, tmp_path), PROGRAM_SECONDS, heard.environment(gpu))
    assert done.returncode == 1, done.stdout[-4000:]
    first, failure = told(tmp_path)
    limit = int((tmp_path / "facts.limit").read_text())
    early, final = heard.messages("last_words")
    assert (early["handled"], final["handled"]) == (True, False)
    for words in (early, final):
        assert words["exception"].endswith("OutOfMemoryError")
        assert words["text"].startswith("CUDA out of memory. Tried to allocate ")
        assert words["allocated_bytes"] == pytest.approx(failure["allocated"], rel=0.01)
        assert (
            words["allocated_bytes"] <= words["reserved_bytes"] <= words["capacity_bytes"] * 1.001
        )
        assert words["capacity_bytes"] == pytest.approx(limit, rel=0.01)
        assert words["requested_bytes"] > 0
        assert words["device_free_bytes"] > 0
        assert words["ooms"] == failure["ooms"] >= 1
        assert words["phase"] in ("forward", "loss", "backward")
        assert (words["epoch"], words["batch"]) == (1, first["batch"])
    samples = heard.messages("sample")
    assert samples[-1]["faults"] == 0, heard.messages("fault")
    exact = [
        item
        for message in heard.messages("footprints")
        for item in message["items"]
        if item[0] == "backward" and item[7]
    ]
    assert exact, "the allocator's own peak rose in a batch"


def test_the_hook_never_initialises_cuda_and_reads_it_right(
    gpu: Gpu, heard: Heard, record: dict[str, Any]
) -> None:
    program = [gpu.python, PROGRAMS / "hook_on_cuda.py"]
    bare = said(gpu.run(program, PROGRAM_SECONDS).stdout)
    done = gpu.run(program, PROGRAM_SECONDS, heard.environment(gpu))
    assert done.returncode == 0, done.stdout[-4000:]
    hooked = said(done.stdout)
    assert hooked["initialized"] == bare["initialized"]
    read = hooked["read"]
    assert hooked["name"] == "cuda:0"
    assert read["allocated_bytes"] == hooked["allocated"]
    assert read["reserved_bytes"] == hooked["reserved"]
    assert read["peak_bytes"] == hooked["peak"] > hooked["allocated"]
    # Others may use the device meanwhile.
    assert read["capacity_bytes"] == pytest.approx(hooked["reachable"], rel=0.05)
    assert (read["retries"], read["ooms"]) == (0, 0)
    assert hooked["capacity_at_one_percent"] == pytest.approx(hooked["total"] / 100, rel=0.001)
    assert hooked["faults"] == 0
    record["allocator_us"] = {key: hooked[f"{key}_us"] for key in ("used", "peak", "read")}
