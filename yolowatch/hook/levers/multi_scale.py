"""The multi-scale range of the YOLOv5 family, which its trainers offer no option for.

Each batch they draw a size with `random.randrange`; the training program's `random` is replaced by
one that draws from a narrower range and passes everything else on. The range is a ratio: 0.33 means
sizes from 0.67 to 1.33 times the image size. It can be changed while the training runs.

YOLOv9 gives `randrange` fractions, which Python 3.12 and later refuse: there whole numbers are made
of them, as earlier versions did, whether or not the range is changed.
"""

import sys

from .. import patches

WIDEST = 0.5  # what these trainers draw from
WIDEST_ORDER = 0.95  # of trainers with an option: sizes stay above nothing

_FRACTIONS_REFUSED = (3, 12)
_installed = []


class Range:
    """Stands in for the module `random` in one training program."""

    def __init__(self, module):
        self._module = module
        self.ratio = None  # None: as the trainer has it
        self.highest = None  # no size from here on; see `guarding`

    def __getattr__(self, name):
        return getattr(self._module, name)

    def randrange(self, start, stop=None, *step):
        """A size from the range, where the trainer draws from half to one and a half times."""
        if stop is None or step:
            return self._module.randrange(start, *(() if stop is None else (stop,)), *step)
        if self.ratio is not None:
            start, stop = narrowed(start, stop, self.ratio)
        if self.highest is not None and start < self.highest:
            stop = min(stop, self.highest)
        return self._module.randrange(int(start), int(stop))


def narrowed(start, stop, ratio):
    """(start, stop) of a range of sizes 1 - ratio to 1 + ratio, of which both ends are 0.5 off.

    The trainer calls with half the image size and one and a half times it plus a stride.
    """
    size = round(start * 2)
    stride = stop - size * 3 / 2
    return int(size * (1 - ratio)), int(size * (1 + ratio) + stride)


def is_needed(program):
    """Whether a training program that nobody changes needs its fractions made whole."""
    return sys.version_info >= _FRACTIONS_REFUSED and "random" in program


def install(program):
    """Put a `Range` in the place of `random` in a training program's namespace, once."""
    current = program.get("random")
    if not isinstance(current, Range):
        current = Range(current)
        _installed.append(current)
        patches.put_item(program, "random", current)
    return current


def set_ratio(program, ratio):
    """Let a training program draw from 1 - ratio to 1 + ratio from its next batch on."""
    install(program).ratio = ratio


def is_changed():
    """Whether any training program of this process draws from a range that somebody changed."""
    return any((each.ratio, each.highest) != (None, None) for each in _installed)
