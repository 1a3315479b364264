"""Gets the hook into a process that somebody names, or out of it, and says how that went.

It waits for the process and for its hook, so it is never called by the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from yolowatch.decide.rules import OPT_OUT_NAME
from yolowatch.edges import proc
from yolowatch.edges.attach.entering import Means, attach, detach
from yolowatch.edges.names import home_of
from yolowatch.edges.optout import process_opted_out
from yolowatch.errors import PendingAttach, YolowatchError
from yolowatch.model.control import AttachTo, Detach


def reach(command: AttachTo | Detach, means: Callable[[], Means]) -> Mapping[str, Any]:
    """The body of the answer; with the exit code of `yolowatch attach` where it did not succeed."""
    pid = command.pid
    try:
        if isinstance(command, Detach):
            detach(pid, means())
            return {"ok": True, "said": f"the hook has left process {pid}"}
        uid = proc.owner(pid)
        if uid is not None and process_opted_out(pid, OPT_OUT_NAME, uid=uid, home=home_of(uid)):
            why = f"{OPT_OUT_NAME} lies in its working directory or in one above"
            return {"ok": False, "error": f"Process {pid} is opted out: {why}."}
        met = attach(pid, means())
    except PendingAttach as error:
        return {"ok": True, "pending": True, "said": str(error)}
    except YolowatchError as error:
        return {"ok": False, "error": str(error), "code": error.exit_code}
    return {
        "ok": True,
        "said": f"the hook is in process {pid}, by {met.reached.rung.value}",
        "pause_seconds": met.reached.pause_seconds,
    }
