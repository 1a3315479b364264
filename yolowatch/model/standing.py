"""Where an incident stands, in one word that people, pages and notifications share.

The outcomes themselves are sentences; here alone is known what they begin with.
"""

from __future__ import annotations

from enum import Enum

from yolowatch.model.verdict import Kind, Severity


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
    WATCHED = "watched"
    ALARM = "needs a look"
    PASSED = "passed"

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
    Standing.ALARM,
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
    ("passed", Standing.PASSED),
    ("written again", Standing.OBSERVED),
)


def standing(
    outcome: str | None,
    receipt: str | None,
    *,
    waiting: bool,
    under_way: bool = True,
    kind: str | None = None,
) -> Standing:
    """Of an incident with this outcome, whose receipt, if there is one, has that outcome.

    `under_way` is whether a plan for it is carried out: an open incident without one is watched.
    """
    if waiting:
        return Standing.WAITING
    if outcome is not None:
        found = (each for beginning, each in _BEGINNINGS if outcome.startswith(beginning))
        return next(found, Standing.PASSED)
    if receipt == "resumed" or (receipt is None and under_way):
        return Standing.UNDER_WAY
    if receipt is None:
        return Standing.ALARM if severity(kind) is Severity.CRITICAL else Standing.WATCHED
    if receipt.startswith("failed"):
        return Standing.FOLLOWED
    return Standing.HEALED if receipt == "finished" else Standing.TRAINING


def severity(kind: str | None) -> Severity:
    """Of an incident's kind; what is unknown is a warning."""
    try:
        return Kind(kind).severity
    except ValueError:
        return Severity.WARNING


def reason(outcome: str | None) -> str | None:
    """Why it ended so, as its outcome says it; None where that is one word."""
    _, colon, rest = (outcome or "").partition(": ")
    return rest if colon else None
