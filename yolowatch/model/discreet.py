"""Texts without what looks like a secret, for pages that are kept and for messages that are sent.

Commands, exception texts and paths are written by people and their programs, and now and then hold
a password or a token. Nobody can know them all: the usual names, forms and places are masked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MASK = "•••"

# Every repetition is bounded: the texts are hostile, and a search must not take for ever.
_NAMES = (
    r"(?:token|secret|passw(?:or)?d|passphrase|api[_-]?key|access[_-]?key|credential)[\w-]{0,16}"
)
_FORMS = (
    # https://user:password@host
    (re.compile(r"(\b\w[\w+.-]{0,20}://)[^\s/@]{1,400}@"), rf"\1{MASK}@"),
    # token=…, API_KEY: …, "password": "…"
    (
        re.compile(rf"({_NAMES}[\"']?\s{{0,4}}[=:]\s{{0,4}}[\"']?)[^\s\"',;&]+", re.I),
        rf"\1{MASK}",
    ),
    # --hub-token …
    (
        re.compile(rf"((?<![\w-])--?(?:\w[\w-]{{0,40}}?)?{_NAMES}\s{{1,4}})[^\s-]\S*", re.I),
        rf"\1{MASK}",
    ),
    (re.compile(r"\b((?:Bearer|Basic)\s{1,4})[\w.~+/=-]{8,}", re.I), rf"\1{MASK}"),
    # what well-known services give out
    (
        re.compile(
            r"\b(?:hf|ghp|gho|ghs|github_pat|glpat|xox[abprs]|sk|pk|AKIA|wandb_v\d)[_-]?[\w-]{16,}"
        ),
        MASK,
    ),
)


def discreet(text: str) -> str:
    """`text` with everything masked that has the form of a secret."""
    for form, mask in _FORMS:
        text = form.sub(mask, text)
    return text


def discreet_command(command: Iterable[str]) -> tuple[str, ...]:
    """A command's words; the value after an option that names a secret is one of its own."""
    shown: list[str] = []
    hidden = False
    for word in command:
        shown.append(MASK if hidden else discreet(word))
        hidden = bool(re.fullmatch(rf"--?[\w-]{{0,40}}?{_NAMES}", word, re.I))
    return tuple(shown)
