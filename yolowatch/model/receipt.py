"""The receipt: what happened, what was changed, why, and what it cost, as data.

Built from nouns alone; the page in the terminal and the JSON document are two views of it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from yolowatch.model.opt_in import opt_in_notes
from yolowatch.model.plan import Plan, Start
from yolowatch.model.run import EmergencySave, RunSpec, RunState
from yolowatch.model.verdict import Verdict


@dataclass(frozen=True)
class FileChange:
    """A user's file that was replaced; hashes are SHA-256 of its content, None where it was
    absent.
    """

    path: str
    before: str | None
    after: str | None
    copy: str | None  # where the original stands
    diff: str | None = None  # what was changed, in lines, where that is known


@dataclass(frozen=True)
class ResumePoint:
    """Where an attempt begins, as the vault step found it."""

    start: Start
    reason: str
    checkpoint: str | None = None
    epoch: int | None = None  # the last completed epoch in it, counted from 0
    sha256: str | None = None
    emergency: EmergencySave | None = None  # where it is what the failed training saved of itself

    @property
    def unfinished(self) -> EmergencySave | None:
        """What there is of an epoch that is trained, but not validated."""
        return self.emergency if self.emergency is not None and self.emergency.complete else None

    @property
    def rows(self) -> int | None:
        """How many epochs have a row of results; None where that is not known."""
        if self.epoch is None:
            return None
        return self.epoch + (0 if self.unfinished else 1)


@dataclass(frozen=True)
class Costs:
    """What the failure and its remedy cost; None is unknown. Seconds are of the wall."""

    epochs_kept: int = 0
    steps_lost: int | None = None  # training batches that must be done again
    exit_seconds: float | None = None  # from the last words to the end of the process
    restart_seconds: float | None = None  # from there to the start of the next, without the wait
    memory_wait_seconds: float | None = None
    repeat_seconds: float | None = None  # from the last checkpoint to the failure
    seconds_lost: float | None = None  # all of it, up to the first new training batch

    def lost_until(self, seconds: float) -> float:
        """All of it where the first new batch was trained `seconds` after the new start."""
        parts = (
            self.repeat_seconds,
            self.exit_seconds,
            self.memory_wait_seconds,
            self.restart_seconds,
            seconds,
        )
        return sum(part for part in parts if part is not None)


@dataclass(frozen=True)
class Receipt:
    """One remediation; `outcome` is filled in as it becomes known."""

    run: str
    incident: str
    attempt: int  # the one that failed
    verdict: Verdict
    plan: Plan
    user: RunSpec
    failed_peak_bytes: int | None
    resume: ResumePoint
    files: tuple[FileChange, ...]
    costs: Costs
    science: tuple[str, ...]
    undo: tuple[str, ...]
    outcome: str = "resumed"

    @property
    def failed(self) -> bool:
        """Whether the restarted run failed again."""
        return self.outcome.startswith("failed")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; the enums by their values."""
        document: dict[str, Any] = _plain(asdict(self))
        document["levers"] = document["plan"].pop("levers")
        document["rejected"] = document["plan"].pop("rejected")
        return document


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return getattr(value, "value", value) if not isinstance(value, str | int | float) else value


def science_notes(user: RunSpec, plan: Plan, resume: ResumePoint, retried: bool) -> tuple[str, ...]:
    """What the change may cost the science, in sentences; honest about what stays the same."""
    notes = []
    before, after, edits = user.batch, plan.edits.batch, plan.edits
    if edits.validation_batch is not None:
        notes.append(
            f"Validation takes {edits.validation_batch} images at a time: its predictions and "
            "metrics stay the same but for rounding, its printed losses are means over other "
            "batches."
        )
    if (edits.workers, edits.cache, edits.pin_memory) != (None, None, None):
        notes.append("Images are loaded in another way: what is trained on stays the same.")
    if edits.checkpointing:
        notes.append(
            "Activations are computed again for the gradients, which differ by rounding only; "
            "BatchNorm counts every batch once. A step takes longer."
        )
    if edits.multi_scale is not None:
        notes.append(
            f"From now on image sizes are {1 - edits.multi_scale:.2f} to "
            f"{1 + edits.multi_scale:.2f} times the image size: this alters the result."
        )
    if edits.amp is not None:
        notes.append(f"Training goes on in {edits.amp}: this alters the result.")
    notes += opt_in_notes(user, edits)
    if before is not None and after is not None and after != before:
        notes.append(
            f"The effective batch stays {plan.effective_batch} and the effective weight decay "
            f"stays the same: {after} images a step are accumulated where it was {before}."
        )
        each = ", in each rank" if plan.ranks > 1 else ""
        shared = 1 if edits.more_gpus is not None else edits.one_gpu or plan.ranks
        notes.append(
            f"BatchNorm computes its statistics over {after // plan.ranks} images at a time "
            f"instead of {before // shared}{each}."
        )
        if after // plan.ranks == 1:  # measured by bench/science.py
            notes.append(
                "Over single images BatchNorm can make the metrics far worse: a policy without "
                "`batch` among its levers keeps the batch and uses the others."
            )
        notes.append(
            "The random order of images and augmentations after the restart differs from that of "
            "an uninterrupted run, as after any resume of this trainer."
        )
    epoch = 0 if resume.epoch is None else resume.epoch + 1
    smaller = after is not None and before != after
    if smaller and user.warmup_epochs and epoch < user.warmup_epochs:
        notes.append(
            "The run was still in warm-up, in which the trainer raises the accumulation step by "
            "step: until it ends, optimizer steps see fewer images than before."
        )
    if resume.emergency is not None and not resume.emergency.complete:
        notes.append(
            f"Epoch {epoch + 1} begins again with the weights that it had when memory ran out: the "
            "images that it had seen are seen once more."
        )
    if retried:
        notes.append(
            "Before this the trainer itself had reduced the batch; the values here are the user's."
        )
    return tuple(notes)


def costs_of(state: RunState, resume: ResumePoint, failed_at: float, ended_at: float) -> Costs:
    """What is known when the failed process is gone; times in seconds of the daemon's clock."""
    kept = 0 if resume.epoch is None else resume.epoch + 1
    saved = state.checkpoint
    words = state.last_words
    steps: int | None = None
    repeat: float | None = None
    if state.left is not None:
        steps, repeat = 0, 0.0
    elif words is not None and words.place.step is not None:
        if resume.unfinished is not None:
            steps, repeat = 0, 0.0
        elif resume.start is Start.AFRESH:
            steps = words.place.step
        elif saved is not None and saved.step is not None and saved.epoch == resume.epoch:
            steps = words.place.step - saved.step
            repeat = failed_at - saved.at
    return Costs(
        epochs_kept=kept,
        steps_lost=steps,
        exit_seconds=ended_at - words.at if words is not None else None,
        repeat_seconds=repeat,
    )


def with_outcome(receipt: Receipt, outcome: str, seconds_lost: float | None = None) -> Receipt:
    """The receipt with what has become known since."""
    costs = receipt.costs
    if seconds_lost is not None:
        costs = replace(costs, seconds_lost=seconds_lost)
    return replace(receipt, outcome=outcome, costs=costs)
