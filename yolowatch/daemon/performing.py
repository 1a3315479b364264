"""Hands each action that the fleet wants to whoever does it, in a service.

What takes long is done in threads, which answer with an event. It decides nothing: the fleet has
journaled what it asks for here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from yolowatch.daemon import threads
from yolowatch.daemon.member import Do
from yolowatch.daemon.reaching import Reacher
from yolowatch.daemon.surveying import Surveyor
from yolowatch.edges import terminal
from yolowatch.edges.listener import Listener
from yolowatch.hands.port import ServiceHands
from yolowatch.model import events
from yolowatch.model.actions import (
    Adopt,
    Attach,
    CountBoxes,
    Forget,
    Order,
    RestoreFiles,
    RunStep,
    Say,
    Signal,
    VaultCheckpoint,
    Watch,
)
from yolowatch.model.printable import printable

_WORKERS = 16  # runs whose remediations can be on their way at once


class Performer:
    """`perform` is called by the loop; `tell` takes an event from any thread and never loses it."""

    def __init__(
        self,
        hands: ServiceHands,
        listener: Listener,
        surveyor: Surveyor,
        reacher: Reacher,
        tell: Callable[[events.Event], None],
    ) -> None:
        self._hands, self._listener = hands, listener
        self._surveyor, self._reacher, self._tell = surveyor, reacher, tell
        self._workers = ThreadPoolExecutor(_WORKERS, "yolowatch-hands")

    def perform(self, wanted: Sequence[Do]) -> list[str]:
        """Do all of it; the sentences of what could not be put back."""
        troubles: list[str] = []
        for do in wanted:
            run, action = do.run, do.action
            match action:
                case Say():
                    say(run, action.sentence)
                case Signal():
                    self._signal(action)
                case Order():
                    self._listener.order(action)
                case Watch():
                    self._hands.watch(action.process)
                case Adopt() | CountBoxes():
                    self._work(partial(self._surveyor.survey, action))
                case Attach():
                    self._work(partial(self._reacher.attach, action))
                case VaultCheckpoint() if run is not None:
                    self._hands.vault(run, action)
                case RunStep() if run is not None:
                    self._work(partial(self._hands.step, run, action))
                case RestoreFiles() if run is not None:
                    found = self._hands.restore(run, action)
                    for trouble in found:
                        say(run, trouble)
                    troubles += found
                case Forget() if run is not None:
                    self._hands.forget(run)
        return troubles

    def _signal(self, action: Signal) -> None:
        try:
            self._hands.signal(action.process, action.number)
        except OSError as error:
            say(None, f"process {action.process.pid} cannot be signalled ({error.strerror})")

    def _work(self, effect: Callable[[], events.Event]) -> None:
        """Have it done in a thread of its own, which answers with an event that is never lost."""
        self.submit(lambda: self._tell(effect()))

    def submit(self, work: Callable[[], None]) -> None:
        """Have it done in a thread of its own, which answers by itself."""
        threads.submit(self._workers, work, _failed)

    def close(self) -> None:
        """Begin nothing more; what is under way ends by itself."""
        self._workers.shutdown(wait=False, cancel_futures=True)


def say(run: str | None, sentence: str) -> None:
    """One sentence of the service, or of one of its runs, to whoever reads its journal."""
    name = "yolowatch" if run is None else f"yolowatch[{run}]"
    terminal.tell(f"{name}: {printable(sentence, 2000)}")


def _failed(trace: str) -> None:
    terminal.tell(trace)
    say(None, "an internal error ended a step; its run is left as it is")
