"""Whether a new attempt is what was planned: what its trainer says against the edits."""

from __future__ import annotations

import math

from yolowatch.daemon.attempt import Attempt
from yolowatch.model.plan import Edits
from yolowatch.model.run import RunSpec


def mismatch(edits: Edits, user: RunSpec, spec: RunSpec, ranks: int = 1) -> str | None:
    """Why a new attempt, of which `ranks` share each batch, is not what the plan said, or None;
    unknown values are no reason.
    """
    if edits.one_gpu is not None and ranks > 1:
        return f"it is still made of {ranks} ranks"
    if edits.more_gpus is not None and ranks != len(edits.more_gpus):
        return f"it is made of {ranks} ranks instead of {len(edits.more_gpus)}"
    if edits.batch is not None and spec.batch is not None and spec.batch != edits.batch:
        return f"its batch is {spec.batch} instead of {edits.batch}"
    if spec.effective_batch is not None and spec.effective_batch != user.effective_batch:
        return f"its effective batch is {spec.effective_batch} instead of {user.effective_batch}"
    was, is_now = user.effective_weight_decay, spec.effective_weight_decay
    if was is not None and is_now is not None and not math.isclose(was, is_now, rel_tol=1e-9):
        return f"its effective weight decay is {is_now:.6g} instead of {was:.6g}"
    if spec.run_dir is not None and spec.run_dir != user.run_dir:
        return f"it writes to {spec.run_dir} instead of {user.run_dir}"
    return _not_in_force(edits, spec)


def unplanned(attempt: Attempt, user: RunSpec | None, spec: RunSpec, ranks: int) -> str | None:
    """The same of an attempt that a plan has started, the first time; None of any other."""
    if attempt.number == 0 or attempt.edits is None:
        return None
    if user is None or attempt.distrusted is not None:
        return None
    if spec.train_calls is not None and spec.train_calls > 1:
        return None  # a further training of the same program is as its author wrote it
    return mismatch(attempt.expected(), user, spec, ranks)


def _not_in_force(edits: Edits, spec: RunSpec) -> str | None:
    """Which of the levers beside the batch the trainer has not taken, or None."""
    wanted, given = edits.validation_batch, spec.validation_batch
    if wanted is not None and given is not None and given > wanted:
        return f"its validation batch is {given} instead of {wanted}"
    if (spec.multi_scale or 0.0) > (1.0 if edits.multi_scale is None else edits.multi_scale + 1e-6):
        return f"its sizes differ by {spec.multi_scale} instead of {edits.multi_scale}"
    if edits.amp is not None and spec.precision not in (None, edits.amp):
        return f"its precision is {spec.precision} instead of {edits.amp}"
    if edits.checkpointing and spec.checkpointed == 0:
        return "no activations of it are checkpointed"
    if edits.expandable_segments and "expandable_segments:True" not in (spec.allocator or ""):
        return "its allocator has no expandable segments"
    return _host_memory_not_in_force(edits, spec) or _opt_in_not_in_force(edits, spec)


def _host_memory_not_in_force(edits: Edits, spec: RunSpec) -> str | None:
    if edits.workers is not None and spec.workers is not None and spec.workers > edits.workers:
        return f"it has {spec.workers} workers instead of {edits.workers}"
    if edits.cache is not None and spec.cache not in (None, edits.cache):
        return f"its cache is {spec.cache} instead of {edits.cache}"
    if edits.pin_memory is False and spec.pin_memory:
        return "its batches are in pinned memory"
    return None


def _opt_in_not_in_force(edits: Edits, spec: RunSpec) -> str | None:
    """The same for the levers that the policy file must name."""
    if edits.freeze is not None and spec.frozen is not None and spec.frozen < edits.freeze:
        return f"its first {spec.frozen} layers are frozen instead of {edits.freeze}"
    if edits.image_size is not None and spec.image_size not in (None, edits.image_size):
        return f"its image size is {spec.image_size} instead of {edits.image_size}"
    if edits.pruning and spec.pruned == 0.0:
        return "its model is not pruned"
    if edits.optimizer_bits == 8 and spec.optimizer and not spec.optimizer.endswith("8bit"):
        return f"its optimizer is {spec.optimizer}, with a state in 32 bits"
    return None
