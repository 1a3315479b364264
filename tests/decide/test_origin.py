"""Who may start a training again by itself, and what a command line looks like from outside."""

from __future__ import annotations

import pytest

from yolowatch.decide import origin
from yolowatch.decide.discovery import Sight, look, worth_a_hook
from yolowatch.model.adoption import Ancestor
from yolowatch.model.identity import ProcessKey

KEY = ProcessKey("boot", 7, 1)


def above(*argv: str, terminal: bool | None = True) -> Ancestor:
    return Ancestor(KEY, argv, terminal)


@pytest.mark.parametrize(
    "ancestor",
    [
        above("-bash"),
        above("bash"),
        above("/usr/bin/zsh", "-l"),
        above("sshd: alice@pts/0", terminal=False),
        above("tmux: server", terminal=False),
        above("tmux", "new", "-s", "train"),
        above("SCREEN", "-S", "train"),
        above("/lib/systemd/systemd", "--user", terminal=False),
        above("sudo", "-iu", "alice"),
        above("login", "-p", "--"),
    ],
)
def test_a_prompt_goes_on_to_nothing(ancestor: Ancestor) -> None:
    assert not origin.goes_on(ancestor)
    assert origin.obstacle([ancestor]) is None


@pytest.mark.parametrize(
    "ancestor",
    [
        above("bash", "sweep.sh"),
        above("bash", "-c", "while ! yolo train; do :; done"),
        above("bash", terminal=False),  # its commands come from a pipe
        above("bash", terminal=None),
        above("python", "sweep.py"),
        above("make", "train"),
        above("slurmstepd: [4711.batch]"),
        above("cron"),
        above("node", "server.js"),
        above(),
    ],
)
def test_what_may_go_on_by_itself_is_an_obstacle(ancestor: Ancestor) -> None:
    assert origin.goes_on(ancestor)
    sentence = origin.obstacle([above("-bash"), ancestor])
    assert sentence is not None
    assert "process 7" in sentence


@pytest.mark.parametrize(
    ("line", "sight"),
    [
        ("/venv/bin/python /venv/bin/yolo detect train data=x.yaml", Sight.TRAINING),
        ("python3.11 train.py --img 640", Sight.TRAINING),
        ("python -u train_dual.py", Sight.TRAINING),
        ("python -m yolov5.train --img 640", Sight.TRAINING),
        ("python -m yolov9py.train_dual", Sight.TRAINING),
        ("/venv/bin/python /venv/bin/yolo predict", Sight.OTHER),
        ("python my_research.py", Sight.POSSIBLE),
        ("python -c 'import x'", Sight.POSSIBLE),
        ("python -m torch.distributed.run --nproc 2 train.py", Sight.LAUNCHER),
        ("python /venv/bin/torchrun train.py", Sight.LAUNCHER),
        ("python -m ipykernel_launcher -f k.json", Sight.NOTEBOOK),
        ("python", Sight.NOTEBOOK),
        ("python -i train.py", Sight.NOTEBOOK),
        ("from multiprocessing", Sight.OTHER),
        ("bash train.sh", Sight.OTHER),
        ("", Sight.OTHER),
    ],
)  # fmt: skip
def test_what_a_command_line_looks_like(line: str, sight: Sight) -> None:
    argv = line.split()
    if "from multiprocessing" in line:
        argv = ["python", "-c", "from multiprocessing.spawn import spawn_main",
                "--multiprocessing-fork"]  # fmt: skip
    assert look(argv) is sight
    assert (worth_a_hook(argv) is not None) == (sight in (Sight.TRAINING, Sight.POSSIBLE))
