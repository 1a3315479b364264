"""A final validation that lacks memory: nothing is planned, and a person hears what is missing."""

from __future__ import annotations

from dataclasses import replace

from tests.decide.build import SPEC, failed, state
from tests.decide.test_planner import decide
from yolowatch.model.plan import Plan, Refusal
from yolowatch.model.run import RunState, SavedCheckpoint

SAVED = SavedCheckpoint(90.0, "/runs/train/weights/last.pt", 12)
TOLD = replace(SPEC, data="my data.yaml", task="detect")


def ended(run: RunState, trainer: str = "ultralytics") -> Plan | Refusal:
    return decide(run, user=replace(TOLD, trainer=trainer))


def test_it_is_refused_with_the_command_that_makes_up_for_it() -> None:
    run = replace(state(failed(phase="validation", batch=32)), checkpoint=SAVED)
    found = ended(run)
    assert isinstance(found, Refusal)
    assert found.trained
    assert found.reason == (
        "All is trained and saved, and only the final validation did not fit: repeat that alone, "
        "with a smaller batch: yolo detect val model=/runs/train/weights/best.pt "
        "'data=my data.yaml' imgsz=640 batch=16 device=cuda:0"
    )


def test_the_older_family_has_a_program_for_it() -> None:
    """The batch that failed may have been the rest of the set: half of the largest is asked."""
    run = replace(state(failed(phase="validation", batch=1)), checkpoint=SAVED)
    found = ended(run, "yolov9")
    assert isinstance(found, Refusal)
    assert (
        "python val.py --weights /runs/train/weights/best.pt --data 'my data.yaml' --imgsz 640 "
        "--device cuda:0 --batch-size 16 (val_dual.py after train_dual.py"
    ) in found.reason


def test_a_trainer_that_nobody_knows_has_no_command() -> None:
    run = replace(state(failed(phase="validation", batch=32)), checkpoint=SAVED)
    found = ended(run, "unheard-of")
    assert isinstance(found, Refusal)
    assert found.reason.endswith("repeat that alone, with a smaller batch.")


def test_the_validation_of_an_epoch_comes_before_its_checkpoint() -> None:
    failing = state(failed(phase="validation", batch=32))
    before = replace(SAVED, epoch=11)
    for run in (failing, replace(failing, checkpoint=before)):
        found = ended(run)
        assert isinstance(found, Plan)
        assert [use.name for use in found.levers] == ["validation batch"]


def test_a_step_is_none() -> None:
    found = ended(replace(state(failed(phase="forward")), checkpoint=SAVED))
    assert not isinstance(found, Refusal) or not found.trained
