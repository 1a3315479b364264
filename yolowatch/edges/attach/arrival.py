"""The script that a target runs: one line of what it is to do, then the hook's own payload.

It is named after its content and stands beside the staged hooks, under the same rules. It is
removed once it has run; one that waits in a sleeping process stays.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from yolowatch.edges import stage
from yolowatch.edges.files import sha256

PAYLOAD = Path(stage.__file__).parent.parent / "hook" / "payload.py"
NAME = "arrival.py"


def write(state_dir: Path, order: Mapping[str, str | None], shared: bool) -> Path:
    """The path of the script for this order; `shared` where another user's process runs it."""
    text = f"GIVEN = {json.dumps(order, sort_keys=True)!r}\n".encode() + PAYLOAD.read_bytes()
    name = f"arrival-{sha256(text)[:16]}"
    return stage.place(state_dir, name, {NAME: text}, shared) / NAME


def remove(script: Path) -> None:
    """The script has run: it is needed no more."""
    shutil.rmtree(script.parent, ignore_errors=True)
