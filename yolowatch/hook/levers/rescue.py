"""Answers a failure in the process that would have ended it, where the answer is exact.

Only where the policy says so (YOLOWATCH_RESCUE), in a training of one process, and never twice for
the same: what fails again ends the process as it would have. With "final" only the validation that
ends a training is answered: nothing is armed before it, and no epoch is left that could be resumed.

A validation that lacks memory begins anew with half the batch: its results are those of the smaller
batch from the start. A training step that lacks it in the forward pass, of which no gradient exists
yet, runs again with the activations of the big blocks computed twice instead of kept, from the same
random numbers and the same BatchNorm statistics as the first time.

Touches: the local variables of the frames that failed, which hold the memory; the CUDA cache; the
validation loader's batch; of a step the generators' states, the BatchNorm buffers, and what
`checkpointing` touches. While it is armed a step costs a copy of the BatchNorm buffers and of the
generators' states.
"""

import functools
import os
import sys
import traceback

from .. import patches, settings
from ..agent import agent
from ..guard import entry, faults
from ..place import place
from . import checkpointing, emergency, validation_batch

_FAILURES = (RuntimeError, MemoryError)


class _Rescued:
    step = False  # a step was: activations are checkpointed since


def is_armed(final=False):
    """Whether this process is to survive; ranks are not, since the others would not know.

    `final`: all that was trained is saved.
    """
    wanted = settings.value("YOLOWATCH_RESCUE") in (("1", "final") if final else ("1",))
    return wanted and faults.armed and int(os.environ.get("WORLD_SIZE", "1")) < 2


def changed():
    """Whether a rescue is in force in this process."""
    return _Rescued.step


# -- a validation ---------------------------------------------------------------------------------


def watch_validation(owner, name, loader_of):
    """Let `owner.name` run again with half the batch; `loader_of` its arguments is the loader."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def validate(*args, **kwargs):
        while True:
            try:
                return original(*args, **kwargs)
            except _FAILURES as error:
                if not _smaller_validation(error, loader_of, args, kwargs):
                    raise

    patches.put(owner, name, validate)


@entry
def _smaller_validation(error, loader_of, args, kwargs):
    """Whether the validation may begin anew, with a smaller batch and without what it held."""
    if not is_armed(final=place.all_saved) or not emergency.is_memory_failure(error):
        return False
    loader = loader_of(*args, **kwargs)
    before = getattr(loader, "batch_size", None)
    if not before or before < 2:
        return False
    told = _failure(error)
    after = next(each for each in range(before // 2, 0, -1) if before % each == 0)
    _release(error)
    validation_batch.shrink(loader, after)
    if loader.batch_size != after:
        return False
    agent.tell_at_any_cost("rescue", what="validation", before=before, after=after, **told)
    return True


# -- a training step ------------------------------------------------------------------------------


def forward(original, model, *args, **kwargs):
    """The outermost forward pass of a training step, which may fail once."""
    kept = _keep(model) if is_armed() and not _Rescued.step else None
    if kept is None:
        return original(model, *args, **kwargs)
    try:
        return original(model, *args, **kwargs)
    except _FAILURES as error:
        if not _step_again(error, model, kept):
            raise
    return original(model, *args, **kwargs)


@entry
def _keep(model):
    """What the forward pass changes, as it is now; None where it could not be put back."""
    torch = sys.modules["torch"]
    if not model.training or not torch.is_grad_enabled():
        return None
    buffers = [
        buffer
        for norm in model.modules()
        if getattr(norm, "track_running_stats", False)
        for buffer in norm.buffers(recurse=False)
    ]
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    return [(b, b.detach().clone()) for b in buffers], torch.get_rng_state(), cuda


@entry
def _step_again(error, model, kept):
    """Whether the step may run again: all is as before it, and it will take less."""
    torch = sys.modules["torch"]
    possible, already = checkpointing.count(model)
    if not emergency.is_memory_failure(error) or already or not possible:
        return False
    told = _failure(error)
    _release(error)
    buffers, generator, cuda = kept
    with torch.no_grad():
        for buffer, before in buffers:
            buffer.copy_(before)
    torch.set_rng_state(generator)
    if cuda is not None:
        torch.cuda.set_rng_state_all(cuda)
    blocks = checkpointing.install(model)
    _Rescued.step = True
    place.phase = "forward"
    agent.tell_at_any_cost("rescue", what="step", blocks=blocks, **told)
    return True


# -- both -----------------------------------------------------------------------------------------


def _failure(error):
    """What there is to say of it, before what it holds is let go."""
    name = emergency.name_of(error)
    return dict(place.fields(), **agent.memory(), exception=name, text=str(error))


def _release(error):
    """Let go of what the failed pass held: its frames', all the way down."""
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        traceback.clear_frames(error.__traceback__)
        # A generator that has failed keeps its variables as long as its frame is known.
        error.__traceback__ = None
        error = error.__context__
    emergency.free()
