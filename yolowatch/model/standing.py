"""Where an incident stands, in one word that people, pages and notifications share.

The outcomes themselves are sentences; here alone is known what they begin with.
"""

from __future__ import annotations

from enum import Enum


class Standing(Enum):
    """The value is what a person reads."""

    UNDER_WAY = "being remediated"
    TRAINING = "training again"
    HEALED = "healed"
    PREVENTED = "prevented"
    RESCUED = "survived"
    WAITING = "waits for your approval"
    RECOMMENDED = "only recommended"
    REFUSED = "not restarted"
    FAILED = "failed again"
    FOLLOWED = "not enough: another incident followed"
    ABANDONED = "given up"
    OBSERVED = "only observed"

    @property
    def needs_person(self) -> bool:
        """Whether nothing happens any more unless a person does something."""
        return self in _FOR_A_PERSON

    @property
    def is_good(self) -> bool:
        """Whether the training goes on, or went to its end."""
        return self in _GOOD


_GOOD = (Standing.TRAINING, Standing.HEALED, Standing.PREVENTED, Standing.RESCUED)
_FOR_A_PERSON = (
    Standing.WAITING,
    Standing.RECOMMENDED,
    Standing.REFUSED,
    Standing.FAILED,
    Standing.ABANDONED,
)
_BEGINNINGS = (
    ("healed", Standing.HEALED),
    ("prevented", Standing.PREVENTED),
    ("rescued", Standing.RESCUED),
    ("refused", Standing.REFUSED),
    ("failed", Standing.FAILED),
    ("abandoned", Standing.ABANDONED),
    ("recommended", Standing.RECOMMENDED),
    ("observed", Standing.OBSERVED),
    ("written again", Standing.OBSERVED),
)


def standing(outcome: str | None, receipt: str | None, *, waiting: bool) -> Standing:
    """Of an incident with this outcome, whose receipt, if there is one, has that outcome."""
    if waiting:
        return Standing.WAITING
    if outcome is not None:
        found = (each for beginning, each in _BEGINNINGS if outcome.startswith(beginning))
        return next(found, Standing.ABANDONED)
    if receipt is None or receipt == "resumed":
        return Standing.UNDER_WAY
    if receipt.startswith("failed"):
        return Standing.FOLLOWED
    return Standing.HEALED if receipt == "finished" else Standing.TRAINING


def reason(outcome: str | None) -> str | None:
    """Why it ended so, as its outcome says it; None where that is one word."""
    _, colon, rest = (outcome or "").partition(": ")
    return rest if colon else None
