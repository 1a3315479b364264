"""The whole table of who may ask for what."""

from __future__ import annotations

import itertools

import pytest

from yolowatch.decide.authority import may
from yolowatch.model.control import VERBS, ControlRequest

ALICE, BOB, ROOT, SERVICE = 1001, 1002, 0, 990
OWNERS = (ALICE, BOB, ROOT, SERVICE, None)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("uid", "in_group", "owner"),
    list(itertools.product((ALICE, BOB, ROOT, SERVICE), (False, True), OWNERS)),
)
def test_owners_root_and_the_group_may_and_nobody_else(
    verb: str, uid: int, in_group: bool, owner: int | None
) -> None:
    request = ControlRequest(1, uid, 4321, in_group, verb, {})
    refusal = may(request, owner, "operators")
    allowed = uid == ROOT or in_group or (owner is not None and uid == owner)
    assert (refusal is None) is allowed
    if refusal is not None:
        assert refusal.startswith(f"{verb} is not allowed here for uid {uid}")
        assert "operators" in refusal
