"""The main job with a real trainer and a real failure: it fails, is healed, and finishes."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import pytest

from tests import environments
from tests.trainers.scene import Scene, make_images

pytestmark = pytest.mark.trainers


@pytest.fixture(scope="session")
def many_images(trainer_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_images(trainer_python, tmp_path_factory.mktemp("many"), 128)


@pytest.mark.parametrize(
    ("batch", "effective"),
    [
        (24, 72),
        pytest.param(48, 48, marks=[pytest.mark.slow, pytest.mark.slice]),
        pytest.param(16, 64, marks=[pytest.mark.slow, pytest.mark.slice]),
        pytest.param(128, 128, marks=pytest.mark.slow),
    ],
)
def test_effective_batch_and_weight_decay_stay(
    trainer_python: Path, many_images: Path, tmp_path: Path, batch: int, effective: int
) -> None:
    scene = Scene(tmp_path, trainer_python, many_images)
    # Large enough that what a save needs is small beside it.
    size = 128 if batch < 24 else 64
    done = scene.run(scene.supervised(scene.capped(batch=batch, imgsz=size)))
    assert done.returncode == 0, done.stdout[-3000:]

    first, *later = scene.facts()
    last = later[-1]
    assert 1 <= len(later) <= 2
    assert first["batch"] == batch
    assert first["batch"] * first["accumulate"] == effective
    assert last["batch"] < batch
    assert last["batch"] * last["accumulate"] == effective
    assert last["nbs"] == effective
    # What the optimizer applies, exactly. What the trainer computes from its configuration may be
    # a rounding away: for 48 no floating-point number times 48 over 48 gives the same bits.
    assert last["decay"] == first["decay"]
    difference = abs(last["configured_decay"] - first["configured_decay"])
    assert difference <= math.ulp(first["configured_decay"])
    assert last["optimizer"] == first["optimizer"]
    assert last["start_epoch"] == 1
    assert scene.epochs() == [1, 2, 3]

    receipt = scene.shown()["receipts"][-1]
    assert receipt["outcome"] == "finished"
    assert receipt["verdict"]["kind"] == "cpu-oom"
    assert receipt["plan"]["effective_batch"] == effective
    assert receipt["costs"]["epochs_kept"] == 1
    assert receipt["costs"]["seconds_lost"] > 0


@pytest.mark.slow
@pytest.mark.slice
def test_the_effective_batch_is_the_users_though_the_trainer_halved_its_own(
    trainer_python: Path, many_images: Path, tmp_path: Path
) -> None:
    """Ultralytics answers 48 with 24, of which it accumulates 3: its effective batch became 72."""
    scene = Scene(tmp_path, trainer_python, many_images)
    done = scene.run(scene.supervised(scene.capped(batch=48, retried=True)))
    assert done.returncode == 0, done.stdout[-3000:]
    assert "the trainer ran out of memory at batch 48 and retries by itself" in done.stdout
    last = scene.facts()[-1]
    assert last["batch"] < 24
    assert last["batch"] * last["accumulate"] == 48
    # The checkpoint is of an epoch that the trainer trained with 72; what counts is the user's.
    assert math.isclose(last["decay"], 0.0005 * 48 / 64, rel_tol=1e-12)
    receipt = scene.shown()["receipts"][0]
    assert receipt["user"]["batch"] == 48
    assert any("the trainer itself had reduced the batch" in note for note in receipt["science"])
    assert scene.epochs() == [1, 2, 3]


@pytest.mark.slow
@pytest.mark.parametrize(
    "release", [pytest.param("ultralytics-8.2", marks=pytest.mark.slice), "ultralytics-8.3"]
)
def test_an_earlier_release_is_healed(release: str, many_images: Path, tmp_path: Path) -> None:
    scene = Scene(tmp_path, environments.trainer_python(release), many_images)
    scene.environment |= environments.trainer_variables(tmp_path)
    done = scene.run(scene.supervised(scene.capped(batch=24, model="yolov8n.yaml")))
    assert done.returncode == 0, done.stdout[-3000:]
    first, *later = scene.facts()
    assert later[-1]["batch"] < first["batch"] == 24
    assert later[-1]["batch"] * later[-1]["accumulate"] == first["batch"] * first["accumulate"]
    assert later[-1]["decay"] == first["decay"]
    assert scene.epochs() == [1, 2, 3]
    version = scene.shown()["receipts"][-1]["user"]["trainer_version"]
    assert version.startswith(release.partition("-")[2] + ".")


@pytest.mark.slow
@pytest.mark.slice
def test_a_failed_process_that_hangs_is_ended_and_the_run_goes_on(scene: Scene) -> None:
    """It hangs at exit and ignores SIGTERM: after both graces it is killed."""
    policy = scene.root / "policy.yaml"
    policy.write_text("exit_grace_seconds: 3\nkill_grace_seconds: 2\n")
    # Large enough that a batch takes much more than threads and libraries do.
    command = scene.capped(batch=16, imgsz=128, hung=True)
    done = scene.run(scene.supervised(command, "--policy", str(policy)))
    assert done.returncode == 0, done.stdout[-3000:]
    term = "the failed process has not ended 3 s after its last words: SIGTERM"
    assert done.stdout.index(term) < done.stdout.index("it did not end on SIGTERM: SIGKILL")
    *failed, last = (each["outcome"] for each in scene.shown()["attempts"])
    assert set(failed) == {"cpu-oom"}
    assert last == "finished"
    assert all(receipt["costs"]["exit_seconds"] >= 5 for receipt in scene.shown()["receipts"])
    assert scene.epochs() == [1, 2, 3]


def test_the_yolo_command_resumes_and_the_file_tells_the_truth(scene: Scene) -> None:
    """The `yolo` command itself, made to fail by a hostile sitecustomize that limits its memory.

    The directory of its runs is a link to one with spaces and other letters in its name.
    """
    (scene.root / "Läufe am Freitag").mkdir()
    (scene.root / "runs").symlink_to(scene.root / "Läufe am Freitag")
    hook = scene.root / "site"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text((Path(__file__).parent / "limiting.py").read_text())
    # Large enough that what a save needs is small beside it: else every save fails once more.
    done = scene.run(
        scene.supervised(scene.yolo("batch=16", "epochs=3", "imgsz=160")),
        {"PYTHONPATH": str(hook), "LIMIT_FILE": str(scene.root / "limit")},
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert scene.epochs() == [1, 2, 3]
    receipts = scene.shown()["receipts"]
    first, receipt = receipts[0], receipts[-1]  # mostly one and the same
    assert receipt["user"]["entry"] == "command"
    batch = receipt["plan"]["edits"]["batch"]
    arguments = (scene.run_dir / "args.yaml").read_text()
    assert f"\nbatch: {batch}\n" in arguments
    assert "\nnbs: 64\n" in arguments
    change = next(each for each in first["files"] if each["path"].endswith("args.yaml"))
    original = Path(change["copy"]).read_bytes()
    assert hashlib.sha256(original).hexdigest() == change["before"]
    assert b"\nbatch: 16\n" in original


@pytest.mark.slow
@pytest.mark.slice
def test_a_truncated_checkpoint_is_never_resumed_from(scene: Scene) -> None:
    # Large enough that what a save needs is small beside it.
    done = scene.run(scene.supervised(scene.capped(batch=16, imgsz=128, truncate=True)))
    assert done.returncode == 0, done.stdout[-3000:]
    # The first: a second one, should it be needed, finds the copy in its place.
    receipt = scene.shown()["receipts"][0]
    assert "the copy in the vault took its place" in receipt["resume"]["reason"]
    assert scene.facts()[-1]["start_epoch"] == 1
    assert scene.epochs() == [1, 2, 3]


@pytest.mark.slow
@pytest.mark.slice
def test_before_any_checkpoint_the_run_begins_afresh_in_its_directory(
    trainer_python: Path, many_images: Path, tmp_path: Path
) -> None:
    scene = Scene(tmp_path, trainer_python, many_images)
    # Large enough that what a save needs is small beside it.
    done = scene.run(scene.supervised(scene.capped(batch=32, imgsz=128, after_batches=1)))
    assert done.returncode == 0, done.stdout[-3000:]
    receipt = scene.shown()["receipts"][-1]
    assert receipt["resume"]["start"] == "afresh"
    assert {fact["save_dir"] for fact in scene.facts()} == {str(scene.run_dir)}
    assert scene.facts()[-1]["start_epoch"] == 0
    assert scene.epochs() == [1, 2, 3]


def test_what_cannot_fit_at_batch_one_is_refused_and_the_files_stay(scene: Scene) -> None:
    done = scene.run(scene.supervised(scene.capped(batch=1, imgsz=96, nbs=4, part=0.2)))
    assert done.returncode == 1
    assert "not restarted: " in done.stdout
    assert "batch 1" in done.stdout
    shown = scene.shown()
    assert shown["receipts"] == []
    assert len(shown["attempts"]) == 1
    assert "batch: 1\n" in (scene.run_dir / "args.yaml").read_text()
    assert not (scene.run_dir / ".yolowatch" / "originals").exists()


def test_a_failure_in_the_second_training_of_a_program_runs_nothing_twice(scene: Scene) -> None:
    done = scene.run(scene.supervised(scene.capped(batch=16, calls=2, fail_in_call=2)))
    assert done.returncode == 1
    assert "not restarted: " in done.stdout
    assert len(scene.facts()) == 2
    assert len(scene.shown()["attempts"]) == 1


def test_recommend_only_says_what_it_would_do(scene: Scene) -> None:
    done = scene.run(scene.supervised(scene.capped(batch=16), "--mode", "recommend"))
    assert done.returncode == 1
    assert "plan: " in done.stdout
    assert "mode recommend: nothing is changed" in done.stdout
    assert "batch: 16\n" in (scene.run_dir / "args.yaml").read_text()
    assert len(scene.facts()) == 1
