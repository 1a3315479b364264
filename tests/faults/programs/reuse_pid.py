"""In a pid namespace of its own: a process ends, and another one gets its pid.

Prints what yolowatch takes the second one for when it is asked about the first.
"""

import signal
import subprocess
import sys
import time

from yolowatch.edges import proc
from yolowatch.hands.local import LocalHands

SLEEP = (sys.executable, "-c", "import time; time.sleep(60)")

first = subprocess.Popen(SLEEP)
known = proc.process_key(first.pid)
first.kill()
first.wait()
time.sleep(0.1)  # the start time of a process is counted in hundredths of a second
with open("/proc/sys/kernel/ns_last_pid", "w") as file:
    file.write(str(first.pid - 1))
second = subprocess.Popen(SLEEP)
alive = proc.is_alive(known)
signalled = LocalHands().signal(known, signal.SIGKILL)
time.sleep(0.1)
print(
    f"same pid {second.pid == first.pid}, alive {alive}, signalled {signalled}, "
    f"the other lives {second.poll() is None}"
)
second.kill()
