"""What the doctor says of a machine, from facts alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from yolowatch.decide.diagnose import diagnose
from yolowatch.model.diagnosis import (
    DirectoryFacts,
    Door,
    Facts,
    Finding,
    HookFacts,
    Level,
    ScrapeFacts,
    SocketFacts,
)

GIB = 1 << 30
DIRECTORY = DirectoryFacts("/r", "run", True, "alice", "alice", False, 50 * GIB, GIB, 20 * GIB)
HEALTHY = Facts(
    is_root=True,
    attaches=True,
    nvml_trouble=None,
    gpus=2,
    gpu_troubles=(),
    sockets=(SocketFacts("helper", "/run/h.sock", Door.LISTENS, "h.socket"),),
    daemon_trouble=None,
    ptrace_scope=1,
    ptrace_trouble=None,
    directories=(DIRECTORY,),
    config_path="/etc/y.yaml",
    config_trouble=None,
    certificate="/etc/y.crt",
    certificate_trouble=None,
    scrape=ScrapeFacts("127.0.0.1:9466", None, "http://p:9090", None, True),
    hooks=(HookFacts("/venv", True),),
)


def wrong(facts: Facts) -> list[Finding]:
    return [each for each in diagnose(facts) if each.level is not Level.GOOD]


def test_a_healthy_machine_is_good_in_every_check() -> None:
    assert wrong(HEALTHY) == []
    assert [each.check for each in diagnose(HEALTHY)] == [
        "gpu", "configuration", "socket helper", "daemon", "ptrace", "directory run", "certificate",
        "metrics", "prometheus", "hook",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "check", "sentence"),
    [
        (replace(HEALTHY, nvml_trouble="no library"), "gpu", "NVML does not answer: no library"),
        (replace(HEALTHY, config_trouble="y.yaml has the key"), "configuration", "has the key"),
        (
            replace(HEALTHY, sockets=(SocketFacts("helper", "/h", Door.ABSENT, "h.socket"),)),
            "socket helper",
            "The socket /h is missing: there is none.",
        ),
        (
            replace(HEALTHY, sockets=(SocketFacts("helper", "/h", Door.DEAD, "h.socket"),)),
            "socket helper",
            "nobody listens there",
        ),
        (replace(HEALTHY, daemon_trouble="No daemon."), "daemon", "No daemon."),
        (
            replace(HEALTHY, ptrace_trouble="not permitted"),
            "ptrace",
            "refused here (not permitted)",
        ),
        (replace(HEALTHY, ptrace_scope=3), "ptrace", "refused to everybody"),
        (replace(HEALTHY, is_root=False), "ptrace", "refused to all but root"),
        (
            replace(HEALTHY, directories=(replace(DIRECTORY, owner="bob"),)),
            "directory run",
            "The directory /r belongs to bob, not to alice.",
        ),
        (
            replace(HEALTHY, directories=(replace(DIRECTORY, free_bytes=4096),)),
            "directory run",
            "The disk of /r is full",
        ),
        (
            replace(HEALTHY, directories=(replace(DIRECTORY, written_by_all=True),)),
            "directory run",
            "can be written by everybody",
        ),
        (
            replace(HEALTHY, directories=(DirectoryFacts("/r", "state", False),)),
            "directory state",
            "is missing",
        ),
        (replace(HEALTHY, certificate_trouble="it has expired"), "certificate", "it has expired"),
        (
            replace(HEALTHY, scrape=ScrapeFacts("127.0.0.1:1", "refused")),
            "metrics",
            "cannot be read: refused",
        ),
        (
            replace(HEALTHY, scrape=ScrapeFacts("127.0.0.1:1", None, "http://p", "no route")),
            "prometheus",
            "cannot be asked: no route",
        ),
        (
            replace(HEALTHY, scrape=ScrapeFacts("127.0.0.1:1", None, "http://p", None, False)),
            "prometheus",
            "has no healthy target",
        ),
        (replace(HEALTHY, hooks=(HookFacts("/v", False),)), "hook", "not installed in /v"),
        (replace(HEALTHY, hooks=(HookFacts("/v", None, "No Python."),)), "hook", "No Python."),
    ],
)
def test_one_planted_problem_is_found_named_and_has_a_cure(
    facts: Facts, check: str, sentence: str
) -> None:
    found = wrong(facts)
    assert [(each.check, each.level) for each in found] == [(check, Level.PROBLEM)]
    assert sentence in found[0].sentence
    assert found[0].cure


@pytest.mark.parametrize(
    ("facts", "check"),
    [
        (replace(HEALTHY, gpus=0), "gpu"),
        (replace(HEALTHY, gpu_troubles=("power cannot be read",)), "gpu"),
        (replace(HEALTHY, config_path=None), "configuration"),
        (
            replace(HEALTHY, sockets=(SocketFacts("helper", "/h", Door.UNKNOWN, ""),)),
            "socket helper",
        ),
        (replace(HEALTHY, directories=(DirectoryFacts("/r", "run", None),)), "directory run"),
        (
            replace(HEALTHY, directories=(replace(DIRECTORY, free_bytes=2 * GIB),)),
            "directory run",
        ),
        (replace(HEALTHY, scrape=ScrapeFacts()), "metrics"),
    ],
)
def test_what_is_only_worth_knowing_is_no_problem(facts: Facts, check: str) -> None:
    found = [each for each in wrong(facts) if each.check == check]
    assert [each.level for each in found] == [Level.NOTE]


def test_who_goes_into_no_process_needs_no_ptrace() -> None:
    assert wrong(replace(HEALTHY, attaches=False, ptrace_trouble="EPERM", ptrace_scope=3)) == []


def test_what_is_unknown_of_a_disk_is_not_taken_for_full() -> None:
    assert wrong(replace(HEALTHY, directories=(replace(DIRECTORY, free_bytes=None),))) == []
