"""Memory that grows with the epochs, in real trainings: a leak, and batches that become denser."""

from __future__ import annotations

import pytest

from tests.trainers.scene import PROGRAMS, Scene, make_images

pytestmark = [pytest.mark.trainers, pytest.mark.slow]


@pytest.mark.parametrize(
    ("how", "kind"),
    [pytest.param("leak", "leak", marks=pytest.mark.slice), ("dense", "dense-batches")],
)
def test_what_grows_is_named(how: str, kind: str, scene: Scene) -> None:
    scene.data = make_images(scene.python, scene.root / "images", 32, 96)
    scene.environment["OMP_NUM_THREADS"] = "1"
    program, runs = PROGRAMS / "growing.py", scene.root / "runs"
    done = scene.run(
        scene.supervised((str(scene.python), str(program), how, str(scene.data), str(runs)))
    )
    assert done.returncode == 0, done.stdout[-3000:]
    shown = scene.shown()
    assert [each["kind"] for each in shown["incidents"]] == [kind], shown["incidents"]
    assert {each["outcome"] for each in shown["incidents"]} <= {"passed: the attempt ended"}
    assert len(shown["attempts"]) == 1, "what is seen of a living run is no remedy"
    assert shown["receipts"] == []
    for incident in shown["incidents"]:
        assert incident["sentence"] in done.stdout
