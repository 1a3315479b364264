"""The one place where text becomes HTML: templates from files, everything escaped, nothing loaded.

Every value that a template prints is made plainly visible first (a right-to-left mark would turn a
line round in a browser as in a terminal), then escaped by Jinja. Styles stand in the page itself;
the policy lets the browser take those alone, by their hash, and run no script at all.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from yolowatch.model.discreet import discreet
from yolowatch.model.printable import escaped
from yolowatch.model.quantity import bytes_text

_MOST = 4000  # characters of one value


def _visible(value: Any) -> Any:
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    cut = value if len(value) <= _MOST else f"{value[: _MOST - 1]}…"
    return escaped(discreet(cut))


_ENVIRONMENT = Environment(
    loader=PackageLoader("yolowatch.pages"),
    autoescape=True,
    finalize=_visible,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
_ENVIRONMENT.filters["bytes"] = bytes_text
_STYLE = _ENVIRONMENT.loader.get_source(_ENVIRONMENT, "style.css")[0]  # type: ignore[union-attr]
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

POLICY = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)
"""The Content-Security-Policy in each page; as a header it also forbids to be framed."""


def rendered(template: str, **values: Any) -> str:
    """The template with these values."""
    page = _ENVIRONMENT.get_template(template)
    return page.render(style=Markup(_STYLE), policy=POLICY, **values)
