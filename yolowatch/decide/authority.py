"""Who may ask for what: a user sees and commands their own runs, root and the control group all.

Pure, so that the whole table is tested. Who asks is the kernel's word, never the asker's.
"""

from __future__ import annotations

from yolowatch.model.control import ControlRequest

ROOT = 0


def may(request: ControlRequest, owner_uid: int | None, group: str) -> str | None:
    """None where it is allowed, else the sentence of the refusal.

    `owner_uid` is whose run or process it is about, the service's own uid where it is about all;
    None, an owner that is not known, is commanded by those only who may command everyone's.
    """
    if request.uid == ROOT or request.in_group:
        return None
    if owner_uid is not None and request.uid == owner_uid:
        return None
    return (
        f"{request.verb} is not allowed here for uid {request.uid}: only the owner, root and the "
        f"members of the group {group} may do that."
    )
