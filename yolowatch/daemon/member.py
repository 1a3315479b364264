"""One run of a service, and what is to be done for one: the nouns of the fleet."""

from __future__ import annotations

from dataclasses import dataclass

from yolowatch.daemon.core import Core
from yolowatch.daemon.records import Records
from yolowatch.decide.rules import Rule
from yolowatch.model.actions import Action, Adopt, Attach, Forget, Watch
from yolowatch.model.adoption import Adoption


@dataclass(frozen=True)
class Do:
    """An action and the run that it is for; None where it is for none."""

    run: str | None
    action: Action | Adopt | Attach | Watch | Forget


@dataclass
class Member:
    """One run of the fleet; `sentence` is the last that was said of it."""

    run: str
    adoption: Adoption
    rule: Rule
    records: Records
    core: Core
    reason: str | None = None  # why it can only be observed
    sentence: str = ""
