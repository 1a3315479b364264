"""The manual page and the shells' completions, made from the parsers that read the command line.

    python packaging/manual.py FOLDER

writes beneath FOLDER what `install.sh` copies beneath its PREFIX. shtab and argparse-manpage are
needed where the package is built, not where it runs.
"""

from __future__ import annotations

import argparse
import gzip
import sys
from pathlib import Path

import shtab
from argparse_manpage.manpage import Manpage

from yolowatch import __version__, errors
from yolowatch.commands.main import COMMANDS

COMPLETIONS = {
    "bash": "share/bash-completion/completions/yolowatch",
    "zsh": "share/zsh/site-functions/_yolowatch",
    "fish": "share/fish/vendor_completions.d/yolowatch.fish",
}
MANUAL = "share/man/man1/yolowatch.1.gz"


def whole_parser() -> argparse.ArgumentParser:
    """One parser of all commands; the program itself makes the one that is asked for."""
    parser = argparse.ArgumentParser(
        prog="yolowatch",
        description="Watches YOLO trainings and heals their out-of-memory failures.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")
    for command in COMMANDS:
        each = commands.add_parser(
            command.name,
            help=command.summary,
            description=command.description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.configure(each)
    return parser


def manual(parser: argparse.ArgumentParser) -> str:
    """The page in troff."""
    parser.man_short_description = (  # type: ignore[attr-defined]
        "watch YOLO trainings, heal their out-of-memory failures"
    )
    page = Manpage(
        parser,
        format="single-commands-section",
        _data={
            "project_name": "yolowatch",
            "version": __version__,
            "manual_section": 1,
            "manual_title": "yolowatch manual",
        },
    )
    codes = "".join(
        f".TP\n\\fB{each.exit_code}\\fR\n{each.meaning}\n"
        for each in (*errors.OF_SERVICE, *errors.ATTACHING, *errors.ALL)
    )
    return (
        f"{page}\n.SH EXIT STATUS\nThe training's own, unchanged; 128 + N where signal N ended it; "
        f"or\n{codes}.SH FILES\n.TP\n/etc/yolowatch/yolowatch.yaml, /etc/yolowatch/conf.d/*.yaml\n"
        "the configuration of the service\n.TP\n/var/lib/yolowatch\nits journal\n"
    )


def main() -> int:
    folder, parser = Path(sys.argv[1]), whole_parser()
    for shell, name in COMPLETIONS.items():
        _write(folder / name, shtab.complete(parser, shell).encode())
    _write(folder / MANUAL, gzip.compress(manual(parser).encode(), 9, mtime=0))
    return 0


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


if __name__ == "__main__":
    sys.exit(main())
