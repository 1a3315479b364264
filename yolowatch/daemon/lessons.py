"""What the ended attempts of a run have taught: progress, what batches took, what failed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from yolowatch.decide.budget import AttemptHistory
from yolowatch.model.plan import Edits
from yolowatch.model.run import Footprint, RunState

_FOOTPRINTS = 512
_STEP = (None, "forward", "loss", "backward")


@dataclass(frozen=True)
class Failure:
    """A step that failed: batch x height x width where it is known, and what was in force."""

    pixels: int | None
    edits: Edits


@dataclass(frozen=True)
class Lessons:
    """`progressed` says that a changed attempt completed an epoch, `saved` that a checkpoint of the
    run exists.
    """

    history: AttemptHistory = field(default_factory=AttemptHistory)
    footprints: tuple[Footprint, ...] = ()
    failures: tuple[Failure, ...] = ()
    progressed: bool = False
    saved: bool = False
    most_boxes: int | None = None  # of the densest image of the data set

    def after(
        self, number: int, state: RunState, edits: Edits | None, epoch: int, *, saved: bool
    ) -> Lessons:
        """With attempt `number`, which has ended; `epoch` is its last complete one, -1 for none."""
        failures, words = self.failures, state.last_words
        if words is not None and words.place.phase in _STEP:
            failures = (*failures, Failure(words.place.pixels, edits or Edits()))
        return Lessons(
            self.history.with_end(number, None if epoch < 0 else epoch),
            (*self.footprints, *state.footprints)[-_FOOTPRINTS:],
            failures,
            self.progressed or (number > 0 and epoch >= 0),
            self.saved or saved,
            self.most_boxes,
        )

    def without_progress(self) -> Lessons:
        """As if no changed attempt had completed an epoch."""
        return replace(self, progressed=False)

    def failed_pixels(self, edits: Edits) -> int | None:
        """The smallest batch x height x width of a failed step with these edits' precision and
        checkpointing; 0 where the size of one is not known, None where none has failed.
        """
        alike = (edits.amp, edits.checkpointing)
        return min(
            (
                each.pixels or 0
                for each in self.failures
                if (each.edits.amp, each.edits.checkpointing) == alike
            ),
            default=None,
        )
