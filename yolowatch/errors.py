"""The errors a user can cause, lowest of all rooms.

Each carries the exit code of the process and one sentence that names the cause and the cure.
Programming mistakes are not here: they end as exit code 125 with a traceback in the log.
Codes 120 to 125 are yolowatch's own, so that 0 to 119 and 126 to 255 are always the training's.
"""

from __future__ import annotations


class YolowatchError(Exception):
    """A failure that a person can act on; `str()` is the sentence, `exit_code` the status."""

    exit_code = 125
    meaning = "an internal error of yolowatch: please report it with the printed traceback"


class UsageError(YolowatchError):
    """The command line is wrong: an unknown command or option, or a value out of range."""

    exit_code = 120
    meaning = "the command line is wrong"


class ConfigError(YolowatchError):
    """A configuration file cannot be read, or says something that has no meaning."""

    exit_code = 121
    meaning = "the configuration is wrong"


class StateError(YolowatchError):
    """The state directory or the journal in it cannot be used."""

    exit_code = 122
    meaning = "the state directory or its journal cannot be used"


class AddressError(YolowatchError):
    """An address to listen on is taken, forbidden or malformed."""

    exit_code = 123
    meaning = "an address to listen on cannot be used"


class LaunchError(YolowatchError):
    """The command to supervise could not be started."""

    exit_code = 124
    meaning = "the command could not be started"


class CaptureError(LaunchError):
    """How a process was started cannot be read, so that it cannot be started once more."""


ALL: tuple[type[YolowatchError], ...] = (
    UsageError,
    ConfigError,
    StateError,
    AddressError,
    LaunchError,
    YolowatchError,
)
"""In the order of their exit codes; the table in the documentation is made from it."""
