"""The errors a user can cause, lowest of all rooms.

Each carries the exit code of the process and one sentence that names the cause and the cure.
Programming mistakes are not here: they end as exit code 125 with a traceback in the log.
Codes 120 to 125 are yolowatch's own, so that 0 to 119 and 126 to 255 are always the training's.
`attach` and `detach` pass no training's status on: what they alone can meet has the codes from 110.
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


class ServiceError(YolowatchError):
    """No daemon answers where a command asks one."""

    exit_code = 108
    meaning = "no daemon answers"


class RefusedError(YolowatchError):
    """The daemon does not do what was asked, and says why."""

    exit_code = 109
    meaning = "the daemon refuses what was asked"


class UnwellError(YolowatchError):
    """`doctor` found something wrong; it is a status, and never raised."""

    exit_code = 107
    meaning = "the doctor found a problem"


OF_SERVICE: tuple[type[YolowatchError], ...] = (UnwellError, ServiceError, RefusedError)
"""Only of commands that ask a daemon and run no training, so that no training's status is hidden.

In the order of their exit codes; the table in the documentation is made from it.
"""

ALL: tuple[type[YolowatchError], ...] = (
    UsageError,
    ConfigError,
    StateError,
    AddressError,
    LaunchError,
    YolowatchError,
)
"""In the order of their exit codes; the table in the documentation is made from it."""


class AttachError(YolowatchError):
    """The hook cannot be brought into a process, or out of it; the process is as it was."""


class ProcessMissingError(AttachError):
    """There is no process of this number."""

    exit_code = 110
    meaning = "there is no such process, or it has ended"


class ProcessForbiddenError(AttachError):
    """The kernel does not let this user into the process."""

    exit_code = 111
    meaning = "the process belongs to another user, or is closed to debuggers"


class ProcessTracedError(AttachError):
    """A debugger or another tracer holds the process."""

    exit_code = 112
    meaning = "the process is traced by another program already"


class NoPythonError(AttachError):
    """The process runs no Python that the hook can run in."""

    exit_code = 113
    meaning = "the process runs no Python from 3.8 on"


class OwnProcessError(AttachError):
    """The process is yolowatch itself."""

    exit_code = 114
    meaning = "the process is yolowatch itself"


class RemoteDebugError(AttachError):
    """The process was started so that nobody can debug it remotely."""

    exit_code = 115
    meaning = "the process forbids remote debugging"


class NoWayError(AttachError):
    """No permitted way leads into the process."""

    exit_code = 116
    meaning = "no permitted way leads into the process: it can be observed from outside only"


class PendingAttach(AttachError):
    """The hook will come, or go, when the main thread next runs Python: not a failure."""

    exit_code = 117
    meaning = "not yet: the main thread runs no Python, and what was asked for happens when it does"


class HookStaysError(AttachError):
    """The hook cannot leave the process, or there is none in it."""

    exit_code = 118
    meaning = "the hook cannot leave the process, or is not in it"


ATTACHING: tuple[type[AttachError], ...] = (
    ProcessMissingError,
    ProcessForbiddenError,
    ProcessTracedError,
    NoPythonError,
    OwnProcessError,
    RemoteDebugError,
    NoWayError,
    PendingAttach,
    HookStaysError,
)
"""Those of `attach` and `detach` alone, in the order of their exit codes."""
