"""A training of two real ranks, of which one runs out of memory: the group ends, and is healed.

`ranks/sitecustomize.py` lets gloo and the CPU stand in for NCCL and a GPU each.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import environments
from tests.trainers.scene import Scene, make_images
from tests.trainers.test_callbacks_family import small_scene, training
from yolowatch.edges import proc
from yolowatch.model.identity import ProcessKey

pytestmark = [pytest.mark.trainers, pytest.mark.slow]

STAND_IN = Path(__file__).parents[1] / "edges" / "nvml_stand_in.c"
RANKS = 2
DOWN_SECONDS = 15.0
# A rank, its launcher and, where a trainer has spawned that, the trainer's own process.
GROUP = ("pid", "launcher", "root")
LAUNCHER = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(RANKS))


def ranks_scene(trainer: str, root: Path, starved: int, **more: str) -> Scene:
    scene = small_scene(trainer, root)
    scene.environment |= starving(root, starved) | more
    return scene


def starving(root: Path, rank: int) -> dict[str, str]:
    """The variables by which this rank of a training runs out of memory."""
    return {
        "PYTHONPATH": str(Path(__file__).parent / "ranks"),
        "STARVED_RANK": str(rank),
        "LIMIT_FILE": str(root / "limit"),
        "FACTS": str(root / "facts.jsonl"),
        "OMP_NUM_THREADS": "1",
    }


def launched(scene: Scene, program: str, *words: str) -> tuple[str, ...]:
    """The small training, as ranks of one launcher."""
    python, *rest = training(scene, program, *words)
    return (python, *LAUNCHER, *rest, "--epochs", "2")


class Deaths(threading.Thread):
    """When each process of the first attempt was last seen alive, read from /proc."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(daemon=True)
        self._scene = scene
        self._over = threading.Event()
        self._keys: dict[int, ProcessKey] = {}
        self.seen_at: dict[int, float] = {}

    def run(self) -> None:
        while not self._over.wait(0.02):
            for pid in self._pids() - self._keys.keys():
                key = proc.process_key(pid)
                if key is not None:
                    self._keys[pid] = key
            for pid, key in self._keys.items():
                if proc.is_alive(key):
                    self.seen_at[pid] = time.monotonic()

    def _pids(self) -> set[int]:
        if len(self._keys) > RANKS + 1:
            return set()
        path = self._scene.root / "facts.jsonl"
        told = path.read_text().splitlines(keepends=True) if path.exists() else []
        facts = [json.loads(line) for line in told if line.endswith("\n")]
        return {fact[name] for fact in facts for name in GROUP if name in fact}

    def stop(self) -> None:
        self._over.set()
        self.join()


@contextmanager
def watching(scene: Scene) -> Iterator[Deaths]:
    deaths = Deaths(scene)
    deaths.start()
    try:
        yield deaths
    finally:
        deaths.stop()


def check_same_recipe(facts: list[dict[str, Any]], batch: int) -> None:
    """Every rank of the last attempt trains with less, and all together as the user chose."""
    begun = [fact for fact in facts if fact["event"] == "begins"]
    first, last = begun[:RANKS], begun[-RANKS:]
    for group in (first, last):
        assert {fact["rank"] for fact in group} == set(range(RANKS))
        assert len({fact["launcher"] for fact in group}) == 1
        for fact in group:
            assert fact["parallel"] == "DistributedDataParallel"
            assert fact["batch"] % RANKS == 0
            assert fact["loaded"] == fact["batch"] // RANKS
            assert fact["batch"] * fact["accumulate"] == batch
            assert fact["decay"] == first[0]["decay"]
            assert fact["save_dir"] == first[0]["save_dir"]
    assert first[0]["batch"] == batch
    assert last[0]["batch"] < batch
    assert {fact["start_epoch"] for fact in last} == {1}


@pytest.mark.parametrize(
    ("trainer", "program", "starved", "linger"),
    [
        # The failed rank does not end by itself, nor will the other that waits for it.
        pytest.param("yolov5", "yolov5", 1, "600", marks=pytest.mark.slice),
        ("yolov9", "yolov9", 0, "0"),
    ],
)
def test_one_rank_runs_out_of_memory(
    trainer: str,
    program: str,
    starved: int,
    linger: str,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    scene = ranks_scene(trainer, tmp_path, starved, LINGER=linger)
    command = launched(scene, program, "--batch", "48")
    check_healed(scene, command, trainer, starved, record_property)
    assert scene.epochs() == [0, 1]


def check_healed(
    scene: Scene,
    command: Sequence[str],
    trainer: str,
    starved: int,
    record_property: Callable[[str, object], None],
) -> None:
    """The group was down in time, and then finished with a batch that fits."""
    with watching(scene) as deaths:
        done = scene.run(scene.supervised(command))
    assert done.returncode == 0, done.stdout[-6000:]
    assert "the hook failed" not in done.stdout
    facts = scene.facts()
    failed = next(fact for fact in facts if fact["event"] == "failed")
    assert failed["rank"] == starved
    expected = {fact[name] for fact in facts[:RANKS] for name in GROUP if name in fact}
    group = expected & deaths.seen_at.keys()
    assert group == expected, "the launcher and each rank were seen"
    down_seconds = max(deaths.seen_at[pid] for pid in group) - failed["at"]
    print(f"{trainer}: the group was down {down_seconds:.2f} s after rank {starved} had failed")
    record_property("down_seconds", down_seconds)
    assert 0 <= down_seconds < DOWN_SECONDS

    check_same_recipe(facts, 48)
    shown = scene.shown()
    assert shown["run"]["trainer"] == trainer
    receipt = shown["receipts"][-1]
    assert receipt["outcome"] == "finished"
    assert receipt["verdict"]["kind"] == "cpu-oom"
    assert f"in each of {RANKS} ranks" in receipt["plan"]["reason"]


def spawning_scene(root: Path, starved: int, linger: str) -> Scene:
    """Of Ultralytics, which is asked for several devices and spawns a rank for each."""
    python = environments.trainer_python("ultralytics-ranks")
    scene = Scene(root, python, make_images(python, root / "images", 64))
    scene.environment |= starving(root, starved) | {"LINGER": linger, "SPAWNS_RANKS": "yes"}
    return scene


@pytest.mark.parametrize(("starved", "linger"), [(1, "600"), (0, "0")])
def test_one_rank_that_ultralytics_spawned_runs_out_of_memory(
    starved: int, linger: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    scene = spawning_scene(tmp_path, starved, linger)
    words = ["batch=48", "epochs=2", "imgsz=160", "device=0,1"]
    command = [each for each in scene.yolo(*words) if each != "device=cpu"]
    check_healed(scene, command, "ultralytics", starved, record_property)
    assert scene.epochs() == [1, 2]
    assert scene.shown()["receipts"][-1]["user"]["entry"] == "command"


def test_one_device_goes_on_alone(tmp_path: Path) -> None:
    scene = spawning_scene(tmp_path, 1, "0")
    policy = tmp_path / "policy.yaml"
    policy.write_text("levers: [one gpu]\n")
    words = ["batch=48", "epochs=2", "imgsz=160", "device=0,1"]
    command = [each for each in scene.yolo(*words) if each != "device=cpu"]
    done = scene.run(scene.supervised(command, "--policy", str(policy)))
    assert done.returncode == 0, done.stdout[-6000:]
    assert "the hook failed" not in done.stdout
    assert scene.epochs() == [1, 2]
    first, *_, last = [fact for fact in scene.facts() if fact["event"] == "begins"]
    assert (first["parallel"], first["batch"]) == ("DistributedDataParallel", 48)
    assert (last["rank"], last["start_epoch"]) == (-1, 1)
    assert last["parallel"] == "DetectionModel"
    assert last["loaded"] == last["batch"] <= 24
    assert last["batch"] * last["accumulate"] == last["nbs"] == 48
    assert last["decay"] == first["decay"]
    receipt = scene.shown()["receipts"][0]
    assert "one gpu" in [use["name"] for use in receipt["levers"]]
    assert any("One device trains alone what 2 shared" in note for note in receipt["science"])


TWO_IDLE_GPUS = {
    "count": 2,
    **{f"{index}.total": 24 << 30 for index in range(2)},
    **{f"{index}.used": 8 << 20 for index in range(2)},
    **{f"{index}.{name}": 0 for index in range(2) for name in ("util", "temp", "mw")},
}


def test_one_device_is_spread_over_an_idle_one(tmp_path: Path) -> None:
    """By a real `yolowatch run`; NVIDIA's library is a stand-in, which the real pynvml asks."""
    scene = spawning_scene(tmp_path, 9, "0")
    library, gpus = tmp_path / "library", tmp_path / "gpus"
    library.mkdir()
    built = ("gcc", "-shared", "-fPIC", "-o", library / "libnvidia-ml.so.1", STAND_IN)
    subprocess.run(built, check=True)
    gpus.write_text("".join(f"{name}={value}\n" for name, value in TWO_IDLE_GPUS.items()))
    scene.environment |= {"LD_LIBRARY_PATH": str(library), "NVML_STAND_IN": str(gpus)}
    policy = tmp_path / "policy.yaml"
    policy.write_text("levers: [more gpus]\nprevention: false\n")
    words = ["batch=32", "epochs=2", "imgsz=160", "device=0"]
    command = [each for each in scene.yolo(*words) if each != "device=cpu"]
    done = scene.run(scene.supervised(command, "--policy", str(policy)))
    assert done.returncode == 0, done.stdout[-6000:]
    assert "the hook failed" not in done.stdout
    assert scene.epochs() == [1, 2]
    first, *ranks = [fact for fact in scene.facts() if fact["event"] == "begins"]
    assert (first["rank"], first["parallel"]) == (-1, "DetectionModel")
    assert first["loaded"] == first["batch"] == 32
    assert {fact["rank"] for fact in ranks} == set(range(RANKS))
    for fact in ranks:
        assert (fact["parallel"], fact["start_epoch"]) == ("DistributedDataParallel", 1)
        assert (fact["batch"], fact["loaded"]) == (32, 32 // RANKS)
        assert fact["batch"] * fact["accumulate"] == fact["nbs"] == 64
        assert (fact["decay"], fact["save_dir"]) == (first["decay"], first["save_dir"])
    (receipt,) = scene.shown()["receipts"]
    assert receipt["outcome"] == "finished"
    assert receipt["verdict"]["kind"] == "cuda-oom"
    assert [use["name"] for use in receipt["levers"]] == ["more gpus"]
    assert receipt["plan"]["edits"]["more_gpus"] == [0, 1]
    assert receipt["plan"]["room"]["beside"] == [1]
    assert any("2 devices share each batch" in note for note in receipt["science"])


def test_ranks_that_fail_before_any_checkpoint_begin_afresh(tmp_path: Path) -> None:
    """Ultralytics removes the directory in which it spawns ranks: here the vault lies in it."""
    scene = spawning_scene(tmp_path, 1, "0")
    words = ["batch=48", "epochs=1", "imgsz=160", "device=0,1"]
    command = [each for each in scene.yolo(*words) if each != "device=cpu"]
    done = scene.run(scene.supervised(command), {"EARLY": "yes"})
    assert done.returncode == 0, done.stdout[-6000:]
    assert "the hook failed" not in done.stdout
    assert scene.epochs() == [1]
    receipt = scene.shown()["receipts"][-1]
    assert receipt["resume"]["start"] == "afresh"
    assert receipt["outcome"] == "finished"
    first, *_, last = [fact for fact in scene.facts() if fact["event"] == "begins"]
    assert last["batch"] < first["batch"] == last["batch"] * last["accumulate"]
    assert last["save_dir"] == first["save_dir"]
    (change,) = receipt["files"]
    assert "batch: 48" in Path(change["copy"]).read_text()


def test_a_launcher_that_restarts_ranks_by_itself_is_left_alone(tmp_path: Path) -> None:
    scene = ranks_scene("yolov5", tmp_path, 1)
    python, module, launcher, *rest = launched(scene, "yolov5", "--batch", "48")
    command = (python, module, launcher, "--max-restarts", "1", *rest)
    done = scene.run(scene.supervised(command))
    assert done.returncode == 1
    assert "its launcher restarts failed ranks by itself (--max-restarts 1)" in done.stdout
    assert "SIGTERM to all" not in done.stdout
    assert not scene.shown()["receipts"]
