"""The main job with YOLOv5 and YOLOv9: they fail, are healed, and finish with the same recipe."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import environments
from tests.trainers.scene import Scene, make_images

pytestmark = pytest.mark.trainers

DATA = Path(__file__).parent / "data"
LATER = [pytest.mark.slow, pytest.mark.slice]
# How each trainer is started: its program, and a network that it can train.
PROGRAMS = {
    "yolov5": ("-m yolov5.train", "yolov5-small.yaml"),
    "yolov5-file": ("yolov5/train.py", "yolov5-small.yaml"),
    "yolov5-console": ("yolov5 train", "yolov5-small.yaml"),
    "yolov9": ("yolov9/train.py", "yolov9-small.yaml"),
    "yolov9-module": ("-m yolov9.train", "yolov9-small.yaml"),
    "yolov9-dual": ("yolov9/train_dual.py", "yolov9-dual-small.yaml"),
    "fork": ("yolov5/train.py", "yolov5-small.yaml"),  # under another name, in another place
}


def small_scene(trainer: str, root: Path) -> Scene:
    """A directory with images, a font and the variables that keep the trainer off the network."""
    python = environments.trainer_python(trainer)
    where = "import matplotlib; print(matplotlib.get_data_path())"
    fonts = subprocess.check_output((python, "-c", where), text=True).strip()
    scene = Scene(root, python, make_images(python, root / "images", 64))
    shutil.copy(Path(fonts) / "fonts" / "ttf" / "DejaVuSans.ttf", root / "images" / "Arial.ttf")
    scene.environment |= environments.trainer_variables(root / "images")
    # Compiling these trainers' many imports anew takes longer than the training.
    scene.environment.pop("PYTHONDONTWRITEBYTECODE", None)
    site = shutil.copytree(Path(__file__).parent / "limiting_callbacks", root / "site")
    scene.environment |= {
        "PYTHONPATH": str(site),
        "LIMIT_FILE": str(root / "limit"),
        "FACTS": str(root / "facts.jsonl"),
        "OMP_NUM_THREADS": "1",  # waiting for each other takes longer than the work
    }
    return scene


def training(scene: Scene, program: str, *words: str) -> tuple[str, ...]:
    """The command line of one small training."""
    how, network = PROGRAMS[program]
    start, *rest = how.split()
    if start == "-m":
        command = (str(scene.python), start, *rest)
    elif rest:
        command = (str(scene.python.parent / start), *rest)
    else:
        question = "import sysconfig; print(sysconfig.get_path('purelib'))"
        site = subprocess.check_output((scene.python, "-c", question), text=True).strip()
        command = (str(scene.python), f"{site}/{start}")
    if program == "fork":
        own = scene.root / "our_training.py"
        own.write_bytes(Path(command[-1]).read_bytes())
        command = (str(scene.python), str(own))
    return (
        *(*command, "--weights", "", "--cfg", str(DATA / network), "--data", str(scene.data)),
        *("--hyp", str(DATA / "hyp.yaml"), "--epochs", "3", "--imgsz", "128", "--device", "cpu"),
        *("--workers", "0", "--noplots", "--project", str(scene.root / "runs"), "--name", "run"),
        *words,
    )


def check_healed(scene: Scene, trainer: str, batch: int, effective: int, start_epoch: int) -> None:
    """Every epoch once, and what the user chose observed from inside, to the last bit."""
    first, *later = scene.facts()
    last = later[-1]
    assert 1 <= len(later) <= 2
    assert first["batch"] == first["loaded"] == batch
    assert first["batch"] * first["accumulate"] == effective
    assert first["nbs"] == 64
    assert last["batch"] == last["loaded"] < batch
    assert last["batch"] * last["accumulate"] == effective == last["nbs"]
    assert last["decay"] == first["decay"]
    assert last["configured_decay"] == first["configured_decay"]
    assert last["save_dir"] == first["save_dir"] == str(scene.run_dir)
    assert last["start_epoch"] == start_epoch
    assert scene.epochs() == [0, 1, 2]

    shown = scene.shown()
    assert shown["run"]["trainer"] == trainer
    receipt = shown["receipts"][-1]
    assert receipt["outcome"] == "finished"
    assert receipt["verdict"]["kind"] == "cpu-oom"
    assert receipt["user"]["entry"] == "command"
    assert receipt["plan"]["effective_batch"] == effective
    assert receipt["costs"]["seconds_lost"] > 0
    for change in receipt["files"]:
        original = Path(change["copy"]).read_bytes()
        assert hashlib.sha256(original).hexdigest() == change["before"]
    assert f"\nbatch_size: {last['batch']}\n" in (scene.run_dir / "opt.yaml").read_text()


@pytest.mark.parametrize(
    ("trainer", "program", "batch", "effective"),
    [
        pytest.param("yolov5", "yolov5", 48, 48, marks=LATER),
        pytest.param("yolov9", "yolov9-dual", 48, 48, marks=LATER),
        pytest.param("yolov9", "yolov9", 24, 72, marks=pytest.mark.slow),
        pytest.param("yolov5", "yolov5-file", 24, 72, marks=pytest.mark.slow),
        pytest.param("yolov5", "yolov5-console", 32, 64, marks=pytest.mark.slow),
        pytest.param("yolov9", "yolov9-module", 48, 48, marks=pytest.mark.slow),
        pytest.param("yolov5", "fork", 24, 72, marks=pytest.mark.slow),
    ],
)
def test_a_later_epoch_fails_and_is_resumed(
    trainer: str, program: str, batch: int, effective: int, tmp_path: Path
) -> None:
    scene = small_scene(trainer, tmp_path)
    done = scene.run(scene.supervised(training(scene, program, "--batch", str(batch))))
    assert done.returncode == 0, done.stdout[-3000:]
    assert "the hook failed" not in done.stdout
    check_healed(scene, trainer, batch, effective, start_epoch=1)
    assert scene.facts()[-1]["resume"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trainer", "program"),
    [
        pytest.param("yolov5", "yolov5", marks=pytest.mark.slice),
        ("yolov9", "yolov9-dual"),
    ],
)
def test_before_any_checkpoint_it_begins_afresh_in_its_directory(
    trainer: str, program: str, tmp_path: Path
) -> None:
    scene = small_scene(trainer, tmp_path)
    command = training(scene, program, "--batch", "24")
    done = scene.run(scene.supervised(command), {"AFTER_BATCHES": "1"})
    assert done.returncode == 0, done.stdout[-3000:]
    check_healed(scene, trainer, 24, 72, start_epoch=0)
    assert scene.shown()["receipts"][-1]["resume"]["start"] == "afresh"


@pytest.mark.slow
@pytest.mark.slice
def test_a_users_program_is_resumed_through_the_hook(tmp_path: Path) -> None:
    scene = small_scene("yolov5", tmp_path)
    program = tmp_path / "mine.py"
    options = {
        "weights": "",
        "cfg": str(DATA / "yolov5-small.yaml"),
        "data": str(scene.data),
        "hyp": str(DATA / "hyp.yaml"),
        "epochs": 3,
        "imgsz": 128,
        "device": "cpu",
        "workers": 0,
        "noplots": True,
        "project": str(tmp_path / "runs"),
        "name": "run",
        "batch_size": 48,
    }
    program.write_text(f"from yolov5 import train\n\ntrain.run(**{options!r})\n")
    done = scene.run(scene.supervised((str(scene.python), str(program))))
    assert done.returncode == 0, done.stdout[-3000:]
    assert [fact["start_epoch"] for fact in scene.facts()][-1] == 1
    assert scene.facts()[-1]["nbs"] == 48
    assert scene.shown()["receipts"][-1]["user"]["entry"] == "script"
    assert scene.epochs() == [0, 1, 2]


@pytest.mark.slow
@pytest.mark.slice
@pytest.mark.parametrize(("trainer", "program"), [("yolov5", "yolov5"), ("yolov9", "yolov9-dual")])
def test_the_hook_changes_nothing_that_is_learnt(
    trainer: str, program: str, tmp_path: Path
) -> None:
    scene = small_scene(trainer, tmp_path)
    del scene.environment["PYTHONPATH"]  # nothing is limited
    learnt = []
    for supervised in (False, True):
        command = training(scene, program, "--batch", "16", "--epochs", "2", "--imgsz", "64")
        done = scene.run(scene.supervised(command) if supervised else command)
        assert done.returncode == 0, done.stdout[-3000:]
        assert "the hook failed" not in done.stdout
        learnt.append(weights(scene))
        if not supervised:
            shutil.rmtree(scene.run_dir)
    assert learnt[0] == learnt[1]


def weights(scene: Scene) -> str:
    """A hash of every tensor of last.pt."""
    program = (
        "import hashlib, sys, torch\n"
        "model = torch.load(sys.argv[1], map_location='cpu', weights_only=False)['model']\n"
        "bits = b''.join(t.float().numpy().tobytes() for t in model.state_dict().values())\n"
        "print(hashlib.sha256(bits).hexdigest())\n"
    )
    done = scene.run((str(scene.python), "-c", program, str(scene.run_dir / "weights" / "last.pt")))
    return done.stdout.split()[-1]
