"""yolowatch, which strikes itself or another right after a write of its journal.

    python killed_at.py LOG N VICTIM -- ARGUMENTS OF YOLOWATCH

The writes of a remediation are counted, from the one that ends the failed attempt on, and appended
to LOG. After the N-th (0: never) the VICTIM gets SIGKILL: `daemon` is this process, `training`
whatever trains in the run that LOG stands beside; `socket` is no process: every connection of the
hook's socket is cut. Nothing of this is in the product: the journal's one door to its file is
wrapped here.
"""

import itertools
import os
import signal
import socket
import sys
from pathlib import Path

from yolowatch.commands.main import main
from yolowatch.edges.journal import Journal
from yolowatch.edges.listener import Listener

log, at, victim = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
count = None  # from the end of the failed attempt on
execute = Journal._execute
listeners = []
create = Listener.__init__


def training():
    """Living processes that train in the run beside the log."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(
            word.endswith((b"miniature/train.py", b"played/train.py")) for word in words
        ) and any(word.startswith(os.fsencode(log.parent)) for word in words):
            yield int(name)


def strike():
    if victim == "daemon":
        os.kill(os.getpid(), signal.SIGKILL)
    elif victim == "training":
        for pid in training():
            os.kill(pid, signal.SIGKILL)
    else:
        for listener in listeners:
            for peer in list(listener._peers.values()):
                peer.socket.shutdown(socket.SHUT_RDWR)


def counted(journal, statement, values):
    global count
    result = execute(journal, statement, values)
    words = statement.split()
    if count is None and words[:2] == ["UPDATE", "attempts"]:
        count = itertools.count(1)
    if count is None:
        return result
    name = next(word for word in words[1:] if word not in ("INTO", "FROM"))
    step = [str(each) for each in values if each in ("intent", "done", "failed")]
    number = next(count)
    with log.open("a") as file:
        file.write(f"{number} {' '.join([name, *([values[1], *step] if step else [])])}\n")
    if number == at:
        strike()
    return result


def created(listener, *args, **kwargs):
    create(listener, *args, **kwargs)
    listeners.append(listener)


Journal._execute = counted
Listener.__init__ = created
sys.exit(main(sys.argv[5:]))
