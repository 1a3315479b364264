"""What a command is, and the parser that answers mistakes with a sentence."""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn, Protocol

from yolowatch.errors import UsageError


class Command(Protocol):
    """One verb of `yolowatch`."""

    name: str
    summary: str
    description: str

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add this command's options."""
        ...

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it; the exit status. Raises YolowatchError for what a user can mend."""
        ...


class Parser(argparse.ArgumentParser):
    """Raises UsageError instead of exiting, and names the nearest option it knows."""

    def error(self, message: str) -> NoReturn:
        hint = ""
        unknown = message.rpartition("unrecognized arguments: ")[2].split()
        if unknown and unknown[0].startswith("-"):
            known = [o for action in self._actions for o in action.option_strings]
            hint = nearest(unknown[0].split("=")[0], known)
        raise UsageError(f"{message}{hint}; `{self.prog} --help` shows what there is")


def nearest(word: str, known: Iterable[str]) -> str:
    """ "; did you mean …?" for a word that is nearly one of the known ones, else nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


def print_json(value: Any) -> None:
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False)
    print()


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    for row in [header, *rows]:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
