"""The web configuration file: text in, a frozen `WebConfig` out, or one sentence.

The form is that of Prometheus' exporter-toolkit. What of it has no meaning here is refused with the
reason, rather than passed over: a site that asks for a cipher believes that it has it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from yolowatch.config.reading import known, mapping, text, value, word
from yolowatch.errors import ConfigError
from yolowatch.model.web import Tls, WebConfig

CLIENT_AUTH = ("NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert")
VERSIONS = ("TLS12", "TLS13")
HEADERS = (
    "Content-Security-Policy",
    "X-Frame-Options",
    "X-Content-Type-Options",
    "X-XSS-Protection",
    "Strict-Transport-Security",
)
_KEYS = ("tls_server_config", "basic_auth_users", "http_server_config")
_TLS_KEYS = (
    "cert_file",
    "key_file",
    "client_auth_type",
    "client_ca_file",
    "client_allowed_sans",
    "min_version",
    "max_version",
    "prefer_server_cipher_suites",
)
_REFUSED = {
    "cipher_suites": "the choice of the TLS library is always in force",
    "curve_preferences": "the choice of the TLS library is always in force",
    "cert": "name a file in cert_file",
    "key": "name a file in key_file",
    "client_ca": "name a file in client_ca_file",
}
_REFUSED_AUTH = {
    "RequestClientCert": "VerifyClientCertIfGiven",
    "RequireAnyClientCert": "RequireAndVerifyClientCert",
}
_HASH = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
_MOST_ROUNDS = 14  # seconds a password; more would let anybody keep the machine busy
_MOST_USERS = 1000

_file = text(lambda found: bool(found) and "\0" not in found)


def web(body: str, name: str, folder: str) -> WebConfig:
    """What the document says; relative paths count from `folder`. Raises ConfigError."""
    document = mapping(body, name)
    known(document, _KEYS, name)
    tls = document.get("tls_server_config")
    return WebConfig(
        _tls(_mapping(tls, name, "tls_server_config"), name, folder) if tls is not None else None,
        _users(_mapping(document.get("basic_auth_users"), name, "basic_auth_users"), name),
        _headers(_mapping(document.get("http_server_config"), name, "http_server_config"), name),
    )


def _mapping(found: Any, name: str, key: str) -> Mapping[Any, Any]:
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ConfigError(f"{name}: {key} must be a mapping of keys to values.")
    return found


def _tls(found: Mapping[Any, Any], name: str, folder: str) -> Tls:
    where = f"{name}: tls_server_config"
    for key, why in _REFUSED.items():
        if found.get(key):
            raise ConfigError(f"{where}: {key} is not taken: {why}.")
    known(found, (*_TLS_KEYS, *_REFUSED), where)
    told: dict[str, Any] = {}
    for key in ("cert_file", "key_file"):
        if key not in found:
            raise ConfigError(f"{where} needs both cert_file and key_file: {key} is missing.")
    for key in ("cert_file", "key_file", "client_ca_file"):
        if found.get(key):
            path = value(_file, found[key], key, "the path of a file", where)
            told[key] = os.path.normpath(os.path.join(folder, path))
    told["client_auth"] = _client_auth(found, where)
    for key in ("min_version", "max_version"):
        if key in found:
            told[key] = value(word(*VERSIONS), found[key], key, f"one of: {_list(VERSIONS)}", where)
    sans = found.get("client_allowed_sans") or []
    if not isinstance(sans, list) or not all(isinstance(each, str) for each in sans):
        raise ConfigError(f"{where}: client_allowed_sans must be a list of names.")
    tls = Tls(client_allowed_sans=tuple(sans), **told)
    if tls.min_version > tls.max_version:
        raise ConfigError(f"{where}: min_version must not be above max_version.")
    asked = tls.client_auth != "NoClientCert"
    if asked and tls.client_ca_file is None:
        raise ConfigError(f"{where}: {tls.client_auth} needs a client_ca_file to verify with.")
    if tls.client_ca_file is not None and not asked:
        raise ConfigError(
            f"{where}: client_ca_file has no effect without client_auth_type: "
            "RequireAndVerifyClientCert."
        )
    if sans and tls.client_auth != "RequireAndVerifyClientCert":
        raise ConfigError(
            f"{where}: client_allowed_sans needs client_auth_type: RequireAndVerifyClientCert."
        )
    return tls


def _client_auth(found: Mapping[Any, Any], where: str) -> str:
    given = found.get("client_auth_type") or "NoClientCert"
    if given in _REFUSED_AUTH:
        raise ConfigError(
            f"{where}: client_auth_type {given} is not taken, since a certificate that nobody "
            f"verifies says nothing: write {_REFUSED_AUTH[given]}."
        )
    expected = f"one of: {_list(CLIENT_AUTH)}"
    return str(value(word(*CLIENT_AUTH), given, "client_auth_type", expected, where))


def _users(found: Mapping[Any, Any], name: str) -> Mapping[str, str]:
    """Neither a name's hash nor a password that stands in its place is ever quoted."""
    where = f"{name}: basic_auth_users"
    if len(found) > _MOST_USERS:
        raise ConfigError(f"{where} has more than {_MOST_USERS} users.")
    for user, hashed in found.items():
        if not isinstance(user, str) or not user or ":" in user or not user.isprintable():
            raise ConfigError(f"{where}: a user's name must be text without a colon.")
        match = _HASH.fullmatch(hashed) if isinstance(hashed, str) else None
        if match is None:
            raise ConfigError(
                f"{where}: the password of {user!r} must be bcrypt's hash of it, as "
                "`htpasswd -nBC 10 USER` makes one."
            )
        if not 4 <= int(match[1]) <= _MOST_ROUNDS:
            raise ConfigError(
                f"{where}: the hash of {user!r} must have a cost from 4 to {_MOST_ROUNDS}, not "
                f"{int(match[1])}."
            )
    return dict(found)


def _headers(found: Mapping[Any, Any], name: str) -> Mapping[str, str]:
    where = f"{name}: http_server_config"
    known(found, ("http2", "headers"), where)
    if found.get("http2") not in (None, True, False):
        raise ConfigError(f"{where}: http2 must be true or false.")
    headers = _mapping(found.get("headers"), where, "headers")
    known(headers, HEADERS, f"{where}: headers")
    for key, said in headers.items():
        if not isinstance(said, str) or not said.isascii() or not said.isprintable():
            raise ConfigError(f"{where}: {key} must be one line of plain text.")
    return dict(headers)


def _list(words: tuple[str, ...]) -> str:
    return ", ".join(words)
