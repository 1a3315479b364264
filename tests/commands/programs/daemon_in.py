"""`yolowatch daemon` whose sockets are in a directory of the test's own, for root too.

It looks for no trainings by itself: what else trains on this machine is not the test's to touch.

    python daemon_in.py SOCKETS [arguments of `yolowatch daemon`]
"""

import sys
from pathlib import Path

from yolowatch.commands.main import main
from yolowatch.edges import discovery, listening, statedir

discovery.Discovery.work = lambda self: None
statedir.SYSTEM_SOCKETS = listening.SYSTEM_SOCKETS = Path(sys.argv[1])
sys.exit(main(["daemon", *sys.argv[2:]]))
