"""YOLOv5's and YOLOv9's command lines and files, changed where they must be and nowhere else."""

from __future__ import annotations

import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from yolowatch.model.plan import Edits
from yolowatch.trainers import ultralytics, yolov5, yolov9
from yolowatch.trainers.families import family
from yolowatch.trainers.opt_yaml import (
    fresh_command,
    is_command,
    resume_command,
    rewrite,
    scaled_weight_decay,
    trim_results,
)

EDITS = Edits(batch=8, nbs=72, weight_decay=0.0005625)
LAST = "/r/run/weights/last.pt"
OPT = b"""weights: ''
data: d.yaml
hyp:
  lr0: 0.01
  weight_decay: 0.0005
  warmup_epochs: 3.0
epochs: 3
batch_size: 24
freeze:
- 0
save_dir: runs/run
"""


def test_both_are_families() -> None:
    assert family("yolov5") is yolov5  # type: ignore[comparison-overlap]
    assert family("yolov9") is yolov9  # type: ignore[comparison-overlap]


@pytest.mark.parametrize(
    "command",
    [
        "python train.py --batch 16",
        "python3.11 -u /opt/yolov9/train_dual.py",
        "nice -n 5 python -X dev -W ignore train_triple.py --data d",
        "python -m yolov5.train --img 640",
        "env A=b python -m yolov9.train_dual",
        "yolov5 train --batch 4",
        "/venv/bin/yolov5 train",
        "python segment/train.py",
        "python train.py --entity me --exist-ok --epochs 3",
        "python -m torch.distributed.run --nproc_per_node 2 train.py --batch 16",
        "python -m torch.distributed.launch --nproc_per_node=2 --use_env -m yolov5.train",
        "torchrun --standalone --nproc_per_node 2 yolov9/train_dual.py --batch 16",
        "torchrun --nproc-per-node 2 --module yolov5.train",
    ],
)
def test_training_commands_are_recognised(command: str) -> None:
    assert is_command(command.split())


@pytest.mark.parametrize(
    "command",
    [
        "",
        "python val.py --batch 16",
        "python launch.py train.py",
        "python -c train.py",
        "python -m torch.distributed.run --nproc_per_node 2 launcher.py",
        "torchrun --nproc_per_node 2 -m mine",
        "torchrun launcher.py",
        "yolov5 val",
        "yolov5",
        "python -m",
        "yolo train model=a.yaml",
        "python train.py --evolve",
        "python train.py --evol 10",
        "python train.py --evolve=10",
    ],
)
def test_other_commands_are_not(command: str) -> None:
    words = command.split()
    assert not is_command(words)
    for change in (resume_command, fresh_command):
        with pytest.raises(ValueError, match="not that of a training program"):
            change(words, "/r/run", EDITS)


@pytest.mark.parametrize(
    ("command", "resumed"),
    [
        ("python train.py --batch 16", "python train.py --batch 16"),
        ("python train.py --resume --batch 16", "python train.py --batch 16"),
        ("python train.py --resume old.pt --batch 16", "python train.py --batch 16"),
        ("python train.py --res=old.pt --rect", "python train.py --rect"),
        ("python -m yolov5.train --resume old.pt", "python -m yolov5.train"),
        (
            "python -m torch.distributed.run --master_port 29501 train.py --batch 16",
            "python -m torch.distributed.run --master_port 29501 train.py --batch 16",
        ),
    ],
)
def test_a_resume_names_its_checkpoint_and_keeps_the_rest(command: str, resumed: str) -> None:
    changed = resume_command(command.split(), LAST, EDITS)
    assert changed == (*resumed.split(), "--resume", LAST)
    assert resume_command(changed, LAST, EDITS) == changed


def test_a_fresh_start_uses_the_directory_again() -> None:
    assert fresh_command(["python", "train.py", "--batch", "24"], "/r/runs/a b", EDITS) == (
        *("python", "train.py", "--batch", "24"),
        *("--project", "/r/runs", "--name", "a b", "--exist-ok", "--batch-size", "8"),
        *("--hyp", "/r/runs/a b/hyp.yaml"),
    )


def test_a_command_that_resumes_cannot_begin_again() -> None:
    with pytest.raises(ValueError, match="itself resumes"):
        fresh_command(["python", "train.py", "--resume", "x.pt"], "/r/run", EDITS)


def test_only_the_changed_lines_change() -> None:
    changed = rewrite("opt.yaml", OPT, EDITS)
    before, after = OPT.splitlines(), changed.splitlines()
    differ = [line for old, line in zip(before, after, strict=True) if old != line]
    assert differ == [b"  weight_decay: 0.0005625", b"batch_size: 8"]
    assert rewrite("opt.yaml", changed, EDITS) == changed
    assert rewrite("opt.yaml", OPT, Edits()) == OPT


def test_the_settings_have_a_file_of_their_own() -> None:
    settings = b"lr0: 0.01  # kept\nweight_decay: 0.0005 # too\r\nmosaic: 1.0"
    changed = rewrite("hyp.yaml", settings, EDITS)
    assert changed == b"lr0: 0.01  # kept\nweight_decay: 0.0005625 # too\r\nmosaic: 1.0\n"
    assert rewrite("hyp.yaml", settings, Edits(batch=4)) == settings + b"\n"


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (b"", "holds no mapping"),
        (b"- a\n", "holds no mapping"),
        (b"\xff\0", "is no YAML document"),
        (OPT.replace(b"batch_size: 24\n", b""), "not what the trainer writes"),
        (OPT.replace(b"  weight_decay: 0.0005\n", b""), "one key a line"),
        (OPT.replace(b"hyp:", b"other:"), "not what the trainer writes"),
        (b"hyp: {weight_decay: 0.0005}\nbatch_size: 24\n", "one key a line"),
        (b"hyp: path.yaml\nbatch_size: 24\n", "one key a line"),
        (OPT + b"batch_size: 1\n", "names batch_size twice"),
        (
            OPT.replace(b"  lr0", b"  weight_decay: 1\n  lr0"),
            r"names hyp\.weight_decay twice",
        ),
        (OPT[: OPT.index(b"\nepochs") + 1], "not what the trainer writes"),
        (b"batch_size:\n  24\nhyp:\n  weight_decay: 1\n", "one key a line"),
    ],
)
def test_what_is_not_understood_is_refused_in_words(document: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        rewrite("opt.yaml", document, EDITS)


@given(
    st.dictionaries(st.from_regex(r"[a-z_]{1,9}\Z"), st.floats(0, 1) | st.integers(), max_size=6),
    st.dictionaries(st.from_regex(r"[a-z_]{1,9}\Z"), st.text(max_size=9), max_size=6),
    st.integers(1, 512),
    st.floats(1e-12, 1.0),
)
def test_what_the_trainer_writes_is_changed_exactly(
    settings: dict[str, float], options: dict[str, str], batch: int, decay: float
) -> None:
    options = {name: each for name, each in options.items() if name not in ("hyp", "batch_size")}
    written = {**options, "hyp": {**settings, "weight_decay": 0.0005}, "batch_size": 16}
    document = yaml.safe_dump(written, sort_keys=False).encode()
    try:
        changed = rewrite("opt.yaml", document, Edits(batch=batch, weight_decay=decay))
    except ValueError:
        assert b"\n\n" in document or b"? " in document or b"\\\n" in document or b"'" in document
        return
    wanted = {**written, "batch_size": batch, "hyp": {**settings, "weight_decay": decay}}
    assert yaml.safe_load(changed) == wanted


def test_results_count_from_zero() -> None:
    table = b"   epoch,  loss\n   0,  1\n   1,  2\n   2,  3\n   3"
    assert trim_results(table, 2) == b"   epoch,  loss\n   0,  1\n   1,  2\n"
    assert trim_results(table, 0) == b"   epoch,  loss\n"
    assert trim_results(b"", 0) == b""
    with pytest.raises(ValueError, match="column of epochs"):
        trim_results(b"loss\n1\n", 1)


@pytest.mark.parametrize("batch", [3, 5, 7, 16, 24, 48, 96, 100, 128])
def test_the_weight_decay_is_kept_to_the_last_bit(batch: int) -> None:
    """Of the factor that the new values make, exactly one is left."""
    accumulate = max(round(64 / batch), 1)
    wanted = scaled_weight_decay(0.0005, batch, accumulate, 64)
    effective = batch * accumulate
    for smaller in (each for each in range(1, batch) if effective % each == 0):
        assert scaled_weight_decay(wanted, smaller, effective // smaller, effective) == wanted
    assert math.isclose(wanted, ultralytics.scaled_weight_decay(0.0005, batch, accumulate, 64))
