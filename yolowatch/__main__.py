"""`python -m yolowatch` is `yolowatch`."""

import sys

from yolowatch.commands.main import main

sys.exit(main())
