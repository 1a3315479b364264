"""Which mode a run is in, and why: the service's configuration applied to one run.

The rules, in the order in which they are asked:

1. A run that is opted out is left alone, whatever else says.
2. Where a rule names the user (by name or uid) or a directory of the run, that decides. Of several
   directories the longest counts; where user and directory disagree, the more cautious does.
3. Else where rules name groups of the user's, the most cautious of them decides.
4. Else a run of a user of the system is observed.
5. Else the service's own mode.

Unknown never makes it more active: where nobody could look for the file that opts a run out, it is
not acted on without approval.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from yolowatch.model.plan import Policy
from yolowatch.model.service import MODES, DirectoryRule, ServiceConfig, UserRule

OPT_OUT_NAME = ".yolowatch-ignore"


@dataclass(frozen=True)
class Rule:
    """What may be done to one run; `policy.mode` is `mode`."""

    mode: str
    reason: str
    policy: Policy
    opted_out: bool = False  # then nothing attaches to it either


def rule_for(
    config: ServiceConfig,
    *,
    uid: int,
    user: str | None,
    run_dir: str | None,
    opted_out: bool | None,
    groups: Collection[str] = (),
    own_uid: int | None = None,
) -> Rule:
    """The rule of a run of this user in this (absolute, resolved) directory.

    `opted_out` None is unknown, `groups` are the names of the user's, and `own_uid` is the
    service's own: its trainings are not a stranger's, unless it is root.
    """
    if opted_out:
        reason = f"opted out: {OPT_OUT_NAME} lies in its directory or in one above"
        return _made(config, "observe", reason, None, True)
    named = _cautious(each for each in config.users if _is(each, uid, user))
    place = _nearest(config.directories, run_dir)
    if named is not None and (place is None or _rank(named.mode) <= _rank(place.mode)):
        rule = _made(config, named.mode, f"the rule of {_who(named)}", named.policy)
    elif place is not None:
        policy = named.policy if named is not None else None
        rule = _made(config, place.mode, f"the rule of {place.path}", policy)
    elif (group := _cautious(each for each in config.users if each.group in groups)) is not None:
        rule = _made(config, group.mode, f"the rule of {_who(group)}", group.policy)
    elif uid < config.minimum_uid and (uid != own_uid or uid == 0):
        reason = f"uid {uid} is a user of the system: a rule of `users` would name it"
        rule = _made(config, "observe", reason, None)
    else:
        rule = _made(config, config.mode, "the service's mode", None)
    if opted_out is None and rule.mode == "auto":
        reason = f"nobody could look for {OPT_OUT_NAME}; otherwise {rule.reason}: auto"
        return _made(config, "recommend", reason, rule.policy)
    return rule


def _made(
    config: ServiceConfig, mode: str, reason: str, policy: Policy | None, out: bool = False
) -> Rule:
    return Rule(mode, reason, replace(policy or config.policy, mode=mode), out)


def _is(rule: UserRule, uid: int, user: str | None) -> bool:
    return rule.uid == uid or (user is not None and rule.user == user)


def _who(rule: UserRule) -> str:
    if rule.group is not None:
        return f"group {rule.group}"
    return f"uid {rule.uid}" if rule.user is None else f"user {rule.user}"


def _nearest(rules: Iterable[DirectoryRule], run_dir: str | None) -> DirectoryRule | None:
    """The rule of the longest path that the directory is or lies beneath."""
    if run_dir is None or not os.path.isabs(run_dir):
        return None
    run_dir = os.path.normpath(run_dir)
    inside = [each for each in rules if os.path.commonpath((each.path, run_dir)) == each.path]
    return min(inside, key=lambda each: (-len(each.path), _rank(each.mode)), default=None)


def _cautious(rules: Iterable[UserRule]) -> UserRule | None:
    return min(rules, key=lambda each: _rank(each.mode), default=None)


def _rank(mode: str) -> int:
    return MODES.index(mode)
