"""yolowatch, which strikes itself or another right after a write of its journal.

    python killed_at.py LOG WRITE VICTIM -- ARGUMENTS OF YOLOWATCH

The writes of a remediation have names, from the one that ends the failed attempt on, which are
appended to LOG. After the WRITE (`never`: none) the VICTIM gets SIGKILL: `daemon` is this process,
`training` whatever trains in the run that LOG stands beside; `socket` is no process: every
connection of the hook's socket is cut; `helper` is the root helper that the service has started
beside the log. Nothing of this is in the product: the journal's one door to
its file is wrapped here.
"""

import os
import signal
import socket
import sys
from pathlib import Path

from yolowatch.commands.main import main
from yolowatch.edges.journal import Journal
from yolowatch.edges.listener import Listener

log, wanted, victim = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
names = []  # of the writes so far, from the end of the failed attempt on
execute = Journal._execute
listeners = []
create = Listener.__init__


def helpers():
    """The helper of this test and its workers."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{name}/cmdline").read_bytes()
        except OSError:
            continue
        if b"yolowatch.hands.helper" in words and os.fsencode(log.parent) in words:
            yield int(name)


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
    elif victim == "helper":
        for pid in helpers():
            os.kill(pid, signal.SIGKILL)
    else:
        for listener in listeners:
            for peer in list(listener._peers.values()):
                peer.socket.shutdown(socket.SHUT_RDWR)


def named(statement, values):
    """The name of a write; that of a memento says after which step's intent it comes."""
    words = statement.split()
    table = next(word for word in words[1:] if word not in ("INTO", "FROM"))
    if table == "steps":
        return f"steps {values[1]} {values[2]}"
    if table == "mementos" and "attempts begun" in names:
        return "mementos (resumed)"
    if table == "mementos" and names and names[-1].endswith("intent"):
        return f"mementos ({names[-1].split()[1]})"
    return table + {"plans": " ended", "attempts": " begun"}.get(table, "") * (table in names)


def counted(journal, statement, values):
    result = execute(journal, statement, values)
    if names or statement.split()[:2] == ["UPDATE", "attempts"]:
        names.append(named(statement, values))
        with log.open("a") as file:
            file.write(names[-1] + "\n")
        if names[-1] == wanted and names.count(wanted) == 1:
            strike()
    return result


def created(listener, *args, **kwargs):
    create(listener, *args, **kwargs)
    listeners.append(listener)


Journal._execute = counted
Listener.__init__ = created
sys.exit(main(sys.argv[5:]))
