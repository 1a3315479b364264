"""What each batch took, learnt without resetting anything.

At the ends of the phases the allocator says what is in use; its own high-water mark says what the
most ever was. When the mark rises during a batch, that batch's peak is known exactly. Only what
teaches something is kept: a rise, a size not seen often yet, now and then a repetition. Between
those only a few batches of each window are read, so that the cost of a step has a bound.
"""

import time

from .place import place

_OFTEN = 3  # batches of one size after which it is only looked at now and then
_NOW_AND_THEN = 50
_KEEP = 256


class Footprints:
    """Collects `wire` footprint records: phase, batch, height, width, boxes, base, peak, exact,
    epoch.

    Called from the training thread; `take` from the agent's thread.
    """

    def __init__(self, allocator):
        self._allocator = allocator
        self._records = []
        self._counts = {}
        self._shape = None  # of the batch that is read now
        self._base = None
        self._forward_end = None
        self._looking = False
        self.pause_seconds = 0.0  # between two batches that are read for the window alone
        self._read_again_at = 0.0
        self._mark = allocator.peak()
        self._largest_pixels = 0  # of the largest batch since the mark was last read
        self._largest = None  # its shape and base
        self.window_min = self.window_max = None

    def begin(self, phase, batch, height, width, boxes):
        """A batch of this shape starts to be worked on."""
        pixels = batch * height * width
        size = phase, pixels
        seen = self._counts[size] = self._counts.get(size, 0) + 1
        looking = seen <= _OFTEN or seen % _NOW_AND_THEN == 0
        now = time.monotonic()
        if not looking and pixels <= self._largest_pixels and now < self._read_again_at:
            self._shape, place.reading = None, False
            return
        self._looking = looking
        self._read_again_at = now + self.pause_seconds
        self._shape, place.reading = (phase, batch, height, width, boxes), True
        self._forward_end = None
        self._base = self._used()
        if pixels >= self._largest_pixels:
            self._largest_pixels = pixels
            self._largest = (self._shape, self._base)

    def forward_end(self):
        """Activations and the loss's own tensors are all held now."""
        if self._shape is not None and self._forward_end is None:
            self._forward_end = self._used()
            if self._looking and self._shape[0] == "backward":
                self._keep(("forward",) + self._shape[1:], self._base, self._forward_end, False)

    def end(self):
        """The batch is done: the backward pass, or one batch of the validation."""
        if self._shape is None:
            return
        used = self._used()
        if self._looking and not self._read_mark():
            seen = used if self._forward_end is None else max(used, self._forward_end)
            self._keep(self._shape, self._base, seen, False)
        self._shape, place.reading = None, False

    def phase_end(self, phase):
        """Another phase (optimizer, save) has ended: what is in use now, and whether it was a
        peak.
        """
        seen = self._counts[phase] = self._counts.get(phase, 0) + 1
        if seen > _OFTEN and seen % _NOW_AND_THEN:
            return
        used = self._used()
        mark = self._allocator.peak()
        rose, self._mark = mark > self._mark, max(mark, self._mark)
        self._keep((phase, 0, 0, 0, None), used, mark if rose else used, rose)

    def _read_mark(self):
        """Whether the high-water mark rose; if so the largest batch since the last look has it."""
        mark = self._allocator.peak()
        largest, self._largest = self._largest, None
        self._largest_pixels = 0
        if mark <= self._mark:
            return False
        self._mark = mark
        if largest is not None:
            self._keep(largest[0], largest[1], mark, True)
        return largest is not None

    def _used(self):
        used = self._allocator.used()
        if self.window_min is None or used < self.window_min:
            self.window_min = used
        if self.window_max is None or used > self.window_max:
            self.window_max = used
        return used

    def _keep(self, shape, base, peak, exact):
        if len(self._records) < _KEEP:
            self._records.append(list(shape) + [base, peak, exact, place.epoch])

    def take(self, limit=64):
        """Up to `limit` records that were not taken yet."""
        taken = self._records[:limit]
        del self._records[: len(taken)]
        return taken
