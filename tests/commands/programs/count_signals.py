"""Counts the signals it gets, and tells in FILE; says `ready` once it can.

    python count_signals.py FILE [STATUS]

Ends with STATUS, 42 unless another is given, half a second after the first signal.
"""

import json
import signal
import sys
import time
from pathlib import Path

counts: dict[str, int] = {}
for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
    if signal.getsignal(each) is not signal.SIG_IGN:
        signal.signal(
            each,
            lambda number, _: counts.update(
                {signal.Signals(number).name: counts.get(signal.Signals(number).name, 0) + 1}
            ),
        )
target = Path(sys.argv[1])
target.write_text("ready")
while not counts:
    time.sleep(0.02)
end = time.monotonic() + 0.5
while time.monotonic() < end:  # a second one would come within this
    time.sleep(0.02)
target.write_text(json.dumps(counts))
sys.exit(int(sys.argv[2]) if len(sys.argv) > 2 else 42)
