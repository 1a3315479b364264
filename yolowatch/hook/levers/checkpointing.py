"""Activation checkpointing of the big blocks: their insides are computed again for the gradients.

The gradients are the same but for rounding; it costs a forward pass more. BatchNorm would count
each batch twice: while a block is computed again, its statistics stand still. Only the outermost of
nested blocks is checkpointed, and nothing in evaluation.

Touches `forward` of the block classes that occur in the model, at class level, because models are
pickled and deep-copied; during a recomputation the momentum and the counter of the BatchNorms
within.
"""

import contextlib
import functools
import sys
import threading

# The blocks whose insides are large against their input and output, by the names of their classes.
_YOLOV5 = ("C3", "C3x", "C3TR", "C3SPP", "C3Ghost", "SPPF", "SPP", "Bottleneck", "BottleneckCSP")
_YOLOV9 = ("RepNCSPELAN4", "ELAN1", "RepNCSP", "SPPELAN", "ADown", "AConv", "CBFuse")
_ULTRALYTICS = ("C2f", "C2fAttn", "C3k2", "C2PSA", "C2fPSA", "A2C2f", "SCDown")
BLOCKS = frozenset(_YOLOV5 + _YOLOV9 + _ULTRALYTICS)


class _Inside(threading.local):
    block = False


_inside = _Inside()
_wrapped = set()  # the classes whose forward is ours


def supported(torch):
    """None, or why this version of torch cannot do it."""
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    return None if version >= (2, 1) else "torch %s is older than 2.1" % torch.__version__


def count(model):
    """(blocks of `model` that can be checkpointed, those that are)."""
    torch = sys.modules["torch"]
    blocks = [m for m in model.modules() if type(m).__name__ in BLOCKS]
    active = sum(_owner(type(m)) in _wrapped for m in blocks)
    return len(blocks) if supported(torch) is None else 0, active


def install(model):
    """Checkpoint the blocks of `model` from now on; returns how many it has.

    Raises LookupError where it has none, or torch is too old.
    """
    torch = sys.modules["torch"]
    obstacle = supported(torch)
    if obstacle is not None:
        raise LookupError(obstacle)
    classes = {type(module) for module in model.modules() if type(module).__name__ in BLOCKS}
    if not classes:
        raise LookupError("the model has no block that is known to be large")
    # `C3k2` derives from `C2f`: a class without a forward of its own inherits the wrapped one.
    for owner in {_owner(each) for each in classes}:
        _wrap(owner, torch)
    return sum(type(module) in classes for module in model.modules())


def _owner(cls):
    return next(each for each in cls.__mro__ if "forward" in vars(each))


def _wrap(cls, torch):
    from torch.utils.checkpoint import checkpoint

    original = cls.forward
    if cls in _wrapped:
        return
    _wrapped.add(cls)

    @functools.wraps(original)
    def forward(block, *inputs):
        if _inside.block or not block.training or not torch.is_grad_enabled():
            return original(block, *inputs)
        norms = [m for m in block.modules() if getattr(m, "track_running_stats", False)]
        return checkpoint(
            functools.partial(_computed, original, block),
            *inputs,
            use_reentrant=False,
            context_fn=lambda: (contextlib.nullcontext(), _standing_still(norms)),
        )

    cls.forward = forward


def _computed(original, block, *inputs):
    _inside.block = True
    try:
        return original(block, *inputs)
    finally:
        _inside.block = False


@contextlib.contextmanager
def _standing_still(norms):
    """With momentum 0 the statistics are written as they were, and nothing is counted."""
    held = [(norm, norm.momentum, norm._buffers["num_batches_tracked"]) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        norm._buffers["num_batches_tracked"] = None
    try:
        yield
    finally:
        for norm, momentum, tracked in held:
            norm.momentum = momentum
            norm._buffers["num_batches_tracked"] = tracked
