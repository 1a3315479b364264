"""The key `notifications` of the service's configuration; no value of it is ever quoted.

Its URLs hold passwords, and an error message ends in logs and in `yolowatch status`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from yolowatch.config.reading import count, known, number, values, word
from yolowatch.errors import ConfigError
from yolowatch.model.notifications import Notifications

_KEYS = {
    "about": (word("everything", "person"), "one of: everything, person"),
    "group_seconds": (number(0.0, 3600.0), "seconds from 0 to 3600"),
    "per_hour": (count(1, 1000), "a whole number from 1 to 1000"),
}
_URL = re.compile(r"[a-z][a-z0-9+.-]{0,30}://\S{1,4000}", re.I)
_MOST_URLS = 32
MEANING = (
    "whom to tell of incidents without Prometheus: `urls`, a list of Apprise URLs (mail, chats, "
    "pagers, webhooks); `about`: everything, or only what needs a person; `group_seconds` (15): "
    "what happens meanwhile is one message; `per_hour` (12): messages at most"
)


def notifications(found: Any, name: str, base: Notifications) -> Notifications:
    """`base` with what the mapping says; raises ConfigError, which names `name`."""
    where = f"{name}: notifications"
    if not isinstance(found, dict):
        raise ConfigError(f"{where} must be a mapping with urls.")
    document: Mapping[Any, Any] = found
    known(document, ("urls", *_KEYS), where)
    told = values(document, _KEYS, where)
    if "urls" in document:
        told["urls"] = _urls(document["urls"], where)
    return replace(base, **told)


def _urls(found: Any, where: str) -> tuple[str, ...]:
    if not isinstance(found, list) or len(found) > _MOST_URLS:
        raise ConfigError(f"{where}: urls must be a list of at most {_MOST_URLS} Apprise URLs.")
    for index, each in enumerate(found, 1):
        if not isinstance(each, str) or _URL.fullmatch(each) is None:
            raise ConfigError(
                f"{where}: number {index} of urls is none: write KIND://…, as Apprise has them "
                "(it is not shown here, since it may hold a password)."
            )
    return tuple(found)
