"""Memory that grows with the epochs, in a real training: a leak is named."""

from __future__ import annotations

import pytest

from tests.trainers.scene import PROGRAMS, Scene, make_images

pytestmark = [pytest.mark.trainers, pytest.mark.slow]


@pytest.mark.slice
def test_a_leak_is_named(scene: Scene) -> None:
    scene.data = make_images(scene.python, scene.root / "images", 32, 96)
    scene.environment["OMP_NUM_THREADS"] = "1"
    program, runs = PROGRAMS / "growing.py", scene.root / "runs"
    done = scene.run(
        scene.supervised((str(scene.python), str(program), str(scene.data), str(runs)))
    )
    assert done.returncode == 0, done.stdout[-3000:]
    shown = scene.shown()
    assert [each["kind"] for each in shown["incidents"]] == ["leak"], shown["incidents"]
    assert {each["outcome"] for each in shown["incidents"]} <= {"passed: the attempt ended"}
    assert len(shown["attempts"]) == 1, "what is seen of a living run is no remedy"
    assert shown["receipts"] == []
    for incident in shown["incidents"]:
        assert incident["sentence"] in done.stdout
