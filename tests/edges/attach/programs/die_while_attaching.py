"""Attaches, and kills itself at one moment: die_while_attaching.py PID MOMENT SCRIPT"""

import os
import signal
import sys
from pathlib import Path

from yolowatch.edges.attach import pending_call, ptrace, target
from yolowatch.edges.clock import SystemClock

pid, moment, script = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])


def die_after(owner, name, this, which=1):
    """Kill this process after so many calls of the function, if this is the moment."""
    original = getattr(owner, name)
    left = [which]

    def wrapped(*arguments, **keywords):
        result = original(*arguments, **keywords)
        left[0] -= 1
        if moment == this and left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, wrapped)


def request(number, this):
    original = ptrace._ptrace

    def wrapped(asked, *arguments):
        original(asked, *arguments)
        if moment == this and asked == number:
            os.kill(os.getpid(), signal.SIGKILL)

    ptrace._ptrace = wrapped


request(ptrace._SEIZE, "seize")
request(ptrace._INTERRUPT, "interrupt")
die_after(ptrace.Seized, "registers", "registers")
die_after(ptrace.Seized, "write", "text", 1)
die_after(ptrace.Seized, "write", "trampoline", 2)
die_after(ptrace.Seized, "set_registers", "set_registers")
die_after(ptrace.Seized, "__exit__", "detach")
pending_call.place(target.examine(pid), script, SystemClock())
