"""What a successor of a killed daemon needs to know of a run's remediations, and takes up.

Beside `healing`, which decides; here is only what is carried over.
"""

from __future__ import annotations

from yolowatch.daemon.healing import Healing
from yolowatch.daemon.memento import HealingMemento
from yolowatch.daemon.remedy import Remedy


def remember(healing: Healing) -> HealingMemento:
    """What is planned and carried out so far."""
    return HealingMemento(
        healing.lessons,
        tuple(healing.restorable.values()),
        healing.carried_out,
        tuple(healing.receipts),
        healing.remedy.remember() if healing.remedy is not None else None,
        healing.waiting,
        healing.refused,
        healing.planned,
    )


def restore(healing: Healing, memento: HealingMemento) -> None:
    """Become what another daemon's was."""
    healing.lessons = memento.lessons
    healing.restorable = {change.path: change for change in memento.restorable}
    healing.carried_out = memento.carried_out
    healing.receipts = list(memento.receipts)
    if memento.remedy is not None:
        healing.remedy = Remedy.restored(memento.remedy)
    healing.waiting = memento.waiting
    healing.refused, healing.planned = memento.refused, memento.planned
