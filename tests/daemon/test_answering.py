"""What is answered to whom: a user's view holds nothing of another's, and commands are theirs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from yolowatch.daemon.answering import Answer, answer
from yolowatch.model.control import (
    Approve,
    AttachTo,
    ControlRequest,
    Detach,
    Pause,
    ResumeRun,
    Rollback,
)
from yolowatch.model.view import FleetView, IncidentView, PlanView, RunView

ALICE, BOB, SERVICE = 1001, 1002, 990
PLAN = PlanView("p1", ("batch 16 becomes 8",), "it fits")
A1 = RunView("a1b2", ALICE, "alice", 11, state="waiting for approval", plan=PLAN)
A2 = RunView("a1c3", ALICE, "alice", 12, state="training", replaced_files=1)
B1 = RunView("b0b0", BOB, "bob", 13, model="secret-of-bob", plan=PLAN, replaced_files=1)
VIEW = FleetView(
    "1.0",
    SERVICE,
    runs=(A1, A2, B1),
    config_path="/etc/yolowatch/yolowatch.yaml",
    config_trouble="yolowatch.yaml: users: bob's mode must be one of …",
)
OWNERS = {11: ALICE, 12: ALICE, 13: BOB, 1: 0}


def ask(verb: str, uid: int = ALICE, in_group: bool = False, **arguments: Any) -> Answer:
    request = ControlRequest(1, uid, 999, in_group, verb, arguments)
    return answer(request, VIEW, OWNERS.get)


def error(found: Answer) -> str:
    assert found.body["ok"] is False
    assert found.command is None
    return str(found.body["error"])


def runs(found: Answer) -> list[str]:
    assert found.body["ok"] is True
    return [run["run"] for run in found.body["runs"]]


def test_a_user_sees_their_own_runs_only() -> None:
    assert runs(ask("status")) == ["a1b2", "a1c3"]
    assert runs(ask("status", BOB)) == ["b0b0"]
    assert runs(ask("status", 1003)) == []
    assert (
        runs(ask("status", 0))
        == runs(ask("status", 1003, in_group=True))
        == [
            "a1b2",
            "a1c3",
            "b0b0",
        ]
    )


def test_nothing_of_another_user_is_in_an_answer() -> None:
    for verb in ("status", "approve", "pause", "resume", "rollback"):
        for run in ("b0b0", "b", "b0b0ff", "a1b2", None):
            found = ask(verb, run=run)
            assert "bob" not in json.dumps(found.body)
            assert "b0b0" not in json.dumps(found.body).replace(str(run), "")


@pytest.mark.parametrize("verb", ["status", "approve", "pause", "resume", "rollback"])
def test_anothers_run_is_refused_as_one_that_does_not_exist(verb: str) -> None:
    theirs, none = error(ask(verb, run="b0b0")), error(ask(verb, run="ffff"))
    assert theirs.replace("b0b0", "ffff") == none
    assert "No run of yours" in none


def test_a_run_is_named_by_its_id_or_an_unambiguous_beginning() -> None:
    assert ask("pause", run="a1b").command == Pause("a1b2")
    assert ask("pause", run="a1c3").command == Pause("a1c3")
    assert "2 runs' ids begin with a1" in error(ask("pause", run="a1"))
    assert ask("pause", BOB, run="b").command == Pause("b0b0")


def test_an_exact_id_that_begins_another_is_itself() -> None:
    view = replace(VIEW, runs=(replace(A1, run="a1"), A2))
    request = ControlRequest(1, ALICE, 1, False, "pause", {"run": "a1"})
    assert answer(request, view, OWNERS.get).command == Pause("a1")


def test_pause_and_resume_of_all_are_the_services() -> None:
    for verb, command in (("pause", Pause(None)), ("resume", ResumeRun(None))):
        assert "Name one of your runs" in error(ask(verb))
        for uid, in_group in ((0, False), (SERVICE, False), (ALICE, True)):
            assert ask(verb, uid, in_group).command == command
    assert ask("resume", run="a1c3").command == ResumeRun("a1c3")


def test_approve_needs_a_plan_and_takes_no_other() -> None:
    assert ask("approve", run="a1b2").command == Approve("a1b2", "p1")
    assert ask("approve", run="a1b2", plan="p1").command == Approve("a1b2", "p1")
    assert "Plan p0 of run a1b2 waits no more; plan p1 does" in error(
        ask("approve", run="a1b2", plan="p0")
    )
    assert "No plan of run a1c3 waits" in error(ask("approve", run="a1c3"))


def test_what_is_paused_is_not_approved() -> None:
    view = replace(VIEW, runs=(replace(A1, paused=True),))
    request = ControlRequest(1, ALICE, 1, False, "approve", {"run": "a1b2"})
    assert "is paused: `yolowatch resume` first" in error(answer(request, view, OWNERS.get))


def test_rollback_needs_something_to_put_back_and_nobody_at_work() -> None:
    assert ask("rollback", run="a1c3").command == Rollback("a1c3")
    assert "Nothing of run a1b2 was changed" in error(ask("rollback", run="a1b2"))
    view = replace(VIEW, runs=(replace(A2, state="remediating"),))
    request = ControlRequest(1, ALICE, 1, False, "rollback", {"run": "a1c3"})
    assert "being remediated" in error(answer(request, view, OWNERS.get))
    view = replace(VIEW, runs=(replace(A2, state="finished"),))
    assert "`yolowatch show a1c3` has the lines" in error(answer(request, view, OWNERS.get))


@pytest.mark.parametrize(("verb", "kind"), [("attach", AttachTo), ("detach", Detach)])
def test_a_process_is_its_owners(verb: str, kind: type) -> None:
    assert ask(verb, pid=11).command == kind(11)
    assert "not allowed" in error(ask(verb, pid=13))
    assert "not allowed" in error(ask(verb, pid=1))
    assert "no process 77" in error(ask(verb, pid=77))
    assert ask(verb, 0, pid=13).command == ask(verb, ALICE, True, pid=13).command == kind(13)


def test_one_run_comes_whole_and_all_runs_in_short() -> None:
    incidents = tuple(IncidentView(str(i), "cpu-oom", "it failed") for i in range(20))
    receipt: Mapping[str, Any] = {"run": "a1b2"}
    run = replace(A1, incidents=incidents, receipts=(receipt,))
    request = ControlRequest(1, ALICE, 1, False, "status", {"run": "a1b2"})
    whole = answer(request, replace(VIEW, runs=(run,)), OWNERS.get).body["run"]
    assert len(whole["incidents"]) == 20
    assert whole["receipts"] == (receipt,)
    request = replace(request, arguments={})
    short = answer(request, replace(VIEW, runs=(run,)), OWNERS.get).body["runs"][0]
    assert [each["id"] for each in short["incidents"]] == [str(i) for i in range(12, 20)]
    assert short["receipts"] == ()


def test_what_is_wrong_in_the_configuration_is_told_to_who_may_change_it() -> None:
    assert ask("status").body["config_trouble"] == "there is one"
    assert ask("status", 0).body["config_trouble"] == VIEW.config_trouble
