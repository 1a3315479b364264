"""The script that a target runs: one line of what it is to do, then the hook's own payload.

It is named after its content and stands beside the staged hooks, under the same rules; what was
written once for one address serves every target.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from yolowatch.edges import stage
from yolowatch.edges.files import sha256

PAYLOAD = Path(stage.__file__).parent.parent / "hook" / "payload.py"


def write(state_dir: Path, order: Mapping[str, str | None], shared: bool) -> Path:
    """The path of the script for this order; `shared` where another user's process runs it."""
    text = f"GIVEN = {json.dumps(order, sort_keys=True)!r}\n".encode() + PAYLOAD.read_bytes()
    return stage.place(state_dir, f"arrival-{sha256(text)[:16]}", {"arrival.py": text}, shared) / (
        "arrival.py"
    )
