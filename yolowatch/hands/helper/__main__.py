"""`python -m yolowatch.hands.helper`: the same as the command `yolowatch-helper`."""

import sys

from yolowatch.hands.helper.program import main

if __name__ == "__main__":
    sys.exit(main())
