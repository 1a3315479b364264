"""What the hook replaces comes back, in whatever order others have wrapped it."""

from __future__ import annotations

import pytest

from yolowatch.hook import patches


class Base:
    def inherited(self) -> str:
        return "base"


class Owner(Base):
    def own(self) -> str:
        return "own"


@pytest.fixture(autouse=True)
def nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patches, "_undo", [])


def test_attributes_and_names_come_back() -> None:
    original, namespace = vars(Owner)["own"], {"there": 1}
    patches.put(Owner, "own", lambda self: "first")
    patches.put(Owner, "own", lambda self: "second")
    patches.put(Owner, "inherited", lambda self: "ours")
    patches.put_item(namespace, "there", 2)
    patches.put_item(namespace, "new", 3)
    done: list[str] = []
    patches.later(done.append, "called")
    assert (Owner().own(), Owner().inherited(), namespace["there"]) == ("second", "ours", 2)
    assert patches.take_back() == []
    assert vars(Owner)["own"] is original
    assert "inherited" not in vars(Owner)
    assert namespace == {"there": 1}
    assert done == ["called"]


def test_what_others_have_wrapped_since_stays_and_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Owner, "own", Owner.own)
    patches.put(Owner, "own", lambda self: "ours")

    def theirs(self: Owner) -> str:
        return "theirs"

    Owner.own = theirs  # type: ignore[method-assign]
    assert patches.take_back() == ["Owner.own"]
    assert vars(Owner)["own"] is theirs
