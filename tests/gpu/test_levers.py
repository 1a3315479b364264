"""Levers on a real GPU: in force, with less memory, and a validation that is healed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.gpu.machine import PROGRAMS, Gpu, epochs_of, said
from tests.gpu.test_out_of_memory import RUN_SECONDS, Heard

pytestmark = pytest.mark.gpu

LEVER_SECONDS = 60.0


def trained(gpu: Gpu, images: Path, folder: Path, **edits: Any) -> tuple[int, dict[str, Any]]:
    """(peak in bytes, last description) of one epoch with these edits."""
    folder.mkdir()
    heard = Heard(folder)
    environment = heard.environment(gpu)
    if edits:
        afresh = {"start": "afresh", "run_dir": str(folder / "runs" / "run"), **edits}
        environment["YOLOWATCH_EDITS"] = json.dumps(afresh)
    try:
        program = [gpu.python, PROGRAMS / "short.py", images, folder / "runs", "1"]
        done = gpu.run(program, LEVER_SECONDS, environment)
        assert done.returncode == 0, done.stdout[-4000:]
        assert heard.messages("fault") == []
        return said(done.stdout)["peak"], dict(heard.messages("run")[-1])
    finally:
        heard.listener.close()


def test_levers_are_in_force_and_take_less(
    gpu: Gpu, images: Path, record: dict[str, Any], tmp_path: Path
) -> None:
    plain, spec = trained(gpu, images, tmp_path / "plain")
    assert (spec["precision"], spec["checkpointed"]) == ("fp32", 0)
    mixed = spec["autocast"]
    assert mixed in ("bf16", "fp16")
    checkpointed, spec = trained(gpu, images, tmp_path / "checkpointed", checkpointing=True)
    assert spec["checkpointed"] == spec["checkpointable"] > 0
    halved, spec = trained(gpu, images, tmp_path / "mixed", amp=mixed)
    assert spec["precision"] == mixed
    record["levers"] = {"plain": plain, "checkpointing": checkpointed, mixed: halved}
    assert checkpointed < 0.85 * plain
    assert halved < 0.85 * plain


def test_segments_expand_where_they_are_asked_to(gpu: Gpu, images: Path, tmp_path: Path) -> None:
    heard = Heard(tmp_path)
    environment = heard.environment(gpu)
    environment["PYTORCH_CUDA_ALLOC_CONF"] = "expandable_segments:True"
    program = [gpu.python, PROGRAMS / "short.py", images, tmp_path / "runs", "1"]
    try:
        done = gpu.run(program, LEVER_SECONDS, environment)
        assert done.returncode == 0, done.stdout[-4000:]
        assert said(done.stdout)["expandable"] is True
        assert heard.messages("run")[-1]["allocator"] == "expandable_segments:True"
    finally:
        heard.listener.close()


def test_a_failed_validation_loses_nothing(
    gpu: Gpu, images: Path, record: dict[str, Any], tmp_path: Path
) -> None:
    state = tmp_path / "state"
    program = (gpu.python, PROGRAMS / "short.py", images, tmp_path / "runs", "3")
    line = gpu.yolowatch("run", "--state-dir", state, "--", *program)
    done = gpu.run(line, RUN_SECONDS, {"ROOM": "120"})
    assert done.returncode == 0, done.stdout[-6000:]
    (run,) = gpu.journal(state, "runs")
    receipt = gpu.journal(state, "show", run["id"])["receipts"][0]
    assert (receipt["verdict"]["kind"], receipt["verdict"]["where"]) == ("cuda-oom", "validation")
    assert [use["name"] for use in receipt["levers"]] == ["validation batch"]
    assert receipt["resume"]["emergency"]["complete"] is True
    assert receipt["costs"]["steps_lost"] == 0
    assert epochs_of(tmp_path / "runs" / "run") == [1, 2, 3]
    record["validation"] = {"costs": receipt["costs"], "sentence": receipt["verdict"]["sentence"]}
