"""`yolowatch COMMAND …`: finds the command and turns every error into a sentence and a status."""

from __future__ import annotations

import argparse
import io
import sys
import traceback
from collections.abc import Sequence

from yolowatch import __version__, errors
from yolowatch.commands import (
    attach,
    check_config,
    configuration,
    daemon,
    demo,
    doctor,
    hook,
    levers,
    metrics,
    run,
    runs,
    show,
    status,
    top,
    verbs,
    version,
)
from yolowatch.commands.base import Command, Parser, nearest
from yolowatch.edges import terminal
from yolowatch.errors import UsageError, YolowatchError
from yolowatch.model.printable import printable

COMMANDS: tuple[Command, ...] = (
    run.Run(),
    daemon.Daemon(),
    attach.Attach(),
    attach.Detach(),
    hook.Hook(),
    demo.Demo(),
    runs.Runs(),
    show.Show(),
    status.Status(),
    top.Top(),
    *verbs.VERBS,
    metrics.Metrics(),
    levers.Levers(),
    configuration.Configuration(),
    check_config.CheckConfig(),
    doctor.Doctor(),
    version.Version(),
)

_PIPE_BROKEN = 128 + 13  # as if SIGPIPE had ended it: whoever read the output is gone


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: the training's own, or one of yolowatch's, 120 to 125."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # paths need not be Unicode
    try:
        status = _dispatch(words)
        return status if terminal.flush_output() else _PIPE_BROKEN
    except YolowatchError as error:
        terminal.tell(f"yolowatch: {printable(str(error), 2000)}")
        return error.exit_code
    except BrokenPipeError:
        terminal.discard_output()
        return _PIPE_BROKEN
    except SystemExit:  # `--help` has been printed
        return 0 if terminal.flush_output() else _PIPE_BROKEN
    except KeyboardInterrupt:
        return 130
    except Exception:  # the outermost boundary: a mistake of yolowatch's own
        traceback.print_exc()
        terminal.tell(f"yolowatch: {YolowatchError.meaning}")
        return YolowatchError.exit_code


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if words[0] == "--version":
        words[0] = "version"
    commands = {command.name: command for command in COMMANDS}
    command = commands.get(words[0])
    if command is None:
        hint = nearest(words[0], commands)
        raise UsageError(f"there is no command {words[0]!r}{hint}; `yolowatch --help` lists them")
    return command.run(_parser(command).parse_args(words[1:]))


def _parser(command: Command) -> Parser:
    parser = Parser(
        prog=f"yolowatch {command.name}",
        description=command.description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.configure(parser)
    return parser


def _help() -> str:
    lines = [
        f"yolowatch {__version__}: watches YOLO trainings and heals their out-of-memory failures.",
        "",
        "usage: yolowatch COMMAND [options]",
        "",
        *(f"  {command.name:<14}{command.summary}" for command in COMMANDS),
        "",
        "First steps:",
        "  yolowatch demo                                  see a run fail and finish by itself",
        "  yolowatch run -- yolo train data=… model=…      do the same for your training",
        "",
        "`yolowatch COMMAND --help` says more. Exit codes of yolowatch's own:",
        *(f"  {each.exit_code}  {each.meaning}" for each in (*errors.OF_SERVICE, *errors.ALL)),
        "Of `attach` and `detach` alone:",
        *(f"  {each.exit_code}  {each.meaning}" for each in errors.ATTACHING),
        "Every other status is the training's; 128 + N where signal N ended it.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
