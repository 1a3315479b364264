"""Asks the daemon's own page and a Prometheus whether metrics arrive, as a bounded client.

The daemon's page is asked for its health alone: what it measures is Prometheus' to judge. Its
certificate is not verified here, since it is looked at as a file.
"""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

_SECONDS = 5.0
_MAX_BYTES = 8 << 20
_REFUSED_WITHOUT_PASSWORD = 401


def trouble_of_page(address: str, *, encrypted: bool) -> str | None:
    """Why the daemon's page at HOST:PORT cannot be read; None where it can."""
    scheme = "https" if encrypted else "http"
    try:
        _get(f"{scheme}://{address}/-/healthy")
    except urllib.error.HTTPError as error:
        # It answers, and wants to be asked with a password.
        return None if error.code == _REFUSED_WITHOUT_PASSWORD else f"it answers {error.code}"
    except (OSError, http.client.HTTPException, ValueError) as error:
        return _reason(error)
    return None


def is_scraped(prometheus: str, address: str | None) -> tuple[str | None, bool | None]:
    """Why a Prometheus cannot be asked, or None and whether a healthy target of it is `address`.

    Only the port is compared: Prometheus knows this machine by a name of its own.
    """
    try:
        body = json.loads(_get(f"{prometheus.rstrip('/')}/api/v1/targets?state=active"))
        targets = body["data"]["activeTargets"]
        port = None if address is None else int(address.rpartition(":")[2])
        return None, any(_port(each) == port and each.get("health") == "up" for each in targets)
    except urllib.error.HTTPError as error:
        return f"it answers {error.code}", None
    except (OSError, http.client.HTTPException) as error:
        return _reason(error), None
    except (ValueError, KeyError, TypeError, AttributeError):
        return "what answers is no Prometheus", None


def _get(url: str) -> bytes:
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise ValueError("its address must begin with http:// or https://")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    # No proxy: the machine itself and its neighbours are meant.
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    with opener.open(url, timeout=_SECONDS) as answer:
        found: bytes = answer.read(_MAX_BYTES)
    return found


def _port(target: Any) -> int | None:
    return urllib.parse.urlsplit(str(target.get("scrapeUrl", ""))).port


def _reason(error: BaseException) -> str:
    inner = getattr(error, "reason", None)
    return getattr(inner, "strerror", None) or getattr(error, "strerror", None) or str(error)
