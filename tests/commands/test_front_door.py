"""Every command as a real subprocess: help, mistakes, exit codes, and what becomes of the state."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands.door import Door, no_reader
from yolowatch import __version__, errors
from yolowatch.commands.main import COMMANDS, main
from yolowatch.hook import wire

NAMES = [command.name for command in COMMANDS]
STATE_COMMANDS = [("run", "--", "true"), ("runs",), ("show", "ab")]


# ---------------------------------------------------------------- help


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",), ("help",)])
def test_the_help_names_every_command_and_every_exit_code(
    door: Door, words: tuple[str, ...]
) -> None:
    done = door(*words)
    assert (done.returncode, done.stderr) == (0, "")
    for command in COMMANDS:
        assert re.search(rf"^  {command.name} +{re.escape(command.summary)}$", done.stdout, re.M)
    told = re.findall(r"^  (12\d)  (.+)$", done.stdout, re.M)
    assert told == [(str(each.exit_code), each.meaning) for each in errors.ALL]
    assert [int(code) for code, _ in told] == [120, 121, 122, 123, 124, 125]


@pytest.mark.parametrize("command", COMMANDS, ids=NAMES)
def test_the_help_of_each_command_teaches(door: Door, command: object) -> None:
    name, description = command.name, command.description  # type: ignore[attr-defined]
    done = door(name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: yolowatch {name}")
    assert description in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    options = re.findall(r"^  (--[a-z-]+)", done.stdout, re.M)
    assert all(f"{option} " in done.stdout for option in options)
    assert not door.state.exists(), "asking makes nothing"


def test_the_version(door: Door) -> None:
    for words in (("version",), ("--version",)):
        assert door(*words).stdout.startswith(f"yolowatch {__version__} (Python 3.")
    facts = door.json("version")
    assert (facts["yolowatch"], facts["wire"]) == (__version__, wire.VERSION)


def test_the_reference_of_the_metrics(door: Door) -> None:
    assert "yolowatch_" in door("metrics").stdout
    names = [each["name"] for each in door.json("metrics")]
    assert all(name.startswith("yolowatch_") for name in names)
    assert len(names) == len(set(names)) > 10


# ---------------------------------------------------------------- a wrong command line


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("rnu",), "there is no command 'rnu'; did you mean run?;"),
        (("shwo", "x"), "did you mean show?"),
        (("zebra",), "there is no command 'zebra'; `yolowatch --help` lists them"),
        (("run", "--mod", "auto", "--", "true"), "did you mean --mode?"),
        (("run", "--metrisc=1", "--", "true"), "did you mean --metrics?"),
        (("runs", "--state", "x"), "did you mean --state-dir?"),
        (("demo", "--pyton", "x"), "did you mean --python?"),
        (("show", "--zebra", "x"), "unrecognized arguments: --zebra;"),
        (("run", "--mode", "atuo", "--", "true"), "'observe', 'recommend', 'auto'"),
        (("run", "--margin", "1", "--", "true"), "'1' is no ratio between 0 and 1"),
        (("run", "--margin", "nan", "--", "true"), "'nan' is no ratio between 0 and 1"),
        (("run", "--margin"), "expected one argument"),
        (("run",), "no command to supervise; write it after --"),
        (("run", "--"), "no command to supervise; write it after --"),
        (("runs", "--last", "many"), "'many' is no number of runs"),
        (("runs", "--last", "0"), "'0' is no number of runs"),
        (("runs", "--last", "9" * 30), "is no number of runs"),
        (("show",), "the following arguments are required: RUN"),
        (("version", "extra"), "unrecognized arguments: extra"),
    ],
)
def test_a_wrong_command_line_is_a_sentence(
    words: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 120
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert told.err.startswith("yolowatch: ")
    assert sentence in told.err


def test_a_wrong_command_line_is_120(door: Door) -> None:
    for words in (("rnu",), ("run", "--mod", "auto", "--", "true"), ("run",)):
        assert "`yolowatch --help`" in door.refuses(120, *words) or "run" in words
    assert not door.state.exists(), "a mistake makes nothing"


def test_what_stands_after_the_command_is_the_commands(door: Door) -> None:
    expected = "a\n--\n--json\n--help\n--mode\n"
    for front in (["run", "--"], ["run"], ["run", "--mode", "observe"]):
        done = door(*front, "printf", "%s\\n", "a", "--", "--json", "--help", "--mode")
        assert (done.returncode, done.stdout) == (0, expected), front


def test_an_internal_error_is_125_with_its_trace() -> None:
    program = """
import sys
from yolowatch.commands import main
main._dispatch = lambda words: 1 / 0
sys.exit(main.main([]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 125
    assert "ZeroDivisionError" in done.stderr
    assert done.stderr.endswith(f"yolowatch: {errors.YolowatchError.meaning}\n")


# ---------------------------------------------------------------- the state


@pytest.mark.parametrize("words", STATE_COMMANDS)
def test_a_state_directory_that_cannot_be_made(door: Door, words: tuple[str, ...]) -> None:
    (door.home / "file").write_text("in the way")
    options = (words[0], "--state-dir", door.home / "file" / "state", *words[1:])
    sentence = door.refuses(122, *options)
    assert f"The state directory {door.home}/file/state cannot be made" in sentence
    assert "--state-dir" in sentence
    door.environment["XDG_STATE_HOME"] = str(door.home / "file")
    door.refuses(122, *words)


def test_a_long_path_does_not_cut_off_the_cure(door: Door) -> None:
    (door.home / "file").write_text("in the way")
    deep = "/".join(["a" * 100] * 5)
    sentence = door.refuses(122, "runs", "--state-dir", door.home / "file" / deep)
    assert sentence.endswith("give another with --state-dir.")


def damage_with_rubbish(path: Path) -> None:
    path.write_bytes(os.urandom(10_000))


def damage_by_cutting(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def damage_a_page(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096 : 3 * 4096] = b"\xaa" * 8192
    path.write_bytes(content)


def make_foreign(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()


def make_newer(path: Path) -> None:
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 99")
    other.close()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (damage_with_rubbish, "is damaged"),
        (damage_by_cutting, "is damaged"),
        (damage_a_page, "is damaged"),
        (make_foreign, "is a database, but no journal of yolowatch"),
        (make_newer, "was written by a newer yolowatch"),
    ],
)
def test_a_journal_that_cannot_be_read_is_left_untouched(
    door: Door, damage: Callable[[Path], None], words: str
) -> None:
    with door.open_journal() as journal:
        journal.begin_run(["true"], "/", "auto")
    damage(door.journal)
    before = door.journal.read_bytes()
    marker = door.home / "marker"
    for command in (("run", "--", "touch", marker), ("runs",)):
        assert words in door.refuses(122, *command)
    assert door.journal.read_bytes() == before
    assert not marker.exists(), "nothing was started"
    assert [path.name for path in door.state.iterdir()] == ["journal.sqlite"]


def test_the_cure_for_a_damaged_journal_is_the_one_that_is_told(door: Door) -> None:
    door.open_journal().close()
    damage_with_rubbish(door.journal)
    (cure,) = re.findall(r"`(mv .+?)`", door.refuses(122, "runs"))
    subprocess.run(["sh", "-c", cure], check=True)
    assert door("runs").stdout.startswith("no runs yet")


# ---------------------------------------------------------------- addresses


def test_a_port_in_use_is_told_before_anything_is_started(door: Door) -> None:
    marker = door.home / "marker"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        sentence = door.refuses(123, "run", "--metrics", f"127.0.0.1:{port}", "--", "touch", marker)
    assert sentence.startswith(f"The address 127.0.0.1:{port} is in use: choose another port")
    assert not marker.exists()
    run = door.last_run()
    assert (run.status, run.outcome) == (123, "not started")


@pytest.mark.parametrize("address", ["9466", "localhost", "127.0.0.1:x", "192.0.2.1:0", "::1:0"])
def test_an_address_that_is_none(door: Door, address: str) -> None:
    assert address.rpartition(":")[0] in door.refuses(
        123, "run", "--metrics", address, "--", "true"
    )


# ---------------------------------------------------------------- the command


def test_a_command_that_cannot_be_started(door: Door) -> None:
    (door.home / "plain").write_text("true\n")
    (door.home / "folder").mkdir()
    cases = {
        "no-such-command": "is in no directory of PATH",
        "./missing": "does not exist",
        "./plain": "is not executable: `chmod +x",
        "./folder": "is a directory",
    }
    for command, words in cases.items():
        assert words in door.refuses(124, "run", "--", command)
        run = door.last_run()
        assert (run.status, run.outcome) == (124, "not started")
    (door.home / "plain").chmod(0o755)
    assert "has no `#!` line" in door.refuses(124, "run", "--", "./plain")


def test_a_directory_that_has_gone(door: Door) -> None:
    script = 'mkdir gone; cd gone; rmdir ../gone; exec "$@"'
    done = subprocess.run(
        ["sh", "-c", script, "sh", *door.command("run", "--", "true")],
        env=door.variables(), cwd=door.home, capture_output=True, text=True,
    )  # fmt: skip
    sentence = "yolowatch: The current directory does not exist any more: change to another.\n"
    assert (done.returncode, done.stderr) == (124, sentence)


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (("true",), 0),
        (("sh", "-c", "exit 7"), 7),
        (("sh", "-c", "exit 120"), 120),
        (("sh", "-c", "exit 255"), 255),
        (("sh", "-c", "kill -9 $$"), 128 + signal.SIGKILL),
        (("sh", "-c", "kill -TERM $$"), 128 + signal.SIGTERM),
        (("sh", "-c", "kill -SEGV $$"), 128 + signal.SIGSEGV),
        (("sh", "-c", "echo out of memory >&2; exit 1"), 1),
        ((sys.executable, "-c", "raise RuntimeError('CUDA out of memory.')"), 1),
    ],
)
def test_the_status_is_the_commands_own(door: Door, command: tuple[str, ...], status: int) -> None:
    done = door("run", "--", *command)
    assert done.returncode == status
    run = door.last_run()
    assert (run.status, run.command) == (status, command)
    assert (run.ended or 0) >= run.began
    with door.open_journal() as journal:
        assert (journal.incidents(run.id), journal.plans(run.id)) == ((), ())
        assert len(journal.attempts(run.id)) == 1, "it was never started again"


def test_a_command_that_is_no_training_is_only_observed(door: Door) -> None:
    done = door("run", "--", "echo", "hello")
    assert done.stdout == "hello\n"
    watching, observed = done.stderr.splitlines()
    assert re.fullmatch(r"yolowatch: watching run [0-9a-f]{8}", watching)
    assert observed == (
        "yolowatch: no hook reported from this command: it was only observed from outside"
    )


@pytest.mark.parametrize("mode", ["observe", "recommend", "auto"])
def test_the_mode_is_kept(door: Door, mode: str) -> None:
    assert door("run", "--mode", mode, "--", "true").returncode == 0
    assert door.last_run().mode == mode


# ---------------------------------------------------------------- runs and show


def test_a_home_without_runs(door: Door) -> None:
    assert door("runs").stdout == "no runs yet; `yolowatch run -- COMMAND` makes one\n"
    assert door.json("runs") == []
    assert "No run's id begins with ab" in door.refuses(120, "show", "ab")
    assert "'zebra' is no run's id" in door.refuses(120, "show", "zebra")


def test_runs_are_listed_and_shown(door: Door) -> None:
    for status in (0, 3):
        door("run", "--", "sh", "-c", f"exit {status}")
    header, newest, oldest = door("runs").stdout.splitlines()
    assert header.split() == ["run", "began", "trainer", "outcome", "directory", "or", "command"]
    assert ("exit 3" in newest, "exit 0" in oldest) == (True, True)
    assert len(door("runs", "--last", "1").stdout.splitlines()) == 2
    assert [run["status"] for run in door.json("runs")] == [3, 0]
    identity = newest.split()[0]
    for wanted in (identity, identity[:7], identity.upper()):
        shown = door("show", wanted).stdout
        assert shown.startswith(f"run {identity}: sh -c exit 3\n")
        assert "attempt 0: observed" in shown
    document = door.json("show", identity)
    assert (document["run"]["id"], len(document["attempts"])) == (identity, 1)


def test_an_ambiguous_beginning_is_told(door: Door) -> None:
    with door.open_journal() as journal:
        for _ in range(17):  # by then two of them begin with the same digit
            journal.begin_run(["true"], "/", "auto")
        firsts = [run.id[0] for run in journal.runs()]
    twice = next(each for each in firsts if firsts.count(each) > 1)
    assert "give more of its digits" in door.refuses(120, "show", twice)


def test_hostile_names_are_harmless_in_every_list(door: Door) -> None:
    hostile = "\x1b[2J\u202e\n'"
    with door.open_journal() as journal:
        run = journal.begin_run(["train", hostile, "\udcff"], "/", "auto")
        journal.describe_run(run, f"ultra{hostile}", f"/data/{hostile}")
    for words in (("runs",), ("show", run)):
        done = door(*words)
        assert (done.returncode, done.stderr) == (0, "")
        assert all(line.isprintable() for line in done.stdout.splitlines()), done.stdout
    document = door.json("runs")[0]
    assert document["trainer"] == f"ultra{hostile}", "a machine gets it as it is"


@pytest.mark.parametrize("locale", ["C", "en_US.ISO-8859-1"])
def test_any_locale_will_do(door: Door, locale: str) -> None:
    door.environment |= {"LC_ALL": locale, "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    assert door("run", "--", "true", "größe").returncode == 0
    for words in (("runs",), ("runs", "--json"), ("--help",)):
        done = door(*words)
        assert (done.returncode, done.stderr) == (0, "")


# ---------------------------------------------------------------- demo


def test_a_demo_without_a_trainer(door: Door) -> None:
    assert "YOLOWATCH_TRAINER_PYTHON or use --python" in door.refuses(120, "demo")
    sentence = door.refuses(120, "demo", "--python", "no-such-python")
    assert sentence == "no-such-python is no program; name the Python that has Ultralytics"
    assert list(door.home.iterdir()) == []


def test_a_demo_where_something_is_already(door: Door) -> None:
    (door.home / "yolowatch-demo").mkdir()
    sentence = door.refuses(120, "demo", "--python", sys.executable)
    assert sentence.startswith(f"{door.home}/yolowatch-demo exists already; remove it")
    assert list((door.home / "yolowatch-demo").iterdir()) == []


def test_a_demo_whose_python_has_no_trainer(door: Door) -> None:
    done = door("demo", "--python", shutil.which("python3") or sys.executable, "--directory", "d")
    if done.returncode == 0:
        pytest.fail("the tester's own python3 has Ultralytics")
    assert done.returncode == 124
    assert done.stderr.splitlines()[-1].startswith("yolowatch: the training fails even without")
    (log,) = re.findall(r"its output is in (\S+),", done.stderr)
    assert "No module named" in Path(log).read_text()


# ---------------------------------------------------------------- nobody reads


@pytest.mark.parametrize(
    "words", [("--help",), ("run", "--help"), ("runs",), ("runs", "--json"), ("metrics",)]
)
def test_a_reader_that_has_gone_is_no_error(door: Door, words: tuple[str, ...]) -> None:
    with no_reader() as output:
        done = door(*words, stdout=output)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def test_a_terminal_that_has_gone_does_not_end_the_training(door: Door) -> None:
    with no_reader() as nowhere:
        done = door("run", "--", "sh", "-c", "touch done; exit 7", stderr=nowhere)
    assert done.returncode == 7
    assert (door.home / "done").exists()
    assert door.last_run().status == 7
    closed = subprocess.run(
        ["sh", "-c", 'exec "$@" 2>&-', "sh", *door.command("run", "--", "sh", "-c", "exit 7")],
        env=door.variables(),
        cwd=door.home,
        capture_output=True,
        text=True,
    )
    assert (closed.returncode, closed.stdout) == (7, "")


def test_json_is_never_followed_by_anything(door: Door) -> None:
    door("run", "--", "true")
    for words in (("runs",), ("show", door.last_run().id), ("version",), ("metrics",)):
        assert door.json(*words)
