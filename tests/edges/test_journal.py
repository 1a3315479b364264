"""The journal, with real files, real processes and real kills."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from yolowatch.edges import database
from yolowatch.edges.clock import SystemClock
from yolowatch.edges.journal import Journal
from yolowatch.errors import StateError, UsageError
from yolowatch.model.identity import ProcessKey
from yolowatch.model.plan import Cost, Edits, LeverUse, Plan, Rejected

KEY = ProcessKey("b0", 42, 4711)


def a_plan(incident: str) -> Plan:
    return Plan(
        incident=incident,
        attempt=1,
        edits=Edits(batch=8, nbs=64, weight_decay=0.0005),
        levers=(LeverUse("batch", Cost.COMPENSATED, "16", "8", "fits"),),
        predicted_peak_bytes=123,
        capacity_bytes=None,
        margin_ratio=0.05,
        reason="it did not fit",
        rejected=(Rejected("batch 12", "does not divide 64"),),
        effective_batch=64,
        original=Edits(batch=16),
    )


def begin(journal: Journal) -> tuple[str, str]:
    """A run with an incident and a plan; the ids of run and plan."""
    run = journal.begin_run(["yolo", "train"], "/data", "auto", KEY)
    incident = journal.open_incident(run, 0, "cuda-oom", "It ran out.", ["a", "b"])
    return run, journal.write_plan(run, a_plan(incident))


def test_a_run_from_beginning_to_receipt(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.db") as journal:
        run, plan = begin(journal)
        assert len(run) == 8
        journal.describe_run(run, "ultralytics", "/data/runs/train")
        journal.describe_run(run, None, None)
        journal.record_attempt(run, 0, KEY)
        journal.end_attempt(run, 0, status=1, signal=None, outcome="cuda-oom", last_epoch=3)
        journal.record_attempt(run, 1, None)
        journal.intend(plan, "stop")
        journal.done(plan, "stop", "it had ended")
        journal.intend(plan, "rewrite", "args.yaml")
        journal.record_file(plan, "args.yaml", "aa", "bb", "/vault/aa")
        journal.record_checkpoint(
            run, 0, 3, "last.pt", sha256="cc", copy="/vault/cc", size_bytes=9, seconds=0.5
        )
    with Journal(tmp_path / "journal.db") as journal:  # as another process finds it
        (unfinished,) = journal.unfinished_plans()
        assert unfinished.plan == a_plan(unfinished.plan.incident)
        assert [(each.name, each.state) for each in unfinished.steps] == [
            ("stop", "intent"),
            ("stop", "done"),
            ("rewrite", "intent"),
        ]
        assert unfinished.interrupted_step == "rewrite"
        journal.failed(plan, "rewrite", "the disk is full")
        journal.end_plan(plan, "failed")
        assert journal.unfinished_plans() == ()
        assert journal.plans(run)[0].interrupted_step is None
        incident = unfinished.plan.incident
        journal.close_incident(incident, "refused")
        assert journal.incidents(run)[0].evidence == ("a", "b")
        assert journal.incidents(run)[0].outcome == "refused"
        first, second = journal.attempts(run)
        assert (first.process, first.status, first.last_epoch) == (KEY, 1, 3)
        assert (second.process, second.ended) == (None, None)
        assert journal.files(plan)[0].sha256_after == "bb"
        assert journal.checkpoints(run)[0].size_bytes == 9
        journal.write_receipt(run, {"cause": "×", "peak": None})
        assert journal.receipts(run)[0].body == {"cause": "×", "peak": None}
        journal.end_run(run, 0, "finished")
        record = journal.run(run)
        assert record.command == ("yolo", "train")
        assert record.supervisor == KEY
        assert (record.trainer, record.run_dir) == ("ultralytics", "/data/runs/train")
        assert (record.status, record.outcome) == (0, "finished")
        assert record.ended is not None
        assert record.ended >= record.began


def test_runs_are_newest_first_and_found_by_the_beginning_of_their_id(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.db") as journal:
        ids = [journal.begin_run([str(n)], "/", "auto") for n in range(20)]
        assert [each.id for each in journal.runs()] == ids[::-1]
        assert [each.id for each in journal.runs(limit=3)] == ids[:-4:-1]
        assert journal.run(ids[3].upper()[:7]).id == ids[3]
        with pytest.raises(UsageError, match="give more of its digits"):
            journal.run(next(each[0] for each in ids if sum(i[0] == each[0] for i in ids) > 1))
        with pytest.raises(UsageError, match="`yolowatch runs` lists them"):
            journal.run("f" * 9)
        for nonsense in ("", "%", "_", "x", "1' OR 1"):
            with pytest.raises(UsageError, match="is no run's id"):
                journal.run(nonsense)


def test_text_that_is_no_unicode_is_kept(tmp_path: Path) -> None:
    path = os.fsdecode(b"/data/\xff\xfe/run")
    with Journal(tmp_path / "journal.db") as journal:
        run = journal.begin_run(["yolo", path], path, "auto")
        journal.describe_run(run, None, path)
        journal.open_incident(run, 0, "error", "hostile \ud800 text", ["\udcff"])
        record = journal.run(run)
        assert (record.cwd, record.run_dir, record.command[1]) == (path, path, path)
        assert journal.incidents(run)[0].sentence == "hostile \\ud800 text"


def test_the_file_is_private_and_durable(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with Journal(path) as journal:
        begin(journal)
        for each in tmp_path.iterdir():
            assert each.stat().st_mode & 0o077 == 0, each
        check = sqlite3.connect(path)
        assert check.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        check.close()
        assert journal._connection.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL


def test_no_column_could_hold_an_environment(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.db"):
        check = sqlite3.connect(tmp_path / "journal.db")
        tables = check.execute("SELECT sql FROM sqlite_master").fetchall()
        check.close()
    assert not [row for row in tables if row[0] and "env" in row[0].lower()]


@pytest.mark.parametrize("cut", ["garbage", "page", "truncated"])
def test_a_damaged_journal_is_refused_and_left_untouched(tmp_path: Path, cut: str) -> None:
    path = tmp_path / "journal.db"
    with Journal(path) as journal:
        for _ in range(100):
            begin(journal)
    data = bytearray(path.read_bytes())
    if cut == "garbage":
        data = bytearray(b"not a database, but long enough to be looked at " * 100)
    elif cut == "page":
        data[4096 * 3 : 4096 * 5] = os.urandom(4096 * 2)
    else:
        del data[len(data) // 2 :]
    path.write_bytes(data)
    with pytest.raises(StateError) as caught:
        Journal(path)
    assert "is damaged" in str(caught.value)
    assert f"mv {path} {path}.damaged" in str(caught.value)
    assert path.read_bytes() == data
    shutil.move(path, f"{path}.damaged")  # the cure
    with Journal(path) as journal:
        assert journal.runs() == ()


def test_a_newer_schema_and_a_foreign_database_are_refused(tmp_path: Path) -> None:
    newer = tmp_path / "newer.db"
    Journal(newer).close()
    with sqlite3.connect(newer) as connection:
        connection.execute(f"PRAGMA user_version = {database.SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.raises(StateError, match=r"newer yolowatch \(schema 4, this one knows 3\)"):
        Journal(newer)
    foreign = tmp_path / "foreign.db"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE cookies (name TEXT)")
    connection.close()
    with pytest.raises(StateError, match="no journal of yolowatch"):
        Journal(foreign)


def test_what_stands_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    with pytest.raises(StateError, match=r"Is a directory.*--state-dir"):
        Journal(tmp_path / "directory")
    with pytest.raises(StateError, match="No such file or directory"):
        Journal(tmp_path / "missing" / "journal.db")


def in_a_process(program: str, *arguments: object, **options: object) -> subprocess.Popen[str]:
    """A real yolowatch process that runs `program`."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.environ["PATH"]},
        **options,  # type: ignore[call-overload]
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which needs root")
def test_a_journal_that_cannot_be_written_is_one_sentence() -> None:
    with tempfile.TemporaryDirectory() as directory:  # pytest's own is closed to other users
        Path(directory).chmod(0o755)
        path = Path(directory, "journal.db")
        Journal(path).close()
        _as_another_user(path)


def _as_another_user(path: Path) -> None:
    program = """
        import os, sys
        from pathlib import Path
        from yolowatch.edges.journal import Journal
        from yolowatch.errors import StateError
        os.setuid(65534)
        try:
            Journal(Path(sys.argv[1])).begin_run([], "/", "auto")
        except StateError as error:
            print(error)
    """
    said, _ = in_a_process(program, path).communicate(timeout=30)
    assert "cannot be opened (Permission denied)" in said
    path.chmod(0o666)  # the file may be written, its directory not: WAL needs both
    said, _ = in_a_process(program, path).communicate(timeout=30)
    assert "make the file and its directory writable" in said or "cannot be used" in said


def fill(journal: Journal, run: str) -> None:
    for _ in range(1000):
        journal.write_receipt(run, {"text": "x" * 2000})


def test_a_full_disk_is_one_sentence_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with Journal(path) as journal:
        run, _ = begin(journal)
        pages = journal._connection.execute("PRAGMA page_count").fetchone()[0]
        journal._connection.execute(f"PRAGMA max_page_count = {pages + 2}")  # SQLite's own ENOSPC
        with pytest.raises(StateError, match="the disk is full: make room"):
            fill(journal, run)
    with Journal(path) as journal:
        assert journal.run(run).mode == "auto"


def test_a_quota_on_the_file_is_one_sentence(tmp_path: Path) -> None:
    program = """
        import resource, sys
        from pathlib import Path
        from yolowatch.edges.journal import Journal
        from yolowatch.errors import StateError
        journal = Journal(Path(sys.argv[1]))
        run = journal.begin_run([], "/", "auto")
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        try:
            for _ in range(1000):
                journal.write_receipt(run, {"text": "x" * 2000})
        except StateError as error:
            print(error)
    """
    said, wrong = in_a_process(program, tmp_path / "journal.db").communicate(timeout=60)
    assert wrong == ""
    assert "the disk is full" in said or "check its disk and your quota" in said
    with Journal(tmp_path / "journal.db") as journal:
        assert len(journal.runs()) == 1


def test_two_journals_one_file_no_lost_row(tmp_path: Path) -> None:
    """Also the very first start: all create the file at once."""
    program = """
        import sys
        from pathlib import Path
        from yolowatch.edges.journal import Journal
        sys.stdin.readline()
        journal = Journal(Path(sys.argv[1]))
        for n in range(30):
            journal.begin_run([sys.argv[2], str(n)], "/", "auto")
    """
    path = tmp_path / "journal.db"
    writers = [in_a_process(program, path, n, stdin=subprocess.PIPE) for n in range(8)]
    SystemClock().sleep(0.5)  # until all have imported what they need
    for each in writers:
        assert each.stdin is not None
        each.stdin.write("\n")
        each.stdin.flush()
    for each in writers:
        assert each.communicate(timeout=120)[1] == ""
        assert each.returncode == 0
    with Journal(path) as journal:
        commands = {each.command for each in journal.runs(limit=1000)}
    assert commands == {(str(w), str(n)) for w in range(8) for n in range(30)}


WRITER = """
    import sys
    from pathlib import Path
    from yolowatch.edges.journal import Journal
    from yolowatch.model.plan import Edits, Plan
    journal = Journal(Path(sys.argv[1]))
    print("open", flush=True)
    n = 0
    while True:
        run = journal.begin_run(["x"], "/", "auto")
        incident = journal.open_incident(run, 0, "cuda-oom", "It ran out.")
        plan = journal.write_plan(run, Plan(incident, 1, Edits(batch=8), (), None, None, 0.05, ""))
        for step in ("stop", "vault", "rewrite"):
            journal.intend(plan, step, "x" * 500)
            print(plan, step, "intent", flush=True)
            journal.done(plan, step)
            print(plan, step, "done", flush=True)
        journal.end_plan(plan, "done")
        journal.end_run(run, 0, "finished")
"""


@pytest.mark.timeout(120)
def test_kill_9_in_the_middle_of_writes(tmp_path: Path) -> None:
    """Whatever was said to be written is there, at most one step further, and the file is sound."""
    dice, path = random.Random(3), tmp_path / "journal.db"
    for _ in range(12):
        writer = in_a_process(WRITER, path)
        assert writer.stdout is not None
        assert writer.stderr is not None
        lines = [writer.stdout.readline() for _ in range(dice.randrange(1, 60))]
        writer.kill()
        # Of the same stream: `communicate` would not see what was read ahead.
        lines += writer.stdout.readlines()
        assert writer.stderr.read() == ""
        writer.wait(30)
        told = [line.split() for line in lines if line.endswith("\n")]
        last = told[-1]
        with Journal(path) as journal:
            unfinished = {each.id: each for each in journal.unfinished_plans()}
            if len(last) == 3 and last[0] in unfinished:
                plan = unfinished[last[0]]
                states = [[each.name, each.state] for each in plan.steps]
                assert last[1:] in states
                assert states.index(last[1:]) >= len(states) - 2
                if last[2] == "intent" and states[-1] == last[1:]:
                    assert plan.interrupted_step == last[1]
            for each in unfinished.values():
                journal.end_plan(each.id, "recovered")
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_a_plan_written_by_another_version_is_still_read(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.db") as journal:
        _, plan = begin(journal)
        body = json.loads(journal._connection.execute("SELECT body FROM plans").fetchone()["body"])
        del body["rejected"]
        body["of_the_future"] = [1]
        journal._connection.execute("UPDATE plans SET body = ?", (json.dumps(body),))
        (record,) = journal.unfinished_plans()
        assert record.id == plan
        assert record.plan.rejected == ()
        assert record.plan.levers[0].cost is Cost.COMPENSATED
