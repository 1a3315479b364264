"""Writes to FILE what its standard descriptors are, then some output as a progress bar has it."""

import json
import os
import sys
from pathlib import Path

found = []
for descriptor in range(3):
    status = os.fstat(descriptor)
    found.append([status.st_dev, status.st_ino, os.isatty(descriptor)])
name = os.ttyname(0) if os.isatty(0) else None
listed = [int(each) for each in os.listdir("/proc/self/fd") if int(each) > 2]
more = [each for each in listed if os.path.exists(f"/proc/self/fd/{each}")]  # without the listing's
facts = {"descriptors": found, "terminal": name, "more": more, "group": os.getpgrp()}
Path(sys.argv[1]).write_text(json.dumps(facts))
os.write(1, b"\r 50%|\xe2\x96\x88\xe2\x96\x88  |\x1b[K\r100%\x1b[31m!\x1b[0m\n")
os.write(2, b"warning\tX\n")
