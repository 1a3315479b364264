"""The key `otlp` of the service's configuration, and the file of headers that it names.

Headers prove who we are, so no line of that file is ever quoted, nor an endpoint that could hold a
password. Files are read elsewhere.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import replace
from typing import Any

from yolowatch.config.reading import Reader, known, number, path_or_none, text, value, values
from yolowatch.errors import ConfigError
from yolowatch.model.push import Otlp

Headers = tuple[tuple[str, str], ...]

_MOST_HEADERS, _MOST_CHARACTERS = 32, 4000
_HEADER = re.compile(r"([A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}):[ \t]*([\x21-\x7e][\x20-\x7e]*)")
_OURS = ("host", "connection", "transfer-encoding", "expect", "upgrade", "user-agent")
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]{2,60}\]|[\w-]{1,63}(?:\.[\w-]{1,63})*\.?)"
    r"(:(?P<port>[0-9]{1,5}))?/[!-~]*",
    re.ASCII,
)
_LOOPBACK = re.compile(r"localhost|127(\.[0-9]{1,3}){3}|\[::1\]")
_ENDPOINT = "the whole URL, https://HOST:PORT/PATH or http://HOST:PORT/PATH, or none"
MEANING = (
    "where /metrics is also pushed to by OTLP (protobuf over HTTP), for a site that does not "
    "scrape: `endpoint`, the whole URL, such as https://collector.example.org:4318/v1/metrics, or "
    "none; `every_seconds` (60, and no more where the shipped alerts count); `headers_file`: a "
    "file of lines NAME: VALUE that prove who we are; `ca_file`: the authorities that are trusted "
    "instead of the system's. Both files are read again for every push"
)


def _is_url(found: str) -> bool:
    url = _URL.fullmatch(found) if len(found) <= _MOST_CHARACTERS else None
    if url is None or (url["port"] is not None and not 0 < int(url["port"]) <= 65535):
        return False
    return not url["host"].startswith("[") or _is_address(url["host"][1:-1])


def _is_address(found: str) -> bool:
    try:
        ipaddress.IPv6Address(found)
    except ValueError:
        return False
    return True


_KEYS: dict[str, tuple[Reader, str]] = {
    "every_seconds": (number(5.0, 3600.0), "seconds from 5 to 3600"),
    "headers_file": (path_or_none, "an absolute path or none"),
    "ca_file": (path_or_none, "an absolute path or none"),
}


def otlp(found: Any, name: str, base: Otlp) -> Otlp:
    """`base` with what the mapping says; raises ConfigError, which names `name`."""
    where = f"{name}: otlp"
    if not isinstance(found, dict):
        raise ConfigError(f"{where} must be a mapping with endpoint.")
    known(found, ("endpoint", *_KEYS), where)
    told = values(found, _KEYS, where)
    if "endpoint" in found:
        told["endpoint"] = _endpoint(found["endpoint"], where)
    made = replace(base, **{key: _unless_none(each) for key, each in told.items()})
    if made.endpoint is not None and made.headers_file is not None and not _is_private(made):
        raise ConfigError(
            f"{where}: headers_file would be sent for everybody to read: write an endpoint that "
            "begins with https://, or one on this machine."
        )
    return made


def _endpoint(found: Any, where: str) -> str:
    if isinstance(found, str) and set(found) & set("@?#"):
        raise ConfigError(
            f"{where}: endpoint must have no user, password, query or fragment: what proves who we "
            "are belongs in headers_file (it is not shown here, since it may hold a password)."
        )
    read = text(lambda each: each == "none" or _is_url(each))
    return str(value(read, found, "endpoint", _ENDPOINT, where))


def _unless_none(found: Any) -> Any:
    return None if found == "none" else found


def _is_private(wanted: Otlp) -> bool:
    url = _URL.fullmatch(wanted.endpoint or "")
    return url is not None and (
        url["scheme"] == "https" or _LOOPBACK.fullmatch(url["host"]) is not None
    )


def headers(body: str, name: str) -> Headers:
    """The headers in the text of such a file; raises ConfigError, which names `name`."""
    found = []
    for index, line in enumerate(body.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        header = _HEADER.fullmatch(line) if len(line) <= _MOST_CHARACTERS else None
        if header is None:
            raise ConfigError(
                f"{name}, line {index} must be NAME: VALUE (it is not shown here, since it may be "
                "a password)."
            )
        if header[1].lower() in _OURS or header[1].lower().startswith("content-"):
            raise ConfigError(f"{name}, line {index} sets a header that yolowatch sets itself.")
        found.append((header[1], header[2]))
    if len(found) > _MOST_HEADERS:
        raise ConfigError(f"{name} must have at most {_MOST_HEADERS} headers.")
    return tuple(found)
