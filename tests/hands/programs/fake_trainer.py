"""What the helper takes for a training: it has torch's library in its memory and writes its files.

Runs in any Python 3, as any user: fake_trainer.py RUN_DIRECTORY
"""

import mmap
import os
import sys
import time

run = sys.argv[1]
library = os.path.join(os.path.dirname(os.path.abspath(__file__)), "libtorch_cpu.so")
with open(library, "a+b") as file:
    file.write(b"x" * 4096)
    file.flush()
    kept = mmap.mmap(file.fileno(), 4096)
arguments = os.path.join(run, "args.yaml")
if os.path.exists(arguments):
    with open(arguments) as file:
        text = file.read()
    with open(arguments, "w") as file:
        file.write(text)
attempt = os.environ.get("YOLOWATCH_ATTEMPT", "0")
print("attempt", attempt, "of", os.getuid(), os.environ.get("SECRET", ""), flush=True)
while True:
    time.sleep(60)
