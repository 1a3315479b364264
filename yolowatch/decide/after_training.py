"""Memory that ran out when all was trained: in the final validation, which no resume answers.

The trainer has saved its last epoch by then, and stripped the checkpoint of what a resume needs.
Mostly the hook has answered it in the process itself (`hook.levers.rescue`); here is what is left
to say where it could not. It runs nothing: a person may not want the figures at all.
"""

from __future__ import annotations

from yolowatch.model.printable import escaped
from yolowatch.model.run import RunSpec, RunState
from yolowatch.model.verdict import Verdict, Where
from yolowatch.trainers.families import family


def unvalidated(user: RunSpec, state: RunState, verdict: Verdict) -> str | None:
    """What is missing of a finished training, and the command that fetches it; None of any other.

    The validation of an epoch comes before its checkpoint: one that failed in an epoch of which
    there is a checkpoint is the final one, however early the training was stopped.
    """
    words, saved = state.last_words, state.checkpoint
    if verdict.where is not Where.VALIDATION or words is None or saved is None:
        return None
    if words.place.epoch is None or words.place.epoch != saved.epoch:
        return None
    said = "All is trained and saved, and only the final validation did not fit"
    trainer, failed = family(user.trainer), _failed_batch(state)
    if trainer is None or failed is None:
        return f"{said}: repeat that alone, with a smaller batch."
    command = trainer.validation_command(user, max(failed // 2, 1))
    return f"{said}: repeat that alone, with a smaller batch: {escaped(command)}"


def _failed_batch(state: RunState) -> int | None:
    words, spec = state.last_words, state.spec
    told = [words.place.batch if words is not None else None]
    told += [spec.validation_batch if spec is not None else None]
    return max((each for each in told if each), default=None)
