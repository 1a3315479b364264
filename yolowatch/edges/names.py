"""Names of users and groups, as this machine knows them; None where it does not."""

from __future__ import annotations

import grp
import pwd
from collections.abc import Iterable
from pathlib import Path


def user_name(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def home_of(uid: int) -> Path | None:
    try:
        return Path(pwd.getpwuid(uid).pw_dir)
    except KeyError:
        return None


def group_names(gids: Iterable[int]) -> tuple[str, ...]:
    """The names of those groups that have one, each once."""
    found = []
    for gid in dict.fromkeys(gids):
        try:
            found.append(grp.getgrgid(gid).gr_name)
        except KeyError:
            continue
    return tuple(found)
