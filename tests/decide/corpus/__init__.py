"""Failures as they were published, and what was recorded of real trainings: each with its kind.

`python -m tests.decide.corpus` prints how each was classified.
"""

from tests.decide.corpus.reports import (
    CACHING,
    CPU,
    CUDA,
    DEVICE_FAULTS,
    DISGUISED,
    DISGUISED_DEVICE,
    ECHOES,
    FREE_MEMORY,
    HOST,
    LOADING,
    NEIGHBOURS,
    NOT_OOM,
    RESUMED,
    Report,
)

__all__ = [
    "CACHING",
    "CPU",
    "CUDA",
    "DEVICE_FAULTS",
    "DISGUISED",
    "DISGUISED_DEVICE",
    "ECHOES",
    "FREE_MEMORY",
    "HOST",
    "LOADING",
    "NEIGHBOURS",
    "NOT_OOM",
    "RESUMED",
    "Report",
]
