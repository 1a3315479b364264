"""An optimizer whose state takes 8 bits a number, of the package bitsandbytes.

Touches: the optimizer that the trainer has just built is replaced by one of the same kind with the
same groups; it has no state yet. SGD of that package knows no Nesterov momentum.
"""

import importlib.util

KINDS = {"SGD": "SGD8bit", "Adam": "Adam8bit", "AdamW": "AdamW8bit", "RMSprop": "RMSprop8bit"}
_SETTINGS = ("params", "lr", "betas", "eps", "weight_decay", "momentum", "alpha", "param_group")


def available():
    """Whether the package is there; it is not imported."""
    return importlib.util.find_spec("bitsandbytes") is not None


def exchanged(optimizer):
    """The 8-bit form of an optimizer that has no state; raises LookupError where there is none."""
    kind = KINDS.get(type(optimizer).__name__)
    if kind is None:
        raise LookupError("there is no 8-bit form of %s" % type(optimizer).__name__)
    import bitsandbytes

    groups = [
        {name: group[name] for name in _SETTINGS if name in group}
        for group in optimizer.param_groups
    ]
    settings = {"lr": optimizer.defaults["lr"]}
    if "momentum" in optimizer.defaults:  # it refuses a default of none, whatever the groups say
        settings["momentum"] = optimizer.defaults["momentum"] or groups[0].get("momentum") or 0.9
    return getattr(bitsandbytes.optim, kind)(groups, **settings)
