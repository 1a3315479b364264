"""Ultralytics' command line, args.yaml and results.csv, as bytes and words."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from yolowatch.model.plan import Edits
from yolowatch.trainers.families import FAMILIES, family
from yolowatch.trainers.ultralytics import (
    fresh_command,
    is_command,
    resume_command,
    rewrite_args,
    trim_results,
)

EDITS = Edits(batch=8, nbs=72, weight_decay=0.0005625)

COMMANDS = [
    ["yolo", "train"],
    ["yolo", "detect", "train", "model=yolo11n.pt", "data=coco8.yaml", "batch=16"],
    ["/opt/venv/bin/yolo", "mode=train"],
    ["ultralytics", "segment", "train"],
    ["python", "/opt/venv/bin/yolo", "train"],
    ["python3.11", "-u", "-m", "ultralytics.cfg", "train"],
    ["env", "OMP_NUM_THREADS=1", "nice", "-n", "5", "yolo", "train"],
    ["uv", "run", "yolo", "train"],
    ["conda", "run", "-n", "yolo", "yolo", "train"],
    ["yolo", "train", "batch", "=", "16", "imgsz=", "64", "freeze=[1,", "2]", "--epochs=3,"],
    ["yolo", "cfg=mine.yaml"],
    ["yolo", "val", "train"],
]
NO_COMMANDS = [
    [],
    ["yolo"],
    ["yolo", "predict", "model=a.pt"],
    ["yolo", "train", "val"],
    ["yolo", "train", "/data/images"],
    ["python", "train.py"],
    ["python", "train.py", "yolo", "train"],
    ["python", "-c", "from ultralytics import YOLO", "yolo", "train"],
    ["python", "-m", "mytrainer", "yolo", "train"],
    ["bash", "-c", "yolo train"],
    ["torchrun", "train.py"],
    ["echo", "project=/runs/yolo", "train"],
]


@pytest.mark.parametrize("argv", COMMANDS)
def test_the_trainers_own_command_is_recognised(argv: list[str]) -> None:
    assert is_command(argv)
    assert is_command(resume_command(argv, "/r/last.pt", EDITS))
    assert is_command(fresh_command(argv, "/r", EDITS))


@pytest.mark.parametrize("argv", NO_COMMANDS)
def test_other_commands_are_left_alone(argv: list[str]) -> None:
    assert not is_command(argv)
    with pytest.raises(ValueError, match="not Ultralytics' own command line"):
        resume_command(argv, "/r/last.pt", EDITS)
    with pytest.raises(ValueError, match="not Ultralytics' own command line"):
        fresh_command(argv, "/r", EDITS)


def test_a_resume_keeps_what_only_the_command_line_says() -> None:
    argv = [
        "nice", "yolo", "detect", "train", "model=yolo11n.pt", "data=coco8.yaml", "epochs=100",
        "batch=16", "imgsz=640", "device=0", "workers=4", "patience=20", "plots=False",
        "multi_scale=0.5", "project=mine", "name=one", "exist_ok=True", "amp=False", "lr0=0.02",
    ]  # fmt: skip
    assert resume_command(argv, "/r/weights/last.pt", EDITS) == (
        "nice", "yolo", "detect", "train", "imgsz=640", "device=0", "workers=4", "patience=20",
        "plots=False", "model=/r/weights/last.pt", "resume=True", "batch=8",
    )  # fmt: skip


def test_a_resume_of_a_resume_names_the_checkpoint_once() -> None:
    argv = ["yolo", "train", "resume", "model=/old/last.pt", "batch=16"]
    assert resume_command(argv, "/new/last.pt", EDITS) == (
        "yolo", "train", "model=/new/last.pt", "resume=True", "batch=8",
    )  # fmt: skip
    unchanged = resume_command(argv, "/new/last.pt", Edits())
    assert unchanged == ("yolo", "train", "model=/new/last.pt", "resume=True")


def test_a_fresh_start_is_the_users_command_with_the_edits() -> None:
    argv = ["yolo", "train", "data=coco8.yaml", "batch", "=", "16", "--nbs=64", "project=mine"]
    assert fresh_command(argv, "/runs/mine/train", EDITS) == (
        "yolo", "train", "data=coco8.yaml", "project=mine", "save_dir=/runs/mine/train", "batch=8",
        "nbs=72", "weight_decay=0.0005625",
    )  # fmt: skip


def test_several_data_sets_in_turn_are_not_run_again() -> None:
    argv = ["yolo", "train", "data=[a.yaml,", "b.yaml]"]
    with pytest.raises(ValueError, match="several data sets"):
        resume_command(argv, "/r/last.pt", EDITS)
    with pytest.raises(ValueError, match="several data sets"):
        fresh_command(argv, "/r", EDITS)


@given(st.lists(st.text(alphabet="ab=[], -", max_size=6), max_size=6))
def test_any_words_are_a_command_or_not(words: list[str]) -> None:
    argv = ["yolo", "train", *words]
    if is_command(argv):
        assert "batch=8" in fresh_command(argv, "/r", EDITS)


# ---------------------------------------------------------------- args.yaml

ARGS = b"""task: detect
mode: train
model: yolo11n.pt
data: coco8.yaml
epochs: 100
batch: 16  # what the user wanted
imgsz: 640
classes:
- 1
- 2
weight_decay: 0.0005
nbs: 64
name: "batch: 99"
copy_paste: 0.0
"""


def test_only_the_changed_lines_change() -> None:
    changed = rewrite_args(ARGS, EDITS)
    expected = (
        ARGS.replace(b"batch: 16  # what", b"batch: 8  # what")
        .replace(b"weight_decay: 0.0005", b"weight_decay: 0.0005625")
        .replace(b"nbs: 64", b"nbs: 72")
    )
    assert changed == expected
    assert rewrite_args(changed, EDITS) == changed


def test_no_edits_change_nothing() -> None:
    assert rewrite_args(ARGS, Edits()) == ARGS


def test_missing_keys_are_added_at_the_end() -> None:
    assert rewrite_args(b"task: detect", Edits(batch=4, nbs=64)) == (
        b"task: detect\nbatch: 4\nnbs: 64\n"
    )


def test_line_endings_stay() -> None:
    assert rewrite_args(b"batch: 16\r\nnbs: 64\r\n", Edits(batch=4)) == b"batch: 4\r\nnbs: 64\r\n"


@pytest.mark.parametrize("decay", [5e-05, 1e-10, 0.0, 0.00037500000000000006, 1.0])
def test_small_numbers_stay_numbers(decay: float) -> None:
    changed = rewrite_args(ARGS, Edits(weight_decay=decay))
    assert yaml.safe_load(changed)["weight_decay"] == decay


@pytest.mark.parametrize(
    ("document", "part"),
    [
        (b"", "no mapping"),
        (b"- batch\n", "no mapping"),
        (b"just words", "no mapping"),
        (b"batch: [1, 2\n", "no YAML document"),
        (b"\xff\xfe", "no YAML document"),
        (b"batch: !!python/object/apply:os.system ['true']\n", "no YAML document"),
        (b"batch: 1\nbatch: 2\n", "names batch twice"),
        (b"{batch: 16, nbs: 64}\n", "one key a line"),
        (b"batch:\n- 1\n- 2\n", "one key a line"),
        (b"batch: |\n  16\n", "one key a line"),
        (b"'batch': 16\n", "one key a line"),
        (b"a: 1\n--- \nb: 2\n", "no YAML document"),
        (b"a: " + b"x" * (1 << 20), "larger than 1 MiB"),
    ],
)
def test_what_is_not_understood_is_not_changed(document: bytes, part: str) -> None:
    with pytest.raises(ValueError, match=part):
        rewrite_args(document, EDITS)


@given(
    st.dictionaries(
        st.sampled_from(["batch", "nbs", "weight_decay", "imgsz", "name", "cache", "freeze"]),
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(-5, 2000),
            st.floats(0, 1),
            st.text(max_size=20),
            st.lists(st.integers(0, 9), max_size=3),
        ),
        min_size=1,
    )
)
def test_what_the_trainer_writes_is_changed_in_the_keys_alone(args: dict[str, object]) -> None:
    document = yaml.safe_dump(args, sort_keys=False, allow_unicode=True).encode()
    before = yaml.safe_load(document)  # PyYAML does not read back all that it writes
    try:
        changed = rewrite_args(document, EDITS)
    except ValueError:
        # A key that holds more than one plain value is a document we refuse.
        assert any(isinstance(args.get(k), (list, str)) for k in ("batch", "nbs", "weight_decay"))
        return
    assert yaml.safe_load(changed) == before | {
        "batch": 8, "nbs": 72, "weight_decay": 0.0005625,
    }  # fmt: skip


# ---------------------------------------------------------------- results.csv

RESULTS = b"""epoch,time,train/box_loss,metrics/mAP50(B)
1,2.5,3.1,0.01
2,4.9,2.9,0.02
3,7.3,2.7,0.05
"""


def test_epochs_that_will_be_repeated_are_dropped() -> None:
    assert trim_results(RESULTS, 3) == RESULTS
    assert trim_results(RESULTS, 99) == RESULTS
    assert trim_results(RESULTS, 2) == RESULTS[: RESULTS.index(b"3,7.3")]
    assert trim_results(RESULTS, 0) == RESULTS[: RESULTS.index(b"1,2.5")]


def test_a_row_cut_off_in_writing_is_dropped() -> None:
    assert trim_results(RESULTS + b"4,9.", 9) == RESULTS
    assert trim_results(RESULTS + b"\n", 9) == RESULTS


def test_padded_columns_of_older_releases_are_read() -> None:
    padded = b"                  epoch,         time\n                      1,            2\n"
    assert trim_results(padded, 1) == padded
    assert trim_results(padded, 0) == padded.splitlines(keepends=True)[0]


def test_an_empty_table_stays_empty() -> None:
    assert trim_results(b"", 5) == b""


def test_another_table_is_refused() -> None:
    with pytest.raises(ValueError, match="column of epochs"):
        trim_results(b"step,loss\n1,2\n", 1)


@given(st.binary(max_size=200), st.integers(0, 5))
def test_any_rows_are_kept_or_dropped_whole(rows: bytes, kept: int) -> None:
    table = b"epoch,time\n" + rows
    lines = table.splitlines(keepends=True)
    assert set(trim_results(table, kept).splitlines(keepends=True)) <= set(lines)


# ---------------------------------------------------------------- families


def test_every_family_is_found_by_the_name_that_the_hook_gives() -> None:
    assert family("ultralytics") is FAMILIES[0]
    assert family("somebody") is None
