"""The configuration of the service: one file and its drop-ins in, a frozen `ServiceConfig` out.

Later documents win: their plain values replace earlier ones, `policy` key by key, and their rules
of `users` and `directories` come in addition. Every word survives YAML: none of them is one that
it reads as a truth value.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from yolowatch.config.notifications import MEANING as NOTIFICATIONS
from yolowatch.config.notifications import notifications
from yolowatch.config.otlp import MEANING as OTLP
from yolowatch.config.otlp import otlp
from yolowatch.config.policy_file import overlay
from yolowatch.config.reading import (
    Reader,
    absolute_path,
    count,
    known,
    mapping,
    number,
    path_or_none,
    text,
    value,
    values,
    word,
)
from yolowatch.errors import ConfigError
from yolowatch.model.attach import AttachPolicy
from yolowatch.model.plan import Policy
from yolowatch.model.service import MODES, DirectoryRule, ServiceConfig, UserRule

_UID_MAX = 2**32 - 2


def service(documents: Iterable[tuple[str, str]]) -> ServiceConfig:
    """The configuration that the documents make, each a name for the errors and its YAML text.

    Raises ConfigError.
    """
    found = ServiceConfig()
    users: list[tuple[str, Mapping[str, Any]]] = []
    for name, body in documents:
        document = mapping(body, name)
        known(document, KEYS, name)
        told = values(document, _PLAIN, name)
        for key in ("metrics", "web_config"):
            if told.get(key) == "none":
                told[key] = None
        if "policy" in document:
            told["policy"] = overlay(_mapping(document, "policy", name), name, found.policy)
        if "notifications" in document:
            told["notifications"] = notifications(
                document["notifications"], name, found.notifications
            )
        if "otlp" in document:
            told["otlp"] = otlp(document["otlp"], name, found.otlp)
        found = replace(found, **told)
        users += [(f"{name}: users", rule) for rule in _rules(document, "users", name)]
        directories = [_directory(rule, name) for rule in _rules(document, "directories", name)]
        found = replace(found, directories=(*found.directories, *directories))
    found = replace(found, policy=replace(found.policy, mode=found.mode))
    # The rules of users come last: their policies stand on the service's, which is known only now.
    rules = tuple(_user(rule, where, found.policy) for where, rule in users)
    return replace(found, users=rules)


def _rules(document: Mapping[str, Any], key: str, name: str) -> list[Mapping[str, Any]]:
    rules = document.get(key, [])
    if not isinstance(rules, list) or not all(isinstance(each, dict) for each in rules):
        raise ConfigError(f"{name}: {key} must be {KEYS[key][1]}.")
    return rules


def _mapping(document: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    found = document[key]
    if not isinstance(found, dict):
        raise ConfigError(f"{where}: {key} must be a mapping: the keys of the policy file.")
    return found


def _user(rule: Mapping[str, Any], where: str, base: Policy) -> UserRule:
    known(rule, (*_WHO, "mode", "policy"), where)
    named = [key for key in _WHO if key in rule]
    if len(named) != 1:
        raise ConfigError(f"{where}: a rule must name exactly one of: {', '.join(_WHO)}.")
    read, expected = _WHO[named[0]]
    who = {named[0]: value(read, rule[named[0]], named[0], expected, where)}
    mode = _mode(rule, where)
    policy = None
    if "policy" in rule:
        policy = overlay(_mapping(rule, "policy", where), where, replace(base, mode=mode))
    return UserRule(mode, policy=policy, **who)


def _directory(rule: Mapping[str, Any], name: str) -> DirectoryRule:
    where = f"{name}: directories"
    known(rule, ("path", "mode"), where)
    path = value(absolute_path, rule.get("path"), "path", "an absolute path", where)
    return DirectoryRule(os.path.normpath(path), _mode(rule, where))


def _mode(rule: Mapping[str, Any], where: str) -> str:
    read, expected = word(*MODES), f"one of: {', '.join(MODES)}"
    return str(value(read, rule.get("mode"), "mode", expected, where))


def _is_address(found: str) -> bool:
    host, _, port = found.rpartition(":")
    return bool(host) and port.isascii() and port.isdigit() and int(port) <= 65535


def _is_name(found: str) -> bool:
    return 0 < len(found) <= 256 and found.isprintable() and not set(found) & set(" :,/")


_ATTACH = {each.value: each for each in AttachPolicy}


def _attach(found: Any) -> AttachPolicy | None:
    return _ATTACH.get(found) if isinstance(found, str) else None


_name = text(_is_name)
_address = text(lambda found: found == "none" or _is_address(found))

_WHO: dict[str, tuple[Reader, str]] = {
    "user": (_name, "the name of a user, in quotes where it is a number"),
    "uid": (count(0, _UID_MAX), "a user's number"),
    "group": (_name, "the name of a group, in quotes where it is a number"),
}

# key, which is the field of ServiceConfig: (reader, what it must be)
_PLAIN: dict[str, tuple[Reader, str]] = {
    "mode": (word(*MODES), f"one of: {', '.join(MODES)}"),
    "attach": (_attach, f"one of: {', '.join(_ATTACH)}"),
    "metrics": (_address, "HOST:PORT or none"),
    "web_config": (path_or_none, "an absolute path or none"),
    "control_group": (_name, "the name of a group"),
    "state_dir": (absolute_path, "an absolute path"),
    "minimum_uid": (count(0, _UID_MAX), "a user's number"),
    "others_grace_seconds": (number(0.0, 3600.0), "seconds from 0 to 3600"),
}

# key: (field of ServiceConfig, what it must be, what it means)
KEYS: dict[str, tuple[str, str, str]] = {
    "mode": (
        "mode",
        _PLAIN["mode"][1],
        "observe: metrics and messages only; recommend: plans are made and shown, and "
        "`yolowatch approve` carries one out; auto: plans are carried out",
    ),
    "attach": (
        "attach",
        _PLAIN["attach"][1],
        "how far the service may go to get its hook into a training that runs. "
        + ". ".join(f"{each.value}: {each.meaning}" for each in AttachPolicy),
    ),
    "metrics": (
        "metrics",
        _PLAIN["metrics"][1],
        "where /metrics is served for Prometheus, and the pages of runs and incidents for people",
    ),
    "web_config": (
        "web_config",
        _PLAIN["web_config"][1],
        "TLS, client certificates and passwords of `metrics`, in a file of the form of Prometheus' "
        "exporter-toolkit; read again whenever it or a certificate changes",
    ),
    "control_group": (
        "control_group",
        _PLAIN["control_group"][1],
        "its members may see and command the runs of all users, as root may",
    ),
    "state_dir": ("state_dir", _PLAIN["state_dir"][1], "where the journal is kept"),
    "minimum_uid": (
        "minimum_uid",
        _PLAIN["minimum_uid"][1],
        "trainings of users below it, root among them, are observed only, unless a rule of "
        "`users` names that user",
    ),
    "others_grace_seconds": (
        "others_grace_seconds",
        _PLAIN["others_grace_seconds"][1],
        "how long after a failure anybody else may start the training again, before yolowatch does",
    ),
    "notifications": ("notifications", "a mapping", NOTIFICATIONS),
    "otlp": ("otlp", "a mapping", OTLP),
    "policy": ("policy", "a mapping", "what may be changed: the keys of the policy file"),
    "users": (
        "users",
        "a list of rules, each with one of user, uid or group, a mode and, if need be, a policy",
        "the modes of single users and of the members of groups",
    ),
    "directories": (
        "directories",
        "a list of rules, each with a path and a mode",
        "the modes of the runs beneath a directory",
    ),
}
