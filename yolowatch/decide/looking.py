"""Interim: outlooks by the laws that are fitted for plans."""

from __future__ import annotations

from collections.abc import Sequence

from yolowatch.decide.forecast import Laws
from yolowatch.model.forecast import Outlook
from yolowatch.model.run import RunSpec, RunState


def looks(state: RunState, laws: Laws, spec: RunSpec) -> Sequence[Outlook]:
    found = []
    capacity = state.memory.capacity_bytes
    law = laws.training
    side = spec.image_size_max or spec.image_size
    if law is not None and not laws.weak and spec.batch and side:
        point = law.peak_bytes(spec.batch * side * side)
        bound = round(point + 0.02 * law.per_pixel_bytes * spec.batch * side * side)
        p = None if capacity is None else float(point > capacity)
        found.append(Outlook("backward", point, bound, p, capacity))
    law = laws.validation
    if law is not None and spec.validation_batch and spec.image_size:
        point = law.peak_bytes(spec.validation_batch * spec.image_size**2)
        p = None if capacity is None else float(point > capacity)
        found.append(Outlook("validation", point, round(point * 1.02), p, capacity))
    return found
