"""What `yolowatch top` shows at a moment, and what a key does to it: pure, without a terminal."""

from __future__ import annotations

from dataclasses import dataclass, replace

from yolowatch.model.view import STATES, FleetView, RunView

SORTS = ("attention", "headroom", "user", "epoch", "run")
_URGENT = ("waiting for approval", "failed", "remediating")
_FILTER_CHARACTERS = 60
_PAGE = 10


@dataclass(frozen=True)
class Top:
    """`view` is None until the daemon has answered once, `trouble` why it did not just now.

    `selected` is a run's id, so that it stays where rows move; `inspected` is that run as the
    daemon tells it whole, while it is looked at.
    """

    view: FleetView | None = None
    trouble: str | None = None
    selected: str | None = None
    sort: str = SORTS[0]
    filter: str = ""
    typing: bool = False  # keys go into the filter
    inspecting: bool = False
    inspected: RunView | None = None
    over: bool = False

    def rows(self) -> list[RunView]:
        """The runs that the filter lets pass, in their order."""
        runs = self.view.runs if self.view is not None else ()
        return sorted(filter(self._passes, runs), key=_ORDERS[self.sort])

    def current(self) -> RunView | None:
        """The selected run: the first one where the one that was selected is not shown."""
        rows = self.rows()
        chosen = (run for run in rows if run.run == self.selected)
        return next(chosen, rows[0] if rows else None)

    def pressed(self, key: str) -> Top:
        """What it is after a key."""
        if self.typing:
            return self._typed(key)
        if key == "q" or (key == "escape" and not self.inspecting and not self.filter):
            return replace(self, over=key == "q")
        if key in ("escape", "backspace"):
            if self.inspecting:
                return replace(self, inspecting=False, inspected=None)
            return replace(self, filter="")
        if key in ("enter", "i") and self.current() is not None:
            return replace(self, inspecting=not self.inspecting, inspected=None)
        if key == "/":
            return replace(self, typing=True, inspecting=False, inspected=None)
        if key == "s":
            return replace(self, sort=SORTS[(SORTS.index(self.sort) + 1) % len(SORTS)])
        if key in _MOVES:
            return self._moved(_MOVES[key])
        return self

    def _passes(self, run: RunView) -> bool:
        texts = (run.run, run.user, run.trainer, run.model, run.run_dir, run.state, run.mode)
        wanted = self.filter.casefold()
        return any(wanted in text.casefold() for text in texts if text is not None)

    def _typed(self, key: str) -> Top:
        if key == "enter":
            return replace(self, typing=False)
        if key == "escape":
            return replace(self, typing=False, filter="")
        if key == "backspace":
            return replace(self, filter=self.filter[:-1])
        if len(key) == 1 and len(self.filter) < _FILTER_CHARACTERS:
            return replace(self, filter=self.filter + key)
        return self

    def _moved(self, by: int) -> Top:
        rows, current = self.rows(), self.current()
        if current is None:
            return self
        place = min(max(rows.index(current) + by, 0), len(rows) - 1)
        return replace(self, selected=rows[place].run, inspected=None)


_MOVES = {
    "up": -1, "k": -1, "down": 1, "j": 1, "page up": -_PAGE, "page down": _PAGE,
    "home": -(10**6), "end": 10**6,
}  # fmt: skip


def share_free(run: RunView) -> float | None:
    """The part of the capacity that could still be allocated; None where it is unknown."""
    free, capacity = run.memory.headroom_bytes, run.memory.capacity_bytes
    return None if free is None or not capacity else free / capacity


def _headroom(run: RunView) -> tuple[bool, float]:
    share = share_free(run)
    return (share is None, share or 0.0)  # what is unknown comes last


def _attention(run: RunView) -> tuple[int, bool, float, str]:
    """Who needs a person first, then who trains, the tightest first, then all others."""
    if run.state in _URGENT:
        rank = _URGENT.index(run.state)
    else:
        rank = len(_URGENT) + (STATES.index(run.state) if run.state in STATES else len(STATES))
    return (rank, *_headroom(run), run.run)


_ORDERS = {
    "attention": _attention,
    "headroom": lambda run: (*_headroom(run), run.run),
    "user": lambda run: (run.user or str(run.uid), run.run),
    "epoch": lambda run: (-(run.epoch or 0), run.run),
    "run": lambda run: run.run,
}
