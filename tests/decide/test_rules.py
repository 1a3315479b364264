"""Which mode a run is in: the precedence of the rules, one case each, and what unknown does."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolowatch.decide.rules import Rule, rule_for
from yolowatch.model.plan import Policy
from yolowatch.model.service import MODES, DirectoryRule, ServiceConfig, UserRule

ALICE, BOB = 1001, 1002
NAMES = {ALICE: "alice", BOB: "bob", 0: "root", 70: "backup"}


def rule(
    config: ServiceConfig,
    uid: int = ALICE,
    run_dir: str | None = "/home/alice/runs/train",
    opted_out: bool | None = False,
    groups: tuple[str, ...] = (),
    own_uid: int | None = None,
) -> Rule:
    return rule_for(
        config,
        uid=uid,
        user=NAMES[uid],
        run_dir=run_dir,
        opted_out=opted_out,
        groups=groups,
        own_uid=own_uid,
    )


def config(*rules: UserRule | DirectoryRule, mode: str = "recommend") -> ServiceConfig:
    return ServiceConfig(
        mode=mode,
        policy=Policy(mode=mode),
        users=tuple(each for each in rules if isinstance(each, UserRule)),
        directories=tuple(each for each in rules if isinstance(each, DirectoryRule)),
    )


def test_without_rules_it_is_the_services_mode() -> None:
    for mode in MODES:
        found = rule(config(mode=mode))
        assert (found.mode, found.policy.mode, found.reason) == (mode, mode, "the service's mode")


def test_a_rule_of_the_user_is_taken_by_name_and_by_uid() -> None:
    by_name, by_uid = UserRule("auto", user="alice"), UserRule("auto", uid=ALICE)
    assert rule(config(by_name)).mode == rule(config(by_uid)).mode == "auto"
    assert rule(config(by_name)).reason == "the rule of user alice"
    assert rule(config(by_uid)).reason == "the rule of uid 1001"
    assert rule(config(by_name, by_uid), BOB).mode == "recommend"


def test_of_two_rules_of_one_user_the_more_cautious_decides() -> None:
    both = config(UserRule("auto", user="alice"), UserRule("observe", uid=ALICE))
    assert rule(both).mode == "observe"


def test_the_longest_directory_decides() -> None:
    rules = config(
        DirectoryRule("/home", "observe"), DirectoryRule("/home/alice/runs", "auto"), mode="observe"
    )
    assert rule(rules).mode == "auto"
    assert rule(rules).reason == "the rule of /home/alice/runs"
    assert rule(rules, run_dir="/home/alice/runs").mode == "auto"
    assert rule(rules, run_dir="/home/alice/runs-old/x").mode == "observe"
    assert rule(rules, run_dir="/home/alice/runs/../x").reason == "the rule of /home"


def test_a_directory_that_is_unknown_or_relative_has_no_rule() -> None:
    rules = config(DirectoryRule("/", "auto"))
    assert rule(rules, run_dir=None).mode == rule(rules, run_dir="runs/train").mode == "recommend"


@pytest.mark.parametrize("user", MODES)
@pytest.mark.parametrize("place", MODES)
def test_of_user_and_directory_the_more_cautious_decides(user: str, place: str) -> None:
    both = config(UserRule(user, user="alice"), DirectoryRule("/home", place), mode="auto")
    assert rule(both).mode == min(user, place, key=MODES.index)


def test_groups_decide_only_where_neither_user_nor_directory_is_named() -> None:
    group = UserRule("observe", group="students")
    members = ("students", "staff")
    assert rule(config(group, mode="auto"), groups=members).mode == "observe"
    assert rule(config(group, mode="auto")).mode == "auto"
    named = config(group, UserRule("auto", user="alice"))
    assert rule(named, groups=members).mode == "auto"
    placed = config(group, DirectoryRule("/home", "auto"))
    assert rule(placed, groups=members).mode == "auto"
    two = config(UserRule("auto", group="staff"), group)
    assert rule(two, groups=members).mode == "observe"


def test_the_systems_own_users_are_observed_unless_they_are_named() -> None:
    for uid in (0, 70):
        found = rule(config(mode="auto"), uid)
        assert found.mode == "observe"
        assert "a user of the system" in found.reason
    assert rule(config(UserRule("auto", uid=70)), 70).mode == "auto"
    assert rule(config(mode="auto"), 70, own_uid=70).mode == "auto"
    assert rule(config(mode="auto"), 0, own_uid=0).mode == "observe"


def test_who_is_opted_out_is_left_alone_whatever_else_says() -> None:
    auto = config(UserRule("auto", user="alice"), DirectoryRule("/", "auto"), mode="auto")
    found = rule(auto, opted_out=True)
    assert (found.mode, found.opted_out) == ("observe", True)
    assert ".yolowatch-ignore" in found.reason


def test_where_nobody_could_look_a_person_is_asked() -> None:
    found = rule(config(mode="auto"), opted_out=None)
    assert (found.mode, found.policy.mode, found.opted_out) == ("recommend", "recommend", False)
    assert rule(config(mode="observe"), opted_out=None).mode == "observe"


def test_a_rules_own_policy_comes_with_its_mode() -> None:
    policy = Policy(mode="auto", keep_checkpoints=7)
    rules = config(UserRule("auto", user="alice", policy=policy), DirectoryRule("/home", "observe"))
    assert rule(rules).policy == replace(policy, mode="observe")
    assert rule(rules, BOB).policy == Policy(mode="observe")


_MODE = st.sampled_from(MODES)
_USERS = st.one_of(
    st.builds(UserRule, _MODE, user=st.sampled_from(["alice", "bob"])),
    st.builds(UserRule, _MODE, uid=st.sampled_from([ALICE, BOB])),
    st.builds(UserRule, _MODE, group=st.sampled_from(["students", "staff"])),
)
_PATHS = st.sampled_from(["/", "/home", "/home/alice", "/home/alice/runs/train", "/data"])
_RULES = st.lists(_USERS | st.builds(DirectoryRule, _PATHS, _MODE), max_size=6)


@given(_RULES, _MODE, st.lists(st.sampled_from(["students", "staff"]), max_size=2), st.data())
def test_no_unknown_makes_it_more_active(
    rules: list[UserRule | DirectoryRule], mode: str, groups: list[str], data: st.DataObject
) -> None:
    built = config(*rules, mode=mode)
    known = rule(built, groups=tuple(groups), opted_out=False)
    unknown = rule(built, groups=tuple(groups), opted_out=None)
    assert MODES.index(unknown.mode) <= MODES.index(known.mode)
    assert known.policy.mode == known.mode
