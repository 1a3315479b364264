"""The policy file: text in, a frozen `Policy` out, or one sentence that says what is wrong.

Nothing is guessed: an unknown key names the nearest one, a value of another type or out of range
says what it may be. Files are read elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from yolowatch.config.reading import count, known, mapping, number, truth, value, word
from yolowatch.config.thresholds import thresholds
from yolowatch.errors import ConfigError
from yolowatch.model.opt_in import NEVER, OPT_IN
from yolowatch.model.plan import LEVERS, Policy

DETECTION = "detection"
EMERGENCY = ("never", "complete", "any")
_LEVERS = (*LEVERS, *OPT_IN)


def policy(text: str, name: str, base: Policy) -> Policy:
    """The policy that the YAML document `text` describes, over `base`; `name` is for the errors.

    Raises ConfigError.
    """
    return overlay(mapping(text, name), name, base)


def overlay(document: Mapping[Any, Any], where: str, base: Policy) -> Policy:
    """`base` with what the mapping `document` says; raises ConfigError, which names `where`."""
    known(document, (*KEYS, DETECTION), where)
    values: dict[str, Any] = {}
    for key, found in document.items():
        if key == DETECTION:
            values["thresholds"] = thresholds(found, f"{where}: {key}", base.thresholds)
            continue
        field, read, expected, _meaning = KEYS[key]
        for lever in NEVER if key == "levers" and isinstance(found, list) else ():
            if lever in found:
                raise ConfigError(f"{where}: {lever} is refused always: {NEVER[lever]}.")
        values[field] = value(read, found, key, expected, where)
    return replace(base, **values)


def _levers(value: Any) -> tuple[str, ...] | None:
    if not isinstance(value, list) or any(each not in _LEVERS for each in value):
        return None
    return tuple(each for each in _LEVERS if each in value)


# key: (field of Policy, reader, what it must be, what it means)
KEYS: dict[str, tuple[str, Callable[[Any], Any], str, str]] = {
    "margin": (
        "margin_ratio",
        number(0.0, 0.9),
        "a part from 0 to 0.9",
        "part of the memory that every prediction keeps free",
    ),
    "levers": (
        "levers",
        _levers,
        f"a list of some of: {', '.join(_LEVERS)}",
        f"the levers that may be used; {', '.join(OPT_IN)} only where they are named here",
    ),
    "emergency": (
        "emergency",
        word(*EMERGENCY),
        f"one of: {', '.join(EMERGENCY)}",
        "what a failing training saves of itself: an epoch that only lacks its validation, or "
        "weights in the middle of an epoch as well",
    ),
    "widen_after_batches": (
        "widen_after_batches",
        count(1, 1_000_000),
        "a whole number from 1 to 1000000",
        "after how many training batches at a narrowed range of image sizes a wider one, which is "
        "predicted to fit, is ordered",
    ),
    "prevention": (
        "prevention",
        truth,
        "true or false",
        "what is foreseen is prevented while the training runs: a narrower range of image sizes, a "
        "smaller validation batch, or a restart at the end of an epoch",
    ),
    "prevention_cooldown_seconds": (
        "prevention_cooldown_seconds",
        number(0.0, 3600.0),
        "seconds from 0 to 3600",
        "how long no other order of its kind follows one that prevents something",
    ),
    "leave_probability": (
        "leave_probability",
        number(0.0, 1.0),
        "a probability from 0 to 1",
        "from which probability of a failure on a training is restarted at the end of an epoch, "
        "where nothing can be changed while it runs; 1 is never",
    ),
    "release_cache": (
        "release_cache",
        truth,
        "true or false",
        "where memory is foreseen to run out, what is cached is first given back between training "
        "and validation; the training stands still for that, and the receipt says how long",
    ),
    "guarded_start": (
        "guarded_start",
        truth,
        "true or false",
        "no image is larger than the image size in the first 8 batches, so that a multi-scale "
        "range that does not fit is seen before its largest sizes come",
    ),
    "rescue": (
        "rescue",
        truth,
        "true or false",
        "a training step that runs out of memory in its forward pass, or a validation that does, "
        "runs again in the same process, the one with activations computed twice, the other with "
        "half its batch",
    ),
    "attempts_without_progress": (
        "attempts_without_progress",
        count(1, 100),
        "a whole number from 1 to 100",
        "after how many attempts in a row without a new epoch a person is needed",
    ),
    "exit_grace_seconds": (
        "exit_grace_seconds",
        number(0.0, 3600.0),
        "seconds from 0 to 3600",
        "how long a failed training may take to end by itself before it gets SIGTERM",
    ),
    "kill_grace_seconds": (
        "kill_grace_seconds",
        number(0.0, 3600.0),
        "seconds from 0 to 3600",
        "from SIGTERM to SIGKILL",
    ),
    "memory_wait_seconds": (
        "memory_wait_seconds",
        number(0.0, 3600.0),
        "seconds from 0 to 3600",
        "how long the device may take to have the memory back",
    ),
    "keep_checkpoints": (
        "keep_checkpoints",
        count(1, 100),
        "a whole number from 1 to 100",
        "how many copies of checkpoints the vault keeps",
    ),
    "vault_gib": (
        "vault_gib",
        number(0.001, 1e6),
        "GiB from 0.001 to 1000000",
        "how much space those copies may take together; what alone takes more is not copied",
    ),
}
