"""Calls a function that never returns instead, and takes the call back.

Usage: hang_while_attaching.py PID SCRIPT
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

from yolowatch.edges.attach import pending_call, symbols, target
from yolowatch.edges.attach.memory import Memory
from yolowatch.edges.clock import SystemClock

pid, script = int(sys.argv[1]), Path(sys.argv[2])
found = target.examine(pid)
with Memory(pid) as memory:
    cave = symbols.find_cave(pid, found.maps, 1024)
    spot = cave.address + 960
    memory.write(spot, b"\xeb\xfe")  # a jump to itself
addresses = {**found.interpreter.addresses, symbols.ADD_CALL: spot}
hanging = replace(found, interpreter=replace(found.interpreter, addresses=addresses))
placed = pending_call.place(hanging, script, SystemClock())
time.sleep(0.2)
try:
    pending_call.look_after(hanging, placed, SystemClock())
except pending_call.Refused:
    print("taken back")
