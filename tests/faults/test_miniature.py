"""The miniature is a real training: it fails for real, and is healed by what heals the large ones.

What the other tests of faults rest on.
"""

from __future__ import annotations

import zipfile

import pytest

from tests.faults.scene import EPOCHS, Miniature, check_each_epoch_once
from yolowatch.edges.checkpoints import inspect
from yolowatch.trainers.checkpoint import read_facts

pytestmark = [pytest.mark.faults, pytest.mark.slice]


def test_it_fails_is_resumed_once_and_finishes(scene: Miniature) -> None:
    done = scene.run(scene.supervised(scene.training()))
    assert done.returncode == 0, done.stdout[-3000:]
    assert "the hook failed" not in done.stdout
    check_each_epoch_once(scene)
    shown = scene.shown()
    assert shown["run"]["trainer"] == "yolov5"
    assert [each["outcome"] for each in shown["attempts"]] == ["cpu-oom", "finished"]
    receipt = shown["receipts"][-1]
    assert (receipt["resume"]["start"], receipt["resume"]["epoch"]) == ("resume", 0)
    assert receipt["costs"]["epochs_kept"] == 1
    first, last = scene.trained("start")
    assert (first["epoch"], last["epoch"]) == (0, 1)
    assert last["batch"] < first["batch"]


def test_it_fails_in_the_epoch_that_is_chosen(scene: Miniature) -> None:
    done = scene.run(scene.training(), {"FROM_EPOCH": "2"})
    assert done.returncode == 1
    assert "DefaultCPUAllocator: can't allocate memory" in done.stdout
    assert [line["epoch"] for line in scene.trained("epoch")] == [0, 1]
    report = inspect(scene.last)
    assert report.valid
    assert report.facts is not None
    facts = read_facts(report.facts)
    assert facts.epoch == 1
    assert facts.keys == (
        *("epoch", "best_fitness", "model", "ema", "updates", "optimizer", "opt", "git", "date"),
    )


def test_alone_it_finishes_and_leaves_what_cannot_be_resumed(scene: Miniature) -> None:
    scene.unlimited()
    assert scene.run(scene.training()).returncode == 0
    check_each_epoch_once(scene, attempts=1)
    with zipfile.ZipFile(scene.last) as archive:
        assert archive.testzip() is None
    report = inspect(scene.last)
    assert report.facts is not None
    assert read_facts(report.facts).epoch == -1
    again = scene.run((*scene.training()[:2], "--resume", str(scene.last)))
    assert again.returncode != 0
    assert len(scene.trained("epoch")) == EPOCHS
